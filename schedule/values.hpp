#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "models/moe_model.hpp"
#include "schedule/schedule.hpp"

namespace zebroid {

enum class What : std::uint8_t {
  layer_input,       ///< of attention
  residual,          ///< of attention, its output before the experts' are added
  attention_values,  ///< queries, keys, values, outputs, FFN, softmax statistics, logits
  routing,           ///< which experts the tokens chose, with which weights
  sorted_rows,       ///< tokens, once for each expert that they chose
  received_rows,     ///< of a dispatch; in backward gradients of outputs
  expert_values,     ///< gate, up and product
  outputs,           ///< of experts; in backward gradients of their input
  returned,          ///< of a combine: outputs, in backward gradients
  hidden_states,     ///< of a stage; in backward gradients
  head_input,
  gradient,  ///< of attention's or the head's input; of outputs that nobody sent to an expert'
  early_gradient,  ///< of parameters, apart until its turn: sums keep the order of microbatches
  workspace,       ///< while its writer runs
};
enum class Pool : std::uint8_t { activations, receive_buffers };

/// Something that one op leaves in its rank's memory.
struct Value {
  What what = What::workspace;
  Pool pool = Pool::activations;
  std::uint32_t writer = 0;  ///< op of the program
  std::uint32_t first_reader = 0;
  std::uint32_t readers = 0;  ///< how many, from there in Values::readers

  friend bool operator==(const Value&, const Value&) = default;
};

/// All that the ops of one program leave in memory but parameters and their gradients, which have
/// their own place. A value is there from the start (of an exchange, the launch) of its writer
/// until writer and readers have ended.
struct Values {
  std::vector<Value> all;                 ///< by writer
  std::vector<std::uint32_t> first;       ///< [ops + 1] of `all`
  std::vector<std::uint32_t> readers;     ///< ops of the program, value by value
  std::vector<std::uint32_t> read;        ///< values, by the ops that read them
  std::vector<std::uint32_t> first_read;  ///< [ops + 1] of `read`

  std::span<const Value> written_by(std::uint32_t op) const {
    return std::span(all).subspan(first[op], first[op + 1] - first[op]);
  }
  std::span<const std::uint32_t> readers_of(const Value& value) const {
    return std::span(readers).subspan(value.first_reader, value.readers);
  }
  /// Indices into `all`, ascending.
  std::span<const std::uint32_t> read_by(std::uint32_t op) const {
    return std::span(read).subspan(first_read[op], first_read[op + 1] - first_read[op]);
  }
};

/// What each op leaves and who reads it (docs/architecture.md, "Memory"): one table for
/// predictions of memory and for those who hold it. Linear in ops and readers.
Values values_of(const Schedule& schedule, const Program& program, const MoeModel& model);

/// Numbers of each kind, as many bytes each as the precision of who computes says.
struct Elements {
  double half = 0;    ///< activations
  double single = 0;  ///< softmax statistics, logits, weights of routed copies
  double index = 0;   ///< whole numbers
};

/// What the size of an op's values follows from.
struct Counts {
  double tokens = 0;   ///< of the rank, microbatch and, for dispatch and combine, chunk
  double rows = 0;     ///< of the expert op; of a dispatch those of the expert op that it feeds
  double experts = 0;  ///< of the layer on the rank
};
Elements elements_of(const MoeModel& model, const Op& writer, What what, const Counts& counts);

/// The head works on slices, so that logits never take more than this many tokens' worth.
inline constexpr std::size_t logit_slice_tokens = 4096;

}  // namespace zebroid
