#include <fmt/format.h>

#include "core/error.hpp"
#include "planner/expert_parallel.hpp"
#include "planner/expert_parallel_bound.hpp"
#include "planner/searches.hpp"

namespace zebroid {
namespace {

std::uint32_t expert_parallel_groups(const Scenario& scenario, const PlanRequest& request,
                                     std::size_t gpus) {
  const std::uint32_t n = scenario.model.experts;
  const auto per_group = [&](std::size_t groups) { return (gpus + groups - 1) / groups; };
  if (!request.groups) {
    std::uint32_t groups = 1;
    while (per_group(groups) > n) ++groups;
    return groups;
  }
  if (*request.groups > gpus) {
    throw Error(ErrorKind::input,
                fmt::format("{} need at least as many GPUs; there are {}",
                            count_of(*request.groups, "expert-parallel group"), gpus));
  }
  if (per_group(*request.groups) > n) {
    throw Error(
        ErrorKind::input,
        fmt::format("{} cannot be spread over {} in one expert-parallel group; use more groups",
                    count_of(n, "expert"), count_of(per_group(*request.groups), "GPU")));
  }
  return *request.groups;
}

/// Microbatches and chunks of one way to seat the GPUs.
void tune(const Scenario& scenario, const PlanRequest& request, ExpertParallelShape shape,
          std::uint32_t& order, Trials& trials) {
  std::size_t owners = 0;
  for (const RoleGroup& group : shape.groups) owners += group.attention.size();
  const std::uint32_t least =
      split_batch(scenario.training.global_batch_sequences, static_cast<std::uint32_t>(owners),
                  request.microbatches.value_or(1))
          .back();
  const bool may_fit = trials.parameters_fit(expert_parallel_schedule(scenario, shape));
  if (!may_fit && request.fitting_only) return;
  // Gradient accumulation only when the whole share does not fit at once.
  const std::vector<std::uint32_t> microbatches =
      request.microbatches ? std::vector{*request.microbatches} : microbatch_candidates(least);
  const std::vector<std::uint32_t> chunks =
      request.chunks ? std::vector{*request.chunks} : std::vector<std::uint32_t>{1, 2, 3, 4, 6, 8};
  for (const std::uint32_t r : microbatches) {
    shape.microbatches = r;
    std::vector<Bounded> bounded;
    for (const std::uint32_t c : chunks) {
      shape.chunks = c;
      if (!trials.admits(r, c)) continue;
      const Seconds at_least =
          shape.is_disaggregated() ? Seconds{} : expert_parallel_bound(scenario, shape);
      bounded.push_back({at_least, order++, c});
    }
    if (!request.exhaustive) best_bound_first(bounded);
    bool fits = false;
    for (const Bounded& candidate : bounded) {
      if (!request.exhaustive && !trials.may_win(candidate.at_least, may_fit)) break;
      shape.chunks = candidate.count;
      auto made =
          trials.evaluate_to_win(candidate.order, expert_parallel_schedule(scenario, shape));
      fits = fits || (made && made->fits());
      trials.offer(std::move(made));
    }
    if (fits || !may_fit) return;
  }
}

}  // namespace

void search_expert_parallel(const Scenario& scenario, const PlanRequest& request, Trials& trials) {
  GpuList all;
  const std::size_t gpus = gpus_of(scenario.cluster).size();
  for (std::uint32_t g = 0; g < gpus; ++g) all.push_back({g});
  const std::uint32_t groups = expert_parallel_groups(scenario, request, all.size());
  ExpertParallelShape shape;
  shape.groups = with_both_roles(cut_into_groups(scenario.cluster, all, groups));
  std::uint32_t order = 0;
  tune(scenario, request, shape, order, trials);
}

void search_dist_ep(const Scenario& scenario, const PlanRequest& request, Trials& trials) {
  const std::vector<RoleGroups> ways = role_groups(scenario, request, "dist-ep");
  std::uint32_t order = 0;
  for (const RoleGroups& groups : ways) {
    ExpertParallelShape shape;
    shape.groups = groups;
    tune(scenario, request, shape, order, trials);
  }
}

}  // namespace zebroid
