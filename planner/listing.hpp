#pragma once

#include "schedule/schedule.hpp"
#include "schedule/timeline.hpp"

namespace zebroid {

/// The same schedule with every rank's ops listed by the time they start in `free_run`, a run of it
/// without the launch rule; the order within each stream stays. Listed so, the launch rule costs
/// nothing: every launch precedes its transfer. Each rank is listed by its own starts, and programs
/// are shared afterwards where they are equal.
Schedule list_by_start(const Schedule& schedule, const Timeline& free_run);

}  // namespace zebroid
