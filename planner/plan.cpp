#include <fmt/format.h>

#include <limits>

#include "core/error.hpp"
#include "planner/planner.hpp"
#include "planner/searches.hpp"
#include "schedule/files.hpp"

namespace zebroid {
namespace {

/// Experts on attention GPUs, per layer.
std::vector<std::uint32_t> offloaded(const Plan& plan) {
  const std::vector<std::string> rank_roles = roles(plan.schedule);
  std::vector<std::uint32_t> out(plan.schedule.layers, 0);
  for (const Replica& replica : plan.schedule.replicas) {
    for (std::size_t l = 0; l < replica.expert_on.size(); ++l) {
      for (const RankId rank : replica.expert_on[l]) {
        if (rank_roles[rank.value] == "attention") ++out[l];
      }
    }
  }
  return out;
}

/// Settings that need less memory than those of the scenario.
std::string what_saves(const Scenario& scenario) {
  std::string out = "a smaller --global-batch (max: the largest that fits)";
  if (scenario.training.recompute != Recompute::layer) out += ", --recompute layer";
  if (scenario.training.optimizer == Optimizer::adamw) out += ", --optimizer adamw-8bit";
  return out;
}

/// Why the rank that lacks most memory does not fit; "" when all do.
std::string lack(const Plan& plan, const Scenario& scenario) {
  const std::vector<Gpu> gpus = gpus_of(scenario.cluster);
  std::size_t worst = 0;
  Bytes excess{-std::numeric_limits<double>::infinity()};
  for (std::size_t r = 0; r < plan.memory.size(); ++r) {
    const Bytes here = plan.memory[r].total() - capacity_of(scenario, gpus, plan.schedule.ranks[r]);
    if (here > excess) {
      excess = here;
      worst = r;
    }
  }
  if (excess.value <= 0) return "";
  constexpr double gib = 1024.0 * 1024.0 * 1024.0;
  const Rank& rank = plan.schedule.ranks[worst];
  const MemoryUse& use = plan.memory[worst];
  return fmt::format(
      "rank {} ({}, {}) lacks {:.0f} bytes: it needs {:.2f} GiB (weights {:.2f}, gradients {:.2f}, "
      "optimizer {:.2f}, activations {:.2f}, receive buffers {:.2f}, runtime {:.2f}) of {:.2f} "
      "GiB; "
      "try {}",
      worst, scenario.cluster.kinds[gpus[rank.gpu.value].kind].name, roles(plan.schedule)[worst],
      excess.value, use.total().value / gib, use.weights.value / gib, use.gradients.value / gib,
      use.optimizer.value / gib, use.activations.value / gib, use.receive_buffers.value / gib,
      use.runtime.value / gib, capacity_of(scenario, gpus, rank).value / gib, what_saves(scenario));
}

}  // namespace

const std::vector<std::string>& strategy_names() {
  static const std::vector<std::string> names = {"ep", "dist-ep", "ep-ideal", "zebra"};
  return names;
}

const std::vector<std::string>& expert_assignment_names() {
  static const std::vector<std::string> names = {"even", "gather-and-squeeze",
                                                 "gather-and-squeeze-printed", "optimal"};
  return names;
}

void judge(Plan& plan, const Scenario& scenario) {
  plan.groups = static_cast<std::uint32_t>(plan.schedule.replicas.size());
  plan.offloaded = offloaded(plan);
  plan.lacks_memory = lack(plan, scenario);
}

Plan plan(const Scenario& scenario, const PlanRequest& request, const Scorer& score) {
  if (scenario.model.layers.size() > UINT16_MAX || scenario.model.experts > UINT16_MAX) {
    throw Error(ErrorKind::input,
                fmt::format("a schedule holds at most {} layers and experts", UINT16_MAX));
  }
  Trials trials(scenario, score);
  switch (request.strategy) {
    case Strategy::zebra:
      search_zebra(scenario, request, trials);
      break;
    case Strategy::expert_parallel:
      search_expert_parallel(scenario, request, trials);
      break;
    case Strategy::dist_ep:
      search_dist_ep(scenario, request, trials);
      break;
    case Strategy::ep_ideal:
      throw Error(ErrorKind::internal, "ep-ideal is several jobs (planner/jobs.hpp), not one plan");
  }
  Plan out = trials.finish();
  if (request.strategy == Strategy::zebra && request.assignment != ExpertAssignment::even &&
      request.assignment != ExpertAssignment::optimal) {
    const std::string why = why_none_move(out.schedule);
    if (!why.empty()) out.notes.push_back(why);
  }
  return out;
}

}  // namespace zebroid