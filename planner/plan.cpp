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

}  // namespace

const std::vector<std::string>& strategy_names() {
  static const std::vector<std::string> names = {"ep", "dist-ep", "ep-ideal", "pp", "zebra"};
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
  plan.lacks_memory = lack_of_memory(plan.schedule, plan.memory, scenario);
}

std::string what_saves_memory(const Scenario& scenario) {
  std::string out = "a smaller --global-batch (max: the largest that fits)";
  if (scenario.training.recompute != Recompute::layer) out += ", --recompute layer";
  if (scenario.training.optimizer == Optimizer::adamw) out += ", --optimizer adamw-8bit";
  return out;
}

Plan plan(const Scenario& scenario, const PlanRequest& request, const Scorer& score) {
  if (scenario.model.layers.size() > UINT16_MAX || scenario.model.experts > UINT16_MAX) {
    throw Error(ErrorKind::input,
                fmt::format("a schedule holds at most {} layers and experts", UINT16_MAX));
  }
  Trials trials(scenario, request, score);
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
    case Strategy::pipeline:
      search_pipeline(scenario, request, trials);
      break;
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