#pragma once

#include <map>
#include <vector>

#include "models/scenario.hpp"
#include "schedule/schedule.hpp"

namespace zebroid {

/// Puts a schedule together op by op. Every exchange is appended to all members at once, so that
/// all ranks list them in one common order. The scenario outlives it.
class ScheduleBuilder {
 public:
  ScheduleBuilder(const Scenario& scenario, std::uint32_t microbatches, std::uint32_t chunks);

  RankId add_rank(GpuId gpu, std::uint32_t replica, std::uint32_t sequences);
  /// The group of these ranks, in ascending order; the same ranks give the same group.
  GroupId group(std::vector<RankId> ranks);
  void place(std::uint32_t replica, std::uint32_t layer, std::vector<RankId> expert_on);

  /// Op's slot is filled in for exchanges.
  void compute(RankId rank, const Op& op);
  void exchange(GroupId group, Op op);
  /// A sum over ranks: one ring when they are of one GPU kind, else the three phases of
  /// docs/architecture.md.
  void sum(Work work, std::uint32_t layer, const std::vector<RankId>& ranks);
  /// What every strategy ends with: gradient sums of all layers, norm, step, and gathers with a
  /// sharded optimizer, which is as `shards` says where the scenario leaves it open. holders[l]:
  /// the ranks with layer l's shared parameters.
  void finish_step(const std::vector<std::vector<RankId>>& holders, bool shards = false);

  /// Ranks with equal op lists share a program. Leaves the builder empty.
  Schedule finish();

 private:
  std::vector<std::vector<RankId>> by_kind(const std::vector<RankId>& ranks) const;

  const Scenario& scenario_;
  std::vector<Gpu> gpus_;
  Schedule schedule_;
  std::vector<Program> programs_;  // [ranks]
  std::map<std::vector<RankId>, GroupId> groups_;
};

/// Gives every rank its program; ranks with equal ones share. programs: [ranks].
void share_programs(Schedule& schedule, std::vector<Program> programs);

}  // namespace zebroid
