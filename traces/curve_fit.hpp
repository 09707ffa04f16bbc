#pragma once

#include <vector>

#include "models/calibration.hpp"
#include "models/kernel_times.hpp"

namespace zebroid {

struct TimedCall {
  KernelCall call;
  Seconds time;
};

/// The efficiency, half size, memory efficiency and constant part whose curve has the least mean
/// logarithmic error, where every octave of work (FLOPs, else bytes) counts the same however many
/// points it has. At least one call, all of one class. Of the result only these are set. The memory
/// efficiency begins at `memory_efficiency`, and stays there where no call is bound by memory.
KernelCurve fit_curve(const std::vector<TimedCall>& calls, double memory_efficiency,
                      const Peaks& peaks);

}  // namespace zebroid
