#pragma once

#include <cstdint>
#include <random>
#include <vector>

#include "models/moe_model.hpp"

namespace zebroid::testing {

/// A layer of a small model; sizes as in Layer and Attention.
struct SmallLayer {
  std::uint32_t dense_ffn = 0;
  std::uint32_t shared_ffn = 0;
  bool has_experts = true;
  std::uint32_t window = 0;
  bool chunked = false;
};

struct SmallModel {
  std::uint32_t hidden = 8;
  std::uint32_t vocabulary = 11;
  std::uint32_t heads = 2;
  std::uint32_t kv_heads = 1;
  std::uint32_t head_dim = 4;
  std::uint32_t experts = 4;
  std::uint32_t top_k = 2;
  std::uint32_t expert_ffn = 6;
  std::vector<SmallLayer> layers = {SmallLayer{}};
};

MoeModel make_model(const SmallModel& small);

/// `size` numbers, uniform in [-1, 1).
std::vector<double> random_numbers(std::mt19937_64& random, std::size_t size);

/// One of [low, high].
std::uint32_t random_between(std::mt19937_64& random, std::uint32_t low, std::uint32_t high);

}  // namespace zebroid::testing
