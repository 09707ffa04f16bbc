#pragma once

#include <vector>

#include "models/calibration.hpp"
#include "models/kernel_times.hpp"

namespace zebroid {

struct TimedCall {
  KernelCall call;
  Seconds time;
};

/// The efficiency, half size and constant part whose curve has the least mean logarithmic error,
/// where every octave of work (FLOPs, else bytes) counts the same however many points it has. At
/// least one call, all of one class. Of the result only these three are set. `memory_efficiency` is
/// not used for elementwise calls: it is what they are fitted for.
KernelCurve fit_curve(const std::vector<TimedCall>& calls, double memory_efficiency,
                      const Peaks& peaks);

}  // namespace zebroid
