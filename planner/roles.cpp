#include "planner/roles.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "core/error.hpp"
#include "planner/trials.hpp"

namespace zebroid {
namespace {

using Kinds = std::vector<std::uint32_t>;

struct Roles {
  Kinds attention;
  Kinds experts;
};

std::vector<Roles> roles_to_try(const Scenario& scenario, const PlanRequest& request,
                                std::string_view strategy) {
  const Kinds kinds = kinds_by_attention_gain(scenario);
  if (kinds.size() < 2) {
    throw Error(ErrorKind::input,
                fmt::format("{} needs GPUs of at least two kinds, the cluster has {} only; try "
                            "--strategy ep",
                            strategy, scenario.cluster.kinds[kinds.front()].name));
  }
  std::vector<Roles> out;
  if (request.attention_kinds.empty()) {
    for (auto cut = kinds.begin() + 1; cut != kinds.end(); ++cut) {
      out.push_back({{kinds.begin(), cut}, {cut, kinds.end()}});
    }
    return out;
  }
  Roles& given = out.emplace_back();
  for (const std::uint32_t kind : kinds) {
    const auto& attention = request.attention_kinds;
    const bool does_attention =
        std::find(attention.begin(), attention.end(), kind) != attention.end();
    (does_attention ? given.attention : given.experts).push_back(kind);
  }
  if (given.attention.empty() || given.experts.empty()) {
    throw Error(ErrorKind::input, fmt::format("{} needs GPUs of both roles", strategy));
  }
  return out;
}

std::uint32_t groups_for(const GpuList& attention, const GpuList& experts,
                         std::uint32_t model_experts, const PlanRequest& request,
                         std::string_view strategy) {
  const auto most = static_cast<std::uint32_t>(std::min(attention.size(), experts.size()));
  const auto per_group = [&](std::uint32_t groups) {
    return static_cast<std::uint32_t>((experts.size() + groups - 1) / groups);
  };
  if (request.groups) {
    const std::uint32_t groups = *request.groups;
    if (groups > most) {
      throw Error(ErrorKind::input,
                  fmt::format("{} need at least that many GPUs of each role; there are {} and {}",
                              count_of(groups, fmt::format("{} group", strategy)),
                              count_of(attention.size(), "attention GPU"),
                              count_of(experts.size(), "expert GPU")));
    }
    if (per_group(groups) > model_experts) {
      throw Error(ErrorKind::input,
                  fmt::format("{} cannot be spread over {} in one {} group; use more groups",
                              count_of(model_experts, "expert"),
                              count_of(per_group(groups), "expert GPU"), strategy));
    }
    return groups;
  }
  for (std::uint32_t groups = 1; groups <= most; ++groups) {
    if (per_group(groups) <= model_experts) return groups;
  }
  throw Error(
      ErrorKind::input,
      fmt::format("{} are fewer than the expert GPUs of a {} group: {} for {}, in at most {}",
                  count_of(model_experts, "expert"), strategy,
                  count_of(experts.size(), "expert GPU"),
                  count_of(attention.size(), "attention GPU"), count_of(most, "group")));
}

RoleGroups cut(const Scenario& scenario, const Roles& roles, const PlanRequest& request,
               std::string_view strategy) {
  const GpuList attention = gpus_of_kinds(scenario.cluster, roles.attention);
  const GpuList experts = gpus_of_kinds(scenario.cluster, roles.experts);
  const std::uint32_t groups =
      groups_for(attention, experts, scenario.model.experts, request, strategy);
  const auto attention_of = cut_into_groups(scenario.cluster, attention, groups);
  const auto experts_of = cut_into_groups(scenario.cluster, experts, groups);
  RoleGroups out;
  for (std::uint32_t g = 0; g < groups; ++g) out.push_back({attention_of[g], experts_of[g]});
  return out;
}

}  // namespace

RoleGroups with_both_roles(const std::vector<GpuList>& groups) {
  RoleGroups out;
  for (const GpuList& group : groups) out.push_back({group, group});
  return out;
}

std::vector<RoleGroups> role_groups(const Scenario& scenario, const PlanRequest& request,
                                    std::string_view strategy) {
  std::vector<RoleGroups> out;
  std::string reason;
  for (const Roles& roles : roles_to_try(scenario, request, strategy)) {
    try {
      out.push_back(cut(scenario, roles, request, strategy));
    } catch (const Error& error) {  // other roles may do
      if (error.kind() != ErrorKind::input) throw;
      if (reason.empty()) reason = error.what();
    }
  }
  if (out.empty()) throw Error(ErrorKind::input, reason);
  return out;
}

}  // namespace zebroid
