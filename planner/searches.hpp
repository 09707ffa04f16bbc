#pragma once

#include <string>

#include "planner/trials.hpp"

namespace zebroid {

// Each offers the candidates of one strategy. Throws Error(input) when the request cannot be met
// whatever the memory.

void search_expert_parallel(const Scenario& scenario, const PlanRequest& request, Trials& trials);
void search_dist_ep(const Scenario& scenario, const PlanRequest& request, Trials& trials);
void search_pipeline(const Scenario& scenario, const PlanRequest& request, Trials& trials);
void search_zebra(const Scenario& scenario, const PlanRequest& request, Trials& trials);

/// Why no experts moved though they were asked to; "" when they could.
std::string why_none_move(const Schedule& schedule);

}  // namespace zebroid
