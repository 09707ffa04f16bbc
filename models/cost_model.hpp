#pragma once

#include <vector>

#include "models/evidence.hpp"
#include "models/kernel_times.hpp"
#include "models/kernels.hpp"
#include "models/moe_model.hpp"

namespace zebroid {

/// Seconds of the module-level ops of one model on one GPU kind, at full rate, without
/// communication: the sum of the kernels that they run (models/kernels.hpp). Recomputation costs as
/// forward. The model outlives it.
class CostModel {
 public:
  CostModel(const MoeModel& model, const GpuSpec& gpu, const Calibration& calibration)
      : model_(model), times_(gpu, calibration) {}

  Cost attention(std::uint32_t layer, Direction direction, double sequences,
                 double sequence_length) const;
  Cost expert(Direction direction, double rows, double experts) const;
  Cost head(Direction direction, double tokens) const;
  Cost step(double parameters) const;

  /// The kernels of an expert op on this GPU: one where grouped products are calibrated.
  std::vector<KernelCall> expert_calls(Direction direction, double rows, double experts) const;
  Cost sum(const std::vector<KernelCall>& calls) const;
  const KernelTimes& times() const { return times_; }

 private:
  const MoeModel& model_;
  KernelTimes times_;
};

}  // namespace zebroid
