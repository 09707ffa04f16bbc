#pragma once

#include <string_view>
#include <vector>

#include "models/scenario.hpp"
#include "planner/planner.hpp"
#include "planner/pools.hpp"

namespace zebroid {

/// GPUs that share one copy of the model, by what they do: owners run attention on their own
/// sequences, holders the experts of all owners.
struct RoleGroup {
  GpuList attention;
  GpuList experts;
};

/// All groups of a cluster.
using RoleGroups = std::vector<RoleGroup>;

/// Groups in which every GPU has both roles.
RoleGroups with_both_roles(const std::vector<GpuList>& groups);

/// Ways to give each GPU kind one role, and to cut the GPUs into groups: those that the request
/// names, else every cut of the kinds ordered by how much they gain from attention, in as few
/// groups as have an expert for each expert GPU. `strategy` is for messages. Throws Error(input)
/// when there is none.
std::vector<RoleGroups> role_groups(const Scenario& scenario, const PlanRequest& request,
                                    std::string_view strategy);

}  // namespace zebroid
