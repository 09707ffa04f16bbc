#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "models/moe_model.hpp"

namespace zebroid {

/// One learned tensor inside a flat array of parameters: [rows, columns], row-major. Matrices take
/// inputs of width `rows` to outputs of width `columns`; a norm has one row.
struct Tensor {
  std::string name;
  std::size_t offset = 0;
  std::size_t rows = 0;
  std::size_t columns = 0;
  bool is_norm = false;  ///< starts at 1 and does not decay
  double scale = 0;      ///< standard deviation of a matrix at the start

  std::size_t size() const { return rows * columns; }
};

/// Parameters of one layer that every rank with its attention holds, in the order of the flat
/// array: the embedding with layer 0, final norm and LM head with the last layer.
struct SharedTensors {
  std::optional<Tensor> embedding;  ///< [vocabulary, hidden]
  Tensor attention_norm;
  Tensor query, key, value;  ///< [hidden, heads * head_dim]
  Tensor output;             ///< [heads * head_dim, hidden]
  Tensor ffn_norm;
  std::optional<Tensor> router;          ///< [hidden, experts]
  std::optional<Tensor> gate, up, down;  ///< dense FFN or shared experts, as one FFN
  std::optional<Tensor> final_norm;
  std::optional<Tensor> head;  ///< [hidden, vocabulary]

  std::vector<Tensor> all() const;  ///< ascending by offset, without gaps
  std::size_t size() const;
};
SharedTensors shared_tensors(const MoeModel& model, std::uint32_t layer);

/// What an optional tensor of shared_tensors() holds; throws Error(internal) when it holds none.
const Tensor& held(const std::optional<Tensor>& tensor);

/// Parameters of one expert.
struct ExpertTensors {
  Tensor gate, up;  ///< [hidden, expert_ffn]
  Tensor down;      ///< [expert_ffn, hidden]

  std::vector<Tensor> all() const;
  std::size_t size() const;
};
ExpertTensors expert_tensors(const MoeModel& model);

/// Elements of the largest tensor of a model but the embedding: room for the gradient of one.
std::size_t largest_tensor(const MoeModel& model);

/// Normal numbers with each tensor's scale, ones for norms. They depend on seed, `where` (a number
/// for the layer, or layer and expert), the tensor's place and nothing else. float holds the
/// rounded doubles.
template <class Real>
void initialise(const std::vector<Tensor>& tensors, std::uint64_t seed, std::uint64_t where,
                Real* parameters);

}  // namespace zebroid
