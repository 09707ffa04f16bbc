#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "schedule/load.hpp"
#include "schedule/schedule.hpp"

namespace zebroid {

/// What the exchanges over one group that are alike (Load::like) move.
struct Wire {
  GroupId group;
  Op op;  ///< the first of them, with slot 0
  Seconds latency;
  Messages messages;
};

/// All wires of a schedule, group by group. Throws Error(internal) for a message or latency that is
/// not finite or below 0. `poll` is called now and then.
class Wires {
 public:
  Wires(const Schedule& schedule, const Load& load, const std::function<void()>& poll);

  std::span<const Wire> of(GroupId group) const {
    return std::span(all_).subspan(first_[group.value],
                                   first_[group.value + 1] - first_[group.value]);
  }
  std::vector<Wire>& all() { return all_; }
  const std::vector<Wire>& all() const { return all_; }

 private:
  std::vector<Wire> all_;
  std::vector<std::uint32_t> first_;  // [groups + 1]
};

/// Ranks, groups and ports that are alike, taken together. Ranks of a class run one program with
/// equal times, and send to and receive from equally many ranks of each class equal bytes over
/// equal ports; each port of a class carries equally many of these flows. Then all of a class do
/// the same at the same time, so that one of each stands for all, exactly.
struct Fold {
  std::vector<std::uint32_t> rank_class;   ///< [ranks]
  std::vector<RankId> first_rank;          ///< [rank classes]
  std::vector<std::uint32_t> group_class;  ///< [groups]
  std::vector<GroupId> first_group;        ///< [group classes]
  std::vector<std::uint32_t> port_class;   ///< [ports]
  std::vector<PortId> first_port;          ///< [port classes]
  /// Wires left out of this: their messages tell ranks of one class apart, but they end on all
  /// members together. The fold holds as long as they share no port with others.
  std::vector<std::uint32_t> uneven;
};

/// Which wires a fold may leave out: none, or those of reduce_norm. Its last phase, a chain, tells
/// all ranks of a kind apart, but comes when nothing else moves.
enum class Strictness { all_wires, without_norm };

/// The coarsest such fold that a few rounds of colour refinement find. O(messages) a round.
Fold fold(const Schedule& schedule, const Load& load, const Wires& wires, Strictness strictness);
/// Every rank, group and port for itself.
Fold unfolded(const Schedule& schedule, const Network& network);

/// Classes of what one wire's messages tell apart, from ranks that are all alike: enough to know
/// when they end if nothing else moves.
Fold fold_wire(const Schedule& schedule, const Network& network, const Wire& wire);

}  // namespace zebroid
