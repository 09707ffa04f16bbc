#pragma once

#include <array>
#include <vector>

#include "core/units.hpp"
#include "models/calibration.hpp"
#include "models/evidence.hpp"
#include "models/gpu.hpp"
#include "models/kernels.hpp"

namespace zebroid {

/// How long one run of a kernel takes, and why.
struct KernelTime {
  Seconds seconds;
  Evidence evidence = Evidence::roofline;
  Seconds curve;                         ///< what the class's curve alone says
  const MeasuredTable* table = nullptr;  ///< of the KernelTimes; nothing: the time is the curve's
  Estimate estimate;                     ///< of the table
};

/// Datasheet rates of a GPU.
struct Peaks {
  FlopsPerSecond half;
  BytesPerSecond memory;
};
/// Seconds of a kernel by its class's curve, whose memory_efficiency is set.
Seconds curve_time(const KernelCall& call, const KernelCurve& curve, const Peaks& peaks);

/// Seconds of kernels on one GPU kind, at full rate: from measured points where the calibration has
/// a table of the operation, else from the curve of its class.
class KernelTimes {
 public:
  KernelTimes(const GpuSpec& gpu, const Calibration& calibration);

  KernelTime of(const KernelCall& call) const;
  /// What the curve of the call's class says.
  Seconds curve(const KernelCall& call) const;
  const KernelCurve& curve_of(KernelClass kernel) const {
    return curves_[static_cast<std::size_t>(kernel)];
  }
  /// Whether an expert layer is one kernel: someone calibrated it.
  bool has_grouped_gemm() const { return grouped_; }

 private:
  struct Measured {
    const MeasuredTable* table = nullptr;
    bool of_this_gpu = true;  ///< false: of the kind that it is like
  };
  Measured find(const KernelCall& call) const;
  double log_ratio(const Measured& measured, const Estimate& estimate,
                   const KernelCall& call) const;
  Seconds curve(const KernelCall& call, const Peaks& peaks) const;

  Peaks peaks_;
  Peaks like_peaks_;  ///< of the kind that it is like
  std::array<KernelCurve, kernel_class_count> curves_;
  std::vector<MeasuredTable> own_;
  std::vector<MeasuredTable> like_;
  bool grouped_ = false;
};

}  // namespace zebroid
