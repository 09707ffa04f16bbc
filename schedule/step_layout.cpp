#include "schedule/step_layout.hpp"

#include <algorithm>
#include <iterator>

#include "schedule/verify.hpp"

namespace zebroid {

Interval common(Interval a, Interval b) {
  const std::uint64_t begin = std::max(a.begin, b.begin);
  return {begin, std::max(begin, std::min(a.end, b.end))};
}

StepLayout::StepLayout(const Schedule& schedule)
    : schedule_(schedule),
      attention_on_(schedule.replicas.size(), std::vector<std::vector<RankId>>(schedule.layers)),
      shards_(schedule.layers) {
  find_attention();
  find_experts();
  find_gathers();
}

void StepLayout::find_attention() {
  std::vector<std::vector<char>> runs(schedule_.programs.size(),
                                      std::vector<char>(schedule_.layers, 0));
  for (std::size_t p = 0; p < schedule_.programs.size(); ++p) {
    for (const Op& op : schedule_.programs[p]) {
      if (op.work == Work::attention) runs[p][op.layer] = 1;
    }
  }
  for (std::uint32_t r = 0; r < schedule_.ranks.size(); ++r) {
    const Rank& rank = schedule_.ranks[r];
    for (std::uint32_t l = 0; l < schedule_.layers; ++l) {
      if (runs[rank.program][l] != 0) attention_on_[rank.replica][l].push_back({r});
    }
  }
}

void StepLayout::find_experts() {
  const std::size_t layers = schedule_.layers;
  first_expert_.assign(schedule_.ranks.size() * layers + 1, 0);
  const auto for_each = [&](const auto& visit) {
    for (const Replica& replica : schedule_.replicas) {
      for (std::size_t l = 0; l < layers; ++l) {
        const auto& holders = replica.expert_on[l];
        for (std::uint32_t e = 0; e < holders.size(); ++e) visit(holders[e].value * layers + l, e);
      }
    }
  };
  for_each([&](std::size_t held, std::uint32_t /*expert*/) { ++first_expert_[held + 1]; });
  for (std::size_t i = 1; i < first_expert_.size(); ++i) first_expert_[i] += first_expert_[i - 1];
  experts_.resize(first_expert_.back());
  std::vector<std::uint32_t> next(first_expert_.begin(), first_expert_.end() - 1);
  for_each([&](std::size_t held, std::uint32_t expert) { experts_[next[held]++] = expert; });
}

std::span<const std::uint32_t> StepLayout::experts_of(RankId rank, std::uint32_t layer) const {
  const std::size_t held = std::size_t{rank.value} * schedule_.layers + layer;
  return std::span(experts_).subspan(first_expert_[held],
                                     first_expert_[held + 1] - first_expert_[held]);
}

Interval StepLayout::sequences_of(RankId rank, std::uint32_t layer,
                                  std::uint32_t microbatch) const {
  std::uint64_t begin = 0;
  for (const RankId other : attention_on(schedule_.ranks[rank.value].replica, layer)) {
    const std::uint64_t own =
        sequences_in(schedule_.ranks[other.value].sequences, microbatch, schedule_.microbatches);
    if (other == rank) return {begin, begin + own};
    begin += own;
  }
  return {};
}

void StepLayout::find_gathers() {
  for (const Program& program : schedule_.programs) {
    auto& ops = gathers_.emplace_back();
    std::copy_if(program.begin(), program.end(), std::back_inserter(ops),
                 [](const Op& op) { return op.work == Work::gather; });
  }
  for (std::uint32_t r = 0; r < schedule_.ranks.size(); ++r) {
    for (const Op& op : gathers_of({r})) {
      const GroupId group = schedule_.group_of({r}, op);
      if (find_shards(group, op.layer) == nullptr) {
        shards_[op.layer].push_back(make_shards(group, op.layer));
      }
    }
  }
}

Shards StepLayout::make_shards(GroupId group, std::uint32_t layer) const {
  const auto& members = schedule_.groups[group.value];
  std::size_t holders = 0;
  for (const auto& replica : attention_on_) holders += replica[layer].size();
  Shards out{group};
  out.all_shared = holders == members.size();
  const auto first = experts_of(members.front(), layer);
  out.experts = std::all_of(members.begin(), members.end(), [&](RankId member) {
    const auto own = experts_of(member, layer);
    return std::equal(first.begin(), first.end(), own.begin(), own.end());
  });
  out.all_experts = out.experts && first.size() == schedule_.experts &&
                    members.size() == schedule_.replicas.size();
  return out;
}

const Shards* StepLayout::find_shards(GroupId group, std::uint32_t layer) const {
  const auto& all = shards_[layer];
  const auto found = std::find_if(all.begin(), all.end(),
                                  [&](const Shards& shards) { return shards.group == group; });
  return found == all.end() ? nullptr : &*found;
}

bool StepLayout::goes_half_round(GroupId group, const Op& op) const {
  if (op.work == Work::gather) return true;
  if (op.work == Work::reduce_norm) return false;
  const Shards* shards = find_shards(group, op.layer);
  if (shards == nullptr) return false;
  return op.work == Work::reduce_experts ? shards->all_experts : shards->all_shared;
}

}  // namespace zebroid
