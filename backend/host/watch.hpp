#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "backend/host/communicator.hpp"
#include "backend/host/thread_queues.hpp"
#include "backend/host/trouble.hpp"

namespace zebroid {

/// Looks now and then at where all streams of a run are, and reports the op and rank to blame when
/// something is lost, dead, or past its deadline.
class Watch {
 public:
  using Clock = std::chrono::steady_clock;
  struct Rules {
    std::chrono::duration<double> least{5};  ///< no op has to end sooner
    /// [ranks][ops] that each op may take once it runs, an exchange until it comes and while it
    /// moves bytes; 0 or empty: the least.
    std::vector<std::vector<double>> deadline_s;
  };

  /// All outlive this.
  Watch(const Schedule& schedule, const Exchanges& exchanges,
        const std::vector<std::unique_ptr<ThreadQueues>>& queues, const Communicator& communicator,
        Rules rules);

  /// Before an iteration.
  void begin();
  /// Tells trouble what it finds. Returns how many ops of the iteration have ended.
  std::size_t look(Trouble& trouble);

 private:
  using State = ThreadQueues::State;

  double deadline_s(RankId rank, std::uint32_t op) const;
  std::vector<RankId> missing(RankId rank, std::uint32_t op) const;
  bool has_come(RankId rank, std::uint32_t op) const;
  bool is_late(RankId rank, const State& state) const;
  double seconds_since(Clock::time_point start) const;
  bool is_suspicious(RankId rank, const ThreadQueues::Snapshot& counts) const;
  bool judge(RankId rank, const ThreadQueues::Snapshot& snapshot, Trouble& trouble) const;
  void judge_standstill(Trouble& trouble) const;
  std::string waits(const std::vector<ThreadQueues::Snapshot>& all) const;
  std::string describe(RankId rank, const State& state) const;

  const Schedule& schedule_;
  const Exchanges& exchanges_;
  const std::vector<std::unique_ptr<ThreadQueues>>& queues_;
  const Communicator& communicator_;
  Rules rules_;
  std::vector<std::vector<std::uint32_t>> place_;  // [programs][ops] on its stream
  std::uint64_t iteration_ = 0;                    // counted from 1
  std::uint64_t moved_ = 0;     // events that had happened and bytes, at the last look
  Clock::time_point progress_;  // when there were fewer
  Clock::time_point last_look_;
  Clock::time_point resumed_;  // the process: before that, nobody's time counts
};

}  // namespace zebroid
