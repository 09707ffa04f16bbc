#pragma once

#include "schedule/schedule.hpp"
#include "schedule/timeline.hpp"

namespace zebroid {

/// The same schedule with every rank's ops listed by the time they start in `free_run`, a run of it
/// without the launch rule; the order within each stream stays, and exchanges with equal
/// starts keep theirs, which has to be common to all ranks. Listed so, the launch rule costs
/// nothing: every launch precedes its transfer. Each rank is listed by its own starts, and programs
/// are shared afterwards where they are equal.
Schedule list_by_start(const Schedule& schedule, const Timeline& free_run);

/// The same schedule with the compute ops of every rank in the order in which they start in `run`,
/// one in which they were not in order (SimulateOptions::compute_in_order).
Schedule order_by_start(const Schedule& schedule, const Timeline& run);

}  // namespace zebroid
