#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "planner/trials.hpp"
#include "planner/zebra.hpp"

namespace zebroid {

// Each offers the candidates of one strategy. Throws Error(input) when the request cannot be met
// whatever the memory.

void search_expert_parallel(const Scenario& scenario, const PlanRequest& request, Trials& trials);
void search_dist_ep(const Scenario& scenario, const PlanRequest& request, Trials& trials);
void search_pipeline(const Scenario& scenario, const PlanRequest& request, Trials& trials);
void search_zebra(const Scenario& scenario, const PlanRequest& request, Trials& trials);

/// What search_zebra knows when it has tried even placement and gather-and-squeeze.
struct ZebraTried {
  ZebraShape shape;                         ///< groups and chunks
  std::vector<std::uint32_t> microbatches;  ///< candidates
  std::vector<std::uint32_t> gathered;      ///< [layers] one offload of Algorithm 1, or none
};
/// Goes on from there: any number of experts in each layer, together with the microbatches. order:
/// of the next candidate.
void search_optimal_assignment(const Scenario& scenario, const PlanRequest& request,
                               ZebraTried tried, std::uint32_t& order, Trials& trials);

/// Why no experts moved though they were asked to; "" when they could.
std::string why_none_move(const Schedule& schedule);

}  // namespace zebroid
