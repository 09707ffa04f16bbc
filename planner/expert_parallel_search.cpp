#include <fmt/format.h>

#include <algorithm>
#include <utility>

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

/// Tunes one way to seat the GPUs.
class Tuning {
 public:
  Tuning(const Scenario& scenario, const PlanRequest& request, ExpertParallelShape shape,
         std::uint32_t& order, Trials& trials)
      : scenario_(scenario),
        request_(request),
        trials_(trials),
        shape_(std::move(shape)),
        order_(order) {}

  void run() {
    const std::vector<std::uint32_t> microbatches = microbatches_to_try();
    may_fit_ = trials_.parameters_fit(expert_parallel_schedule(scenario_, shape_));
    if (!may_fit_ && request_.fitting_only) return;
    if (request_.first_fit) {
      smallest_chunks_fit(microbatches.back());
      return;
    }
    if (smallest_chunks_fit(microbatches.front()) || !may_fit_ || microbatches.size() == 1) {
      return tune_chunks(microbatches.front());
    }
    // Gradient accumulation only when the whole share does not fit at once, and then in as few
    // microbatches as do. What moves takes memory in proportion to their size, which says where to
    // begin.
    for (const std::uint32_t r : microbatches) {
      if (r < microbatches.front() * times_too_large_ || r == microbatches.front()) continue;
      if (smallest_chunks_fit(r)) return tune_chunks(r);
    }
  }

 private:
  std::vector<std::uint32_t> microbatches_to_try() const {
    std::size_t owners = 0;
    for (const RoleGroup& group : shape_.groups) owners += group.attention.size();
    const std::uint32_t least =
        split_batch(scenario_.training.global_batch_sequences, static_cast<std::uint32_t>(owners),
                    request_.microbatches.value_or(1))
            .back();
    return request_.microbatches ? std::vector{*request_.microbatches}
                                 : microbatch_candidates(least);
  }
  std::vector<std::uint32_t> chunks_to_try() const {
    return request_.chunks ? std::vector{*request_.chunks}
                           : std::vector<std::uint32_t>{1, 2, 3, 4, 6, 8};
  }

  /// All but the most chunks, which were tried.
  void tune_chunks(std::uint32_t microbatches) {
    shape_.microbatches = microbatches;
    std::vector<std::uint32_t> chunks = chunks_to_try();
    chunks.pop_back();
    std::vector<Bounded> bounded;
    for (const std::uint32_t c : chunks) {
      shape_.chunks = c;
      if (!trials_.admits(microbatches, c)) continue;
      const Seconds at_least =
          shape_.is_disaggregated() ? Seconds{} : expert_parallel_bound(scenario_, shape_);
      bounded.push_back({at_least, order_++, c});
    }
    if (!request_.exhaustive) best_bound_first(bounded);
    for (const Bounded& candidate : bounded) {
      if (!request_.exhaustive && !trials_.may_win(candidate.at_least, may_fit_)) break;
      trials_.offer(trials_.evaluate_to_win(candidate.order, schedule_of(candidate.count)));
    }
  }

  /// With the most chunks, which need least memory. Offers the candidate.
  bool smallest_chunks_fit(std::uint32_t microbatches) {
    shape_.microbatches = microbatches;
    const std::uint32_t chunks = chunks_to_try().back();
    if (!trials_.admits(microbatches, chunks)) return false;
    Candidate made = trials_.evaluate(order_++, schedule_of(chunks));
    const bool out = made.fits();
    if (!out) times_too_large_ = std::max(times_too_large_, trials_.times_too_large(made));
    trials_.offer(std::move(made));
    return out;
  }
  Schedule schedule_of(std::uint32_t chunks) {
    shape_.chunks = chunks;
    return expert_parallel_schedule(scenario_, shape_);
  }

  const Scenario& scenario_;
  const PlanRequest& request_;
  Trials& trials_;
  ExpertParallelShape shape_;
  std::uint32_t& order_;
  bool may_fit_ = true;
  double times_too_large_ = 1;  ///< are the first microbatches, at least
};

}  // namespace

void search_expert_parallel(const Scenario& scenario, const PlanRequest& request, Trials& trials) {
  GpuList all;
  const std::size_t gpus = gpus_of(scenario.cluster).size();
  for (std::uint32_t g = 0; g < gpus; ++g) all.push_back({g});
  const std::uint32_t groups = expert_parallel_groups(scenario, request, all.size());
  ExpertParallelShape shape;
  shape.groups = with_both_roles(cut_into_groups(scenario.cluster, all, groups));
  std::uint32_t order = 0;
  Tuning(scenario, request, shape, order, trials).run();
}

void search_dist_ep(const Scenario& scenario, const PlanRequest& request, Trials& trials) {
  const std::vector<RoleGroups> ways = role_groups(scenario, request, "dist-ep");
  std::uint32_t order = 0;
  for (const RoleGroups& groups : ways) {
    ExpertParallelShape shape;
    shape.groups = groups;
    Tuning(scenario, request, shape, order, trials).run();
  }
}

}  // namespace zebroid
