#pragma once

#include <vector>

#include "core/units.hpp"
#include "models/scenario.hpp"
#include "schedule/predicted_load.hpp"
#include "schedule/schedule.hpp"

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

/// Peak of each rank when values live from their writer to their last reader in the order of the
/// rank's program. Sizes per value: docs/architecture.md, "Memory". O(ops log ops) per rank.
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

}  // namespace zebroid
