#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "schedule/exchanges.hpp"
#include "schedule/load.hpp"
#include "schedule/schedule.hpp"
#include "schedule/timeline.hpp"
#include "sim/simulate.hpp"

namespace zebroid {

/// What every engine obeys: which op starts when (docs/architecture.md, "What a schedule means",
/// rules 1, 2, 5 and 6). A derived engine knows the time and how long ops take: it starts what it
/// is told to start and calls end_op when that has ended.
class RuleEngine {
 public:
  RuleEngine(const RuleEngine&) = delete;
  RuleEngine& operator=(const RuleEngine&) = delete;

 protected:
  /// Bytes, more than 0, from one member of an exchange to another.
  struct Message {
    std::uint32_t from = 0;
    std::uint32_t to = 0;
    Bytes bytes;
  };

  /// Everything outlives the engine; the schedule has no faults.
  RuleEngine(const Schedule& schedule, const Load& load, const SimulateOptions& options);
  virtual ~RuleEngine() = default;

  /// Begins `work` > 0, in seconds at full rate, on a rank that now runs at `rate`.
  virtual void start_compute(std::uint32_t rank, Seconds work, double rate) = 0;
  /// The rate of a rank whose op may be under way changed.
  virtual void change_rate(std::uint32_t rank, double rate) = 0;
  /// All members of an exchange have launched it: after its latency its messages, at least one,
  /// move.
  virtual void start_transfer(std::uint32_t exchange, Seconds latency,
                              std::vector<Message> messages) = 0;

  /// Starts all ops that may start at `now`, in a fixed order.
  void start_what_can(double now);
  /// The running compute op of a rank has ended.
  void end_compute(std::uint32_t rank, double now);
  /// A part of an exchange's transfer that these members wait for begins; all parts of a transfer
  /// begin before one ends.
  void begin_part(std::uint32_t exchange, std::span<const std::uint32_t> members);
  /// It has ended, and with their last part the members' ops; those of sums and gathers with the
  /// last part of all.
  void end_part(std::uint32_t exchange, std::span<const std::uint32_t> members, double now);
  /// The timeline, once nothing moves any more. Throws Error(internal) naming an op that never ran.
  Timeline finish(std::string origin);

  const Exchange& exchange(std::uint32_t x) const { return exchanges_.all[x]; }
  std::uint32_t rank_count() const { return static_cast<std::uint32_t>(ranks_.size()); }
  double sm_share(std::uint32_t rank) const { return ranks_[rank].sm_share; }
  GpuId gpu_of(RankId rank) const { return schedule_.ranks[rank.value].gpu; }
  const Load& load() const { return load_; }

 private:
  /// What a program fixes for every rank that runs it.
  struct ProgramPlan {
    std::array<std::vector<std::uint32_t>, stream_count> stream;  ///< ops in order
    std::vector<std::uint32_t> exchanges;                         ///< in order
    std::vector<std::uint32_t> reads;                             ///< [ops] how many ops it reads
    std::vector<std::uint32_t> first_reader;                      ///< [ops + 1] into readers
    std::vector<std::uint32_t> readers;
  };

  struct RankState {
    const Program* program = nullptr;
    const ProgramPlan* plan = nullptr;
    std::vector<std::uint32_t> waits;  ///< [ops] reads that have not ended
    std::array<std::uint32_t, stream_count> cursor{};
    std::array<bool, stream_count> busy{};
    std::uint32_t running = 0;  ///< the compute op under way, if any
    std::uint32_t exchanges_launched = 0;
    std::uint32_t exchanges_in_flight = 0;
    double sm_share = 0;

    double rate() const { return exchanges_in_flight > 0 ? 1 - sm_share : 1; }
  };

  /// Parts of an exchange that have not ended.
  struct Parts {
    std::uint32_t all = 0;
    std::vector<std::uint32_t> of;  ///< [members]
  };

  struct Try {
    std::uint32_t rank;
    std::size_t stream;
  };

  static ProgramPlan plan_of(const Schedule& schedule, const Program& program);
  std::vector<Message> messages_of(const Exchange& exchange) const;
  OpTimes& times(std::uint32_t rank, std::uint32_t op) { return timeline_.ranks[rank][op]; }
  void try_start(std::uint32_t rank, std::size_t stream);
  void begin_compute(std::uint32_t rank, std::uint32_t op);
  void launch(std::uint32_t rank, std::uint32_t op);
  void begin_transfer(std::uint32_t exchange);
  void end_op(std::uint32_t rank, std::uint32_t op, double now);
  void follow_rate(std::uint32_t rank, double before);

  const Schedule& schedule_;
  const Load& load_;
  const SimulateOptions& options_;
  std::vector<ProgramPlan> plans_;
  Exchanges exchanges_;
  std::vector<RankState> ranks_;
  std::vector<std::uint32_t> launched_;  // [exchanges] members that have
  std::vector<Parts> parts_;             // [exchanges]
  std::vector<Try> to_try_;
  std::size_t next_to_try_ = 0;
  double now_ = 0;
  std::size_t ended_ = 0;
  std::size_t ops_ = 0;
  Timeline timeline_;
};

}  // namespace zebroid
