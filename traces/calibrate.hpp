#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "models/calibration.hpp"
#include "models/gpu.hpp"
#include "traces/sample.hpp"

namespace zebroid {

/// How far predictions are off on points that were held back, as shares of the measured times.
struct HeldOut {
  std::size_t points = 0;
  double median = 0;
  double p90 = 0;
};

/// What became of the samples of one operation on one GPU kind, of one library and dtype; of a
/// collective: over groups of one shape.
struct FitReport {
  std::string gpu;
  MeasuredTable::Key key;
  std::uint32_t ranks = 0;  ///< 0: no collective
  std::uint32_t ranks_per_node = 0;
  std::size_t points = 0;
  HeldOut interpolated;  ///< every fifth point, from the others
  HeldOut extrapolated;  ///< smallest and largest size of each axis, from those at most an octave
                         ///< away
  HeldOut curve;         ///< the same fifth, from the curve (of collectives: alpha and beta) alone
};

struct Calibrated {
  Calibration calibration;  ///< what was measured, nothing else
  std::vector<FitReport> reports;
  std::vector<std::string> warnings;  ///< suspicious data, by name: refused or kept, and why
};

/// Makes a calibration of samples: tables of all points (several of one shape by their median), a
/// curve per class, pieces of alpha and beta per collective and group shape. Kernels in half
/// precision only; GPUs that are not `known` are left out with a warning. Refused: times that would
/// need more than the peak rate, and tables that two GPU kinds share point for point. Kept with a
/// warning: sizes slower than the next larger one, repeats that scatter. What the samples lack is
/// taken from `base`: the efficiency of memory-bound kernels, of backward ones. `progress` is
/// called before each group of samples with how many are done and how many there are, and may
/// throw.
Calibrated calibrate(const std::vector<Sample>& samples, const std::vector<GpuSpec>& known,
                     const Calibration& base,
                     const std::function<void(std::size_t, std::size_t)>& progress = {});

}  // namespace zebroid
