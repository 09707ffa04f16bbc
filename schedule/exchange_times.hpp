#pragma once

#include <optional>
#include <vector>

#include "models/collective_times.hpp"
#include "models/scenario.hpp"
#include "schedule/load.hpp"

namespace zebroid {

/// One run of nccl-tests that would say how long an exchange takes.
struct CollectiveRun {
  MeasuredOp op = MeasuredOp::all_to_all;
  double bytes = 0;  ///< as nccl-tests prints it
  GroupShape group;
};
/// Of an exchange over `group` that sends these messages as `collective`; of the largest message of
/// send_recv. Nothing without messages, or where nodes have unequally many members.
std::optional<CollectiveRun> collective_run(const Schedule& schedule, const Cluster& cluster,
                                            GroupId group, MeasuredOp collective,
                                            const Messages& messages);

/// What measured collectives say about the exchanges of one schedule.
class ExchangeTimes {
 public:
  /// Between launch and first byte, so that an exchange that shares no port takes the measured
  /// time.
  struct Answer {
    Seconds latency;
    std::optional<Evidence> evidence;  ///< nothing: the fullest port alone takes longer
  };

  /// They outlive it.
  ExchangeTimes(const Schedule& schedule, const Scenario& scenario, const Network& network);

  /// No collective was measured on these GPUs: of() has no answers.
  bool empty() const { return groups_.empty(); }

  /// Of an exchange over `group` that sends these messages, as `collective`: send_recv is one for
  /// each message, the others are one over all members. Nothing where that was not measured on
  /// these kinds of GPUs and groups of this shape. Exact where the fullest port carries bytes to
  /// the end, as in balanced exchanges.
  std::optional<Answer> of(GroupId group, MeasuredOp collective, const Messages& messages) const;

 private:
  struct Group {
    GroupCalibration known;
    std::optional<GroupShape> shape;  // nothing: its nodes have unequally many members
  };

  const Group& pair(RankId a, RankId b) const;
  std::optional<Answer> of_group(GroupId group, MeasuredOp collective,
                                 const Messages& messages) const;
  std::optional<Answer> of_pairs(GroupId group, const Messages& messages) const;
  Seconds on_fullest_port(GroupId group, const Messages& messages) const;
  std::optional<Answer> answer(const Group& group, MeasuredOp collective, double size,
                               Seconds on_ports) const;

  const Schedule& schedule_;
  const Network& network_;
  std::vector<Gpu> gpus_;
  std::size_t kinds_ = 0;
  std::vector<Group> groups_;  // as the schedule's
  std::vector<Group> pairs_;   // [(kind * kinds + kind) * 2 + of one node]
};

}  // namespace zebroid
