#include "planner/jobs.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "core/error.hpp"

namespace zebroid {

Scenario on_kinds(const Scenario& scenario, const std::vector<std::uint32_t>& kinds,
                  std::uint64_t batch) {
  Scenario out = scenario;
  std::vector<std::string> kept;
  for (NodeGroup& row : out.cluster.rows) {
    const bool stays = std::any_of(kinds.begin(), kinds.end(), [&](std::uint32_t kind) {
      return out.cluster.kinds[kind].name == row.gpu;
    });
    if (!stays) row.count = 0;
    if (row.count > 0) kept.push_back(fmt::format("{}x{}", row.count, row.gpu));
  }
  out.cluster.name = fmt::format("{}", fmt::join(kept, ","));
  out.training.global_batch_sequences = batch;
  return out;
}

std::vector<KindShare> shares_of_kinds(const Scenario& scenario) {
  std::vector<KindShare> kinds(scenario.cluster.kinds.size());
  const std::vector<Gpu> gpus = gpus_of(scenario.cluster);
  for (const Gpu& gpu : gpus) ++kinds[gpu.kind].gpus;
  const std::uint64_t batch = scenario.training.global_batch_sequences;
  std::uint64_t left = batch;
  for (std::uint32_t k = 0; k < kinds.size(); ++k) {
    kinds[k].kind = k;
    kinds[k].sequences = batch * kinds[k].gpus / gpus.size();
    left -= kinds[k].sequences;
  }
  std::erase_if(kinds, [](const KindShare& share) { return share.gpus == 0; });
  kinds.front().sequences += left;
  for (const auto& [kind, count, sequences] : kinds) {
    if (sequences >= count) continue;
    throw Error(ErrorKind::input,
                fmt::format("a global batch of {} sequences gives {} GPUs of kind {} only {}",
                            batch, count, scenario.cluster.kinds[kind].name, sequences));
  }
  return kinds;
}

std::vector<Job> plan_jobs(const Scenario& scenario, const PlanRequest& request,
                           const Scorer& score) {
  std::vector<Job> out;
  if (request.strategy != Strategy::ep_ideal) {
    out.push_back({request.strategy, scenario, plan(scenario, request, score)});
    return out;
  }
  PlanRequest alone = request;
  alone.strategy = Strategy::expert_parallel;
  for (const KindShare& share : shares_of_kinds(scenario)) {
    Job& job = out.emplace_back();
    job.strategy = alone.strategy;
    job.scenario = on_kinds(scenario, {share.kind}, share.sequences);
    job.plan = plan(job.scenario, alone, score);
  }
  return out;
}

}  // namespace zebroid
