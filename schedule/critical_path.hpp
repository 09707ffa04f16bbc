#pragma once

#include <cstdint>
#include <vector>

#include "core/units.hpp"
#include "schedule/schedule.hpp"
#include "schedule/timeline.hpp"

namespace zebroid {

/// One op of a critical path, on the rank where it was waited for.
struct CriticalStep {
  RankId rank;
  std::uint32_t op = 0;  ///< of the rank's program
  Seconds begin;         ///< end of the step before, 0 for the first one
  Seconds end;
};

/// The chain of ops behind the end of the iteration, in order of time: each began when the one
/// before let it. A compute op began at the end of the op before it on its stream or of one that it
/// reads; an exchange when its last member launched it, which was let by the same on that member,
/// or by the launch of the exchange listed before. The steps leave no gaps. Of several equally late
/// ones the first is taken. Linear in ops for each program, and in reads for each step.
std::vector<CriticalStep> critical_path(const Schedule& schedule, const Timeline& timeline);

}  // namespace zebroid
