#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/units.hpp"
#include "models/scenario.hpp"
#include "schedule/amounts.hpp"
#include "schedule/order.hpp"
#include "schedule/predicted_load.hpp"
#include "schedule/schedule.hpp"
#include "schedule/values.hpp"

namespace zebroid {

/// Memory of one rank at its peak, by component.
struct MemoryUse {
  Bytes weights;          ///< half precision
  Bytes gradients;        ///< half precision
  Bytes optimizer;        ///< master weights and moments
  Bytes activations;      ///< kept for backward, or alive while ops run
  Bytes receive_buffers;  ///< filled by exchanges and not yet read
  Bytes runtime;          ///< CUDA context, NCCL buffers

  Bytes total() const {
    return weights + gradients + optimizer + activations + receive_buffers + runtime;
  }
};

/// Bytes of one number of each kind, and what the runtime takes. Of GPUs unless said.
struct Widths {
  double half = 2;    ///< activations (Elements)
  double single = 4;  ///< softmax statistics, logits, weights of routed copies
  double index = 4;
  double parameter = 2;   ///< weights and gradients, each
  double optimizer = 12;  ///< states of one parameter
  Bytes runtime;
};
/// What scenarios are planned with: mixed-precision training with the scenario's optimizer.
Widths gpu_widths(const Scenario& scenario);

/// Peak of each rank when values live from their writer to their last reader in the order of the
/// rank's program. Sizes per value: docs/architecture.md, "Memory". Linear in ops and readers per
/// rank.
std::vector<MemoryUse> peak_memory(const Schedule& schedule, const Scenario& scenario,
                                   const PredictedLoad& load);

/// What of that is there whatever runs: weights, gradients, optimizer states, runtime.
std::vector<MemoryUse> parameter_memory(const Schedule& schedule, const Scenario& scenario,
                                        const PredictedLoad& load);
/// What the CUDA context and NCCL buffers take on every GPU.
Bytes runtime_memory();

/// Bytes of weight, gradient and optimizer states per parameter (16 with AdamW: Mixed-precision
/// training, 2 + 2 + 12).
double bytes_per_parameter(Optimizer optimizer);

/// What the size of a rank's values follows from.
struct Sizes {
  const MoeModel& model;
  const Amounts& amounts;
  Widths widths;
};
/// Bytes of each of the values of a rank's program.
std::vector<double> value_bytes(const Schedule& schedule, RankId rank, const Values& values,
                                const Sizes& sizes);

/// The most that is in use at once.
struct Peak {
  double bytes = 0;
  std::uint32_t op = 0;  ///< of the rank's program, where it starts

  friend bool operator==(const Peak&, const Peak&) = default;
};
/// The most that the values of one rank's program can take at any time in any execution that keeps
/// the rules of schedules, whatever takes how long: the maximum over its ops of what was written by
/// ops listed up to there and is not surely free when the op starts. bytes: of each value.
/// O(values log ops).
Peak peak_in_any_order(const Program& program, const Values& values, const LocalOrder& order,
                       std::span<const double> bytes);

/// As peak_memory(), but for any timing. O(ops log ops) per rank.
std::vector<MemoryUse> peak_memory_in_any_order(const Schedule& schedule, const Scenario& scenario,
                                                const Amounts& amounts, const Widths& widths);

}  // namespace zebroid
