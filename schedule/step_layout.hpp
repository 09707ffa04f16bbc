#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "schedule/schedule.hpp"

namespace zebroid {

/// The phase (chunk) of a sum over several GPU kinds that is no ring but a chain: from the kinds'
/// first ranks, which have the sum by then, to the others.
inline constexpr std::uint16_t leader_to_members = 2;

/// Sequences or tokens [begin, end).
struct Interval {
  std::uint64_t begin = 0;
  std::uint64_t end = 0;

  std::uint64_t size() const { return end - begin; }
  friend bool operator==(const Interval&, const Interval&) = default;
};

/// What both have; an empty interval where that is nothing.
Interval common(Interval a, Interval b);

/// Chunk `chunk` of `chunks` of a rank's tokens: contiguous, as equal as whole tokens allow.
constexpr Interval chunk_cut(std::uint64_t tokens, std::uint32_t chunk, std::uint32_t chunks) {
  if (chunks == 1) return {0, tokens};
  const std::uint64_t each = tokens / chunks;  // two parts, so that no product overflows
  const std::uint64_t rest = tokens % chunks;
  const auto begin = [&](std::uint64_t c) { return each * c + rest * c / chunks; };
  return {begin(chunk), begin(chunk + std::uint64_t{1})};
}

/// A group that shares a layer's optimizer states.
struct Shards {
  GroupId group;
  bool experts = false;      ///< its members hold the same experts, which are shared too
  bool all_shared = false;   ///< nobody else holds the layer's shared parameters
  bool all_experts = false;  ///< nobody else holds the layer's experts

  friend bool operator==(const Shards&, const Shards&) = default;
};

/// Who holds and computes what in one schedule, whatever the model: one table for predictions and
/// for those who run it. The schedule (free of faults) outlives it.
class StepLayout {
 public:
  explicit StepLayout(const Schedule& schedule);

  /// The ranks of a replica that run a layer's attention, ascending.
  const std::vector<RankId>& attention_on(std::uint32_t replica, std::uint32_t layer) const {
    return attention_on_[replica][layer];
  }
  /// The experts that a rank holds of a layer, ascending.
  std::span<const std::uint32_t> experts_of(RankId rank, std::uint32_t layer) const;
  /// What of the replica's sequences of a microbatch a rank with the layer's attention works on:
  /// they are laid out in the order of these ranks. Empty for any other rank.
  Interval sequences_of(RankId rank, std::uint32_t layer, std::uint32_t microbatch) const;

  /// The gathers that a rank lists.
  const std::vector<Op>& gathers_of(RankId rank) const {
    return gathers_[schedule_.ranks[rank.value].program];
  }
  /// Those of a layer, in the order of the ranks that list their gathers.
  const std::vector<Shards>& shards_of(std::uint32_t layer) const { return shards_[layer]; }
  /// nullptr where the group does not gather the layer.
  const Shards* find_shards(GroupId group, std::uint32_t layer) const;
  /// A gather, and a sum of which each member only needs its own part.
  bool goes_half_round(GroupId group, const Op& op) const;

 private:
  void find_attention();
  void find_experts();
  void find_gathers();
  Shards make_shards(GroupId group, std::uint32_t layer) const;

  const Schedule& schedule_;
  std::vector<std::vector<std::vector<RankId>>> attention_on_;  // [replicas][layers]
  std::vector<std::uint32_t> first_expert_;                     // [ranks * layers + 1] in experts_
  std::vector<std::uint32_t> experts_;
  std::vector<std::vector<Op>> gathers_;     // [programs]
  std::vector<std::vector<Shards>> shards_;  // [layers]
};

}  // namespace zebroid
