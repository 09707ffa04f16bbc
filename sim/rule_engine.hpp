#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "core/hash.hpp"
#include "schedule/load.hpp"
#include "schedule/schedule.hpp"
#include "schedule/timeline.hpp"
#include "sim/fold.hpp"
#include "sim/simulate.hpp"
#include "sim/work_conserving.hpp"

namespace zebroid {

/// What every engine obeys: which op starts when (docs/architecture.md, "What a schedule means",
/// rules 1, 2, 5 and 6). A derived engine knows the time and how long ops take: it starts what it
/// is told to start and says when that has ended. It runs classes of ranks (sim/fold.hpp), each as
/// if it were one rank. Nothing is allocated after the constructor.
class RuleEngine {
 public:
  RuleEngine(const RuleEngine&) = delete;
  RuleEngine& operator=(const RuleEngine&) = delete;

 protected:
  /// What exchanges that are alike move between classes.
  struct Traffic {
    std::uint32_t group = 0;  ///< class
    Op op;                    ///< the first of them
    Seconds latency;
    bool is_empty = true;
    bool is_uneven = false;            ///< one that the fold left out
    std::vector<char> takes_part;      ///< [members]
    std::vector<Bytes> sent;           ///< [members] by one rank of the class
    std::vector<Bytes> sent_by_rank;   ///< [ranks] where it is uneven
    std::vector<std::uint32_t> wires;  ///< one for each group of the class, the first one's first
  };
  /// One exchange of each group of a class; its members are classes of ranks.
  struct Exchange {
    std::uint32_t traffic = none;
    std::uint32_t group = 0;    ///< class
    std::uint32_t members = 0;  ///< how many
    Stream stream = Stream::sync;
    bool ends_together = false;
  };
  static constexpr std::uint32_t none = UINT32_MAX;

  /// Schedule and load outlive the engine; the schedule has no faults.
  RuleEngine(const Schedule& schedule, const Load& load, const SimulateOptions& options,
             const Wires& wires, Fold fold);
  virtual ~RuleEngine() = default;

  /// Begins `work` > 0, in seconds at full rate, on a class that now runs at `rate`.
  virtual void start_compute(std::uint32_t rank_class, double work, double rate) = 0;
  /// The rate of a class whose op may be under way changed.
  virtual void change_rate(std::uint32_t rank_class, double rate) = 0;
  /// All members of an exchange have launched it: after its latency its messages, at least one,
  /// move. Those who send and receive nothing have ended already, unless it ends together.
  virtual void start_transfer(std::uint32_t exchange) = 0;

  /// Back to the start of the iteration.
  void reset();
  /// Starts all ops that may start at `now`.
  void start_what_can(double now);
  /// The running compute op of a class has ended.
  void end_compute(std::uint32_t rank_class, double now);
  /// A member's part in an exchange has ended.
  void end_member(std::uint32_t exchange, std::uint32_t member, double now);
  /// Throws Error(internal) naming an op that never ran, once nothing moves any more.
  void expect_all_ended() const;
  double makespan() const { return now_; }
  /// Each rank's times; needs options.timeline.
  Timeline timeline(std::string origin) const;

  const Exchange& exchange(std::uint32_t x) const { return exchanges_[x]; }
  const std::vector<Traffic>& traffics() const { return traffics_; }
  const Traffic& traffic_of(std::uint32_t x) const { return traffics_[exchanges_[x].traffic]; }
  std::size_t exchange_count() const { return exchanges_.size(); }
  /// The classes that take part in an exchange over a group of this class.
  const std::vector<std::uint32_t>& members(std::uint32_t group_class) const {
    return members_[group_class];
  }
  std::uint32_t class_count() const { return static_cast<std::uint32_t>(states_.size()); }
  const Fold& folded() const { return fold_; }
  const Schedule& schedule() const { return schedule_; }
  const Load& load() const { return load_; }

 private:
  /// One op as the only one of its stream that may be next.
  struct Step {
    std::array<std::int32_t, stream_count> needs{};  ///< ops of each stream that must have ended
    std::uint32_t op = 0;
    std::uint32_t place = none;  ///< among the program's exchanges
    std::uint8_t readers = 0;    ///< streams with ops that read this one
  };
  /// What a program fixes for every rank that runs it.
  struct ProgramPlan {
    std::vector<Step> steps;                              ///< stream by stream, in order
    std::array<std::uint32_t, stream_count + 1> first{};  ///< step of each stream
    std::vector<std::uint8_t> exchange_streams;           ///< [exchanges], in order of launch
    std::vector<std::uint32_t> exchange_ops;              ///< [exchanges]
    std::vector<WorkConserving> out_of_order;             ///< one; none when compute is in order
  };
  struct State {
    const ProgramPlan* plan = nullptr;
    const std::uint32_t* exchanges = nullptr;  ///< [exchanges of the program]
    const double* seconds = nullptr;           ///< [ops]
    std::array<std::int32_t, stream_count> ended{};
    std::uint8_t busy = 0;   ///< streams
    std::uint8_t dirty = 0;  ///< streams whose next op may have become ready
    bool is_queued = false;
    std::uint32_t launched = 0;
    std::uint32_t in_flight = 0;
  };

  static ProgramPlan plan_of(const Schedule& schedule, const Program& program,
                             bool compute_in_order);
  void find_members();
  void find_traffics(const Wires& wires);
  void fill(Traffic& traffic, const Wire& wire) const;
  void find_exchanges();
  std::vector<std::uint32_t> exchanges_of(const Rank& rank, KeyIndex& numbers,
                                          const KeyIndex& traffic_numbers);
  struct Costs {
    std::vector<double> seconds;  ///< [ops]
    std::vector<double> rows;     ///< [ops]
  };
  const Costs& costs_of(RankId rank);
  double rate(std::uint32_t c) const { return states_[c].in_flight > 0 ? 1 - sm_shares_[c] : 1; }
  void mark(std::uint32_t c, std::uint8_t streams);
  void try_start(std::uint32_t c, std::size_t stream);
  void try_start_out_of_order(std::uint32_t c, std::size_t stream);
  void end_step_out_of_order(std::uint32_t c, std::size_t stream, double now);
  bool may_launch(const State& state, const Step& step) const {
    return !options_.launch_rule || state.launched == step.place;
  }
  void begin_compute(std::uint32_t c, std::uint32_t op);
  void launch(std::uint32_t c, const Step& step);
  void begin_transfer(std::uint32_t exchange);
  void end_step(std::uint32_t c, std::size_t stream, double now);
  void count_in_flight(std::uint32_t c, std::int32_t more);

  const Schedule& schedule_;
  const Load& load_;
  SimulateOptions options_;
  Fold fold_;
  std::vector<ProgramPlan> plans_;
  std::vector<State> states_;                 // [classes]
  std::vector<double> sm_shares_;             // [classes]
  std::vector<WorkConserving> out_of_order_;  // [classes]; empty when compute is in order
  std::vector<Traffic> traffics_;
  std::vector<Exchange> exchanges_;
  std::vector<std::uint32_t> launched_;              // [exchanges] members that have
  std::vector<std::vector<std::uint32_t>> members_;  // [group classes]
  std::map<std::pair<std::uint16_t, std::vector<std::uint32_t>>, std::vector<std::uint32_t>>
      exchange_lists_;  // by program and group classes
  std::map<std::pair<std::uint16_t, std::uint32_t>, Costs>
      costs_;                                // by program and the first rank that is alike
  std::vector<std::vector<OpTimes>> times_;  // [classes]; empty without a timeline
  std::vector<std::uint32_t> queue_;         // classes with dirty streams, a ring
  std::size_t queue_begin_ = 0;
  std::size_t queue_size_ = 0;
  double now_ = 0;
};

}  // namespace zebroid
