#pragma once

#include "schedule/schedule.hpp"

namespace zebroid::testing {

/// Runs a schedule op by op without any notion of time, the naive way: over and over every rank
/// issues whatever it may. Written apart from reads() and verify(), from the rules alone, to judge
/// them. The numbers in the schedule exist. True when every op of every rank ends.
bool runs_to_the_end(const Schedule& schedule);

/// Whether `mutant` still lists everything that a correct schedule `original` needs, each once:
/// recomputation may be left out, and expert ops of ranks without experts of that layer; but not
/// the backward of what is recomputed.
bool lists_what_is_needed(const Schedule& mutant, const Schedule& original);

}  // namespace zebroid::testing
