#pragma once

#include <string>
#include <vector>

#include "core/json.hpp"
#include "models/scenario.hpp"
#include "schedule/schedule.hpp"
#include "schedule/timeline.hpp"

namespace zebroid {

/// A schedule with the scenario that it was planned for: what its file holds
/// (docs/formats/schedule.md).
struct ScheduleFile {
  Scenario scenario;
  Schedule schedule;
};

Json to_json(const Schedule& schedule, const Scenario& scenario);
/// Of a timeline its schedule. Throws Error(input) for anything that is not a schedule that fits
/// its scenario (layers, experts, GPUs); verify() is the caller's.
ScheduleFile read_schedule(const JsonDocument& document);

/// A timeline with its schedule (docs/formats/timeline.md).
Json to_json(const Timeline& timeline, const Schedule& schedule, const Scenario& scenario);
/// Throws Error(input) when the document is not a timeline of its schedule or verify() finds faults
/// in that.
struct TimelineFile {
  ScheduleFile schedule;
  Timeline timeline;
};
TimelineFile read_timeline(const JsonDocument& document);

/// What each rank is for: "attention" and "expert" where a replica has ranks without sequences,
/// "stage-K" where it has stages, else "all".
std::vector<std::string> roles(const Schedule& schedule);

}  // namespace zebroid
