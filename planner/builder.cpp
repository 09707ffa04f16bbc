#include "planner/builder.hpp"

#include <algorithm>
#include <set>

#include "core/error.hpp"

namespace zebroid {
namespace {

std::uint16_t narrow(std::uint32_t number) {
  ensure(number <= UINT16_MAX, "a schedule's number exceeds 16 bits");
  return static_cast<std::uint16_t>(number);
}

}  // namespace

ScheduleBuilder::ScheduleBuilder(const Scenario& scenario, std::uint32_t microbatches,
                                 std::uint32_t chunks)
    : scenario_(scenario), gpus_(gpus_of(scenario.cluster)) {
  schedule_.layers = narrow(static_cast<std::uint32_t>(scenario.model.layers.size()));
  schedule_.experts = narrow(scenario.model.experts);
  schedule_.microbatches = narrow(microbatches);
  schedule_.chunks = narrow(chunks);
}

RankId ScheduleBuilder::add_rank(GpuId gpu, std::uint32_t replica, std::uint32_t sequences) {
  while (schedule_.replicas.size() <= replica) {
    schedule_.replicas.emplace_back().expert_on.resize(schedule_.layers);
  }
  schedule_.ranks.push_back(
      {.gpu = gpu, .program = 0, .replica = narrow(replica), .sequences = sequences, .groups = {}});
  programs_.emplace_back();
  return {static_cast<std::uint32_t>(schedule_.ranks.size() - 1)};
}

GroupId ScheduleBuilder::group(std::vector<RankId> ranks) {
  std::sort(ranks.begin(), ranks.end());
  const auto [at, is_new] =
      groups_.try_emplace(ranks, GroupId{static_cast<std::uint32_t>(schedule_.groups.size())});
  if (is_new) {
    for (const RankId rank : ranks) schedule_.ranks[rank.value].groups.push_back(at->second);
    schedule_.groups.push_back(std::move(ranks));
  }
  return at->second;
}

void ScheduleBuilder::place(std::uint32_t replica, std::uint32_t layer,
                            std::vector<RankId> expert_on) {
  schedule_.replicas[replica].expert_on[layer] = std::move(expert_on);
}

void ScheduleBuilder::compute(RankId rank, const Op& op) { programs_[rank.value].push_back(op); }

void ScheduleBuilder::exchange(GroupId group, Op op) {
  for (const RankId rank : schedule_.groups[group.value]) {
    const auto& groups = schedule_.ranks[rank.value].groups;
    const auto slot = std::find(groups.begin(), groups.end(), group) - groups.begin() + 1;
    ensure(slot <= UINT8_MAX, "a rank is in more groups than slots");
    op.slot = static_cast<std::uint8_t>(slot);
    programs_[rank.value].push_back(op);
  }
}

std::vector<std::vector<RankId>> ScheduleBuilder::by_kind(const std::vector<RankId>& ranks) const {
  std::map<std::uint32_t, std::vector<RankId>> kinds;
  for (const RankId rank : ranks) {
    kinds[gpus_[schedule_.ranks[rank.value].gpu.value].kind].push_back(rank);
  }
  std::vector<std::vector<RankId>> out;
  for (auto& [kind, members] : kinds) {
    std::sort(members.begin(), members.end());
    out.push_back(std::move(members));
  }
  return out;
}

void ScheduleBuilder::sum(Work work, std::uint32_t layer, const std::vector<RankId>& ranks) {
  const Op op{work, Pass::backward, 0, narrow(layer), 0, 0};
  const auto kinds = by_kind(ranks);
  if (kinds.size() < 2) {
    if (ranks.size() > 1) exchange(group(ranks), op);
    return;
  }
  Op phase = op;
  for (const auto& kind : kinds) {
    if (kind.size() > 1) exchange(group(kind), phase);
  }
  phase.chunk = 1;
  std::vector<RankId> leaders;
  for (const auto& kind : kinds) leaders.push_back(kind.front());
  exchange(group(leaders), phase);
  phase.chunk = 2;
  for (const auto& kind : kinds) {
    if (kind.size() > 1) exchange(group(kind), phase);
  }
}

void ScheduleBuilder::finish_step(const std::vector<std::vector<RankId>>& holders, bool shards) {
  std::vector<RankId> all;
  for (std::uint32_t r = 0; r < schedule_.ranks.size(); ++r) all.push_back({r});
  for (std::uint32_t l = schedule_.layers; l-- > 0;) {
    sum(Work::reduce_shared, l, holders[l]);
    std::set<RankId> expert_holders;
    for (const Replica& replica : schedule_.replicas) {
      expert_holders.insert(replica.expert_on[l].begin(), replica.expert_on[l].end());
    }
    if (schedule_.replicas.size() > 1 && !expert_holders.empty()) {
      exchange(group({expert_holders.begin(), expert_holders.end()}),
               {Work::reduce_experts, Pass::backward, 0, narrow(l), 0, 0});
    }
  }
  // Eight bytes: one ring over all kinds beats three exchanges after another.
  exchange(group(all), {Work::reduce_norm, Pass::backward, 0, 0, 0, 0});
  for (const RankId rank : all) compute(rank, {Work::step, Pass::backward, 0, 0, 0, 0});
  if (!scenario_.training.optimizer_sharding.value_or(shards)) return;
  for (std::uint32_t l = 0; l < schedule_.layers; ++l) {
    for (const auto& kind : by_kind(holders[l])) {
      if (kind.size() > 1) {
        exchange(group(kind), {Work::gather, Pass::backward, 0, narrow(l), 0, 0});
      }
    }
  }
}

Schedule ScheduleBuilder::finish() {
  share_programs(schedule_, std::move(programs_));
  return std::move(schedule_);
}

void share_programs(Schedule& schedule, std::vector<Program> programs) {
  std::map<Program, std::uint32_t> shared;
  schedule.programs.clear();
  for (std::size_t r = 0; r < programs.size(); ++r) {
    const auto [at, is_new] = shared.try_emplace(
        std::move(programs[r]), static_cast<std::uint32_t>(schedule.programs.size()));
    if (is_new) schedule.programs.push_back(at->first);
    schedule.ranks[r].program = narrow(at->second);
  }
}

}  // namespace zebroid
