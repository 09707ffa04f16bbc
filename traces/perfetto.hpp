#pragma once

#include "core/json.hpp"
#include "models/scenario.hpp"
#include "schedule/schedule.hpp"
#include "schedule/timeline.hpp"

namespace zebroid {

/// The timeline in Chrome's trace event format, as ui.perfetto.dev and chrome://tracing read it: a
/// process per rank, a thread per stream that it uses, a slice per op that takes at least half a
/// nanosecond. An exchange's slice is its transfer (started to ended); how long it waited for other
/// ranks is among its arguments. Arrows lead to compute ops from the op that they waited for,
/// unless the timeline has more than 20,000 ops. Times are rounded to nanoseconds. Throws
/// Error(input) naming the ops when two of one stream overlap: the format cannot hold that.
Json perfetto_trace(const Timeline& timeline, const Schedule& schedule, const Scenario& scenario);

}  // namespace zebroid
