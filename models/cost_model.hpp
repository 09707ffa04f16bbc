#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "core/units.hpp"
#include "models/calibration.hpp"
#include "models/evidence.hpp"
#include "models/gpu.hpp"
#include "models/kernels.hpp"
#include "models/moe_model.hpp"

namespace zebroid {

/// How long one run of a kernel takes, and why.
struct KernelTime {
  Seconds seconds;
  Evidence evidence = Evidence::roofline;
  Seconds curve;  ///< what the class's curve alone says
  const MeasuredTable* table = nullptr;  ///< nothing: the time is the curve's
  Estimate estimate;                     ///< of the table
};

/// Seconds of the module-level ops of one model on one GPU kind, at full rate, without
/// communication: the sum of the kernels that they run (models/kernels.hpp), each from measured
/// points where the calibration has a table of its operation, else from its class's curve.
/// Recomputation costs as forward. Model, GPU and calibration outlive it.
class CostModel {
 public:
  CostModel(const MoeModel& model, const GpuSpec& gpu, const Calibration& calibration);

  Cost attention(std::uint32_t layer, Direction direction, double sequences,
                 double sequence_length) const;
  Cost expert(Direction direction, double rows, double experts) const;
  Cost head(Direction direction, double tokens) const;
  Cost step(double parameters) const;

  /// The kernels of an expert op on this GPU: one where grouped products are calibrated.
  std::vector<KernelCall> expert_calls(Direction direction, double rows, double experts) const;
  KernelTime time_of(const KernelCall& call) const;
  const GpuSpec& gpu() const { return gpu_; }

 private:
  struct Measured {
    const MeasuredTable* table = nullptr;
    bool of_this_gpu = true;  ///< false: of the kind that it is like
  };

  Cost sum(const std::vector<KernelCall>& calls) const;
  Seconds curve_time(const KernelCall& call) const;
  Measured find(const KernelCall& call) const;
  const KernelCurve& of(KernelClass kernel) const {
    return curves_[static_cast<std::size_t>(kernel)];
  }

  const MoeModel& model_;
  const GpuSpec& gpu_;
  std::array<KernelCurve, kernel_class_count> curves_;
  const std::vector<MeasuredTable>& own_;
  const std::vector<MeasuredTable>& like_;
  bool grouped_ = false;
};

}  // namespace zebroid
