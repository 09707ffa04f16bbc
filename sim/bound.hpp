#pragma once

#include <string>

#include "schedule/load.hpp"
#include "schedule/schedule.hpp"

namespace zebroid {

/// A time below which no order of the same ops on the same ranks can end.
struct Bound {
  Seconds seconds;
  std::string binding;  ///< "data path", "compute of rank 3", "port gpu3 out"
};

/// The largest of: the longest path over data alone; for each stream its earliest start by data,
/// its work and the shortest rest; each port's bytes over its bandwidth. Of equal ones the first in
/// that order. The schedule has no faults. Linear in ops and messages.
Bound lower_bound(const Schedule& schedule, const Load& load);

}  // namespace zebroid
