#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "planner/planner.hpp"

namespace zebroid {

/// One schedule on trial.
struct Candidate {
  std::uint32_t order = 0;  ///< among all; of equally good ones the first is best
  Schedule schedule;        ///< listed by transfer starts
  std::vector<MemoryUse> memory;
  Seconds makespan;
  Bytes excess;  ///< of the rank that lacks most; <= 0 when all fit

  bool fits() const { return excess.value <= 0; }
  bool better_than(const Candidate& other) const {
    if (fits() != other.fits()) return fits();
    return std::pair(makespan, order) < std::pair(other.makespan, other.order);
  }
};

Bytes capacity_of(const Scenario& scenario, const std::vector<Gpu>& gpus, const Rank& rank);

/// "1 group", "3 groups".
std::string count_of(std::size_t n, std::string_view noun, std::string_view plural = "s");

/// Why the rank that lacks most memory does not fit; "" when all do.
std::string lack_of_memory(const Schedule& schedule, const std::vector<MemoryUse>& memory,
                           const Scenario& scenario);

/// Runs candidates, judges them by memory and time, and keeps the best.
class Trials {
 public:
  Trials(const Scenario& scenario, const PlanRequest& request, const Scorer& score)
      : scenario_(scenario),
        score_(score),
        gpus_(gpus_of(scenario.cluster)),
        first_fit_(request.first_fit) {}

  /// Whether a schedule is small enough to be made. One rank lists, for each layer and microbatch,
  /// attention in three passes, and for each chunk dispatch, experts and combine in three; gradient
  /// sums look at all pairs of GPUs.
  bool admits(std::uint32_t microbatches, std::uint32_t chunks);

  /// Whether a candidate that takes at least so long is wanted: it can still be best. may_fit: as
  /// parameters_fit() says.
  bool may_win(Seconds at_least, bool may_fit = true) const;

  /// Nothing for a candidate that is slower than the best one that fits.
  std::optional<Candidate> evaluate_to_win(std::uint32_t order, const Schedule& schedule);
  Candidate evaluate(std::uint32_t order, const Schedule& schedule) {
    return judged(order, schedule, simulate(schedule));
  }

  /// Of compute ops: the schedule's own, or that of a run in which no GPU idles while it could run
  /// one.
  enum class Order : std::uint8_t { as_listed, conserving };
  /// How good a candidate turned out.
  struct Judgement {
    Seconds makespan;
    Bytes excess{std::numeric_limits<double>::infinity()};  ///< where it is too slow to matter

    friend bool operator<(const Judgement& a, const Judgement& b) {
      return std::tuple(a.excess.value > 0, a.makespan, a.excess) <
             std::tuple(b.excess.value > 0, b.makespan, b.excess);
    }
  };
  /// Offers a schedule in one of these orders, unless it is too slow; number: as Candidate::order.
  Judgement offer_in(Order order, std::uint32_t number, const Schedule& schedule);
  /// Ops of all ranks, simulated so far.
  std::size_t ops_simulated() const { return ops_simulated_; }

  void offer(std::optional<Candidate> candidate);
  bool has_fitting() const { return best_.has_value() && best_->fits(); }

  /// Whether parameters and their states alone leave room on every rank: when not, no number of
  /// microbatches or chunks helps. Nothing is simulated.
  bool parameters_fit(const Schedule& schedule);
  /// How many times more is in activations and buffers than the fullest rank has room for; infinity
  /// when it has none.
  double times_too_large(const Candidate& candidate) const;
  /// A schedule that is known not to fit says why none does. Nothing is simulated.
  void refuse(const Schedule& schedule);

  /// Goes with the plan.
  void add_note(std::string note) { notes_.push_back(std::move(note)); }

  /// The best one as a plan. When there is none throws Error(input), or Error(infeasible) saying
  /// which rank lacks how many bytes where parameters do not fit.
  Plan finish();

 private:
  Timeline simulate(const Schedule& schedule, bool compute_in_order = true);
  Candidate judged(std::uint32_t order, const Schedule& schedule, const Timeline& free_run) const;

  const Scenario& scenario_;
  const Scorer& score_;
  std::vector<Gpu> gpus_;
  bool first_fit_;
  std::optional<Candidate> best_;
  std::string refused_;  ///< why the first candidate that was too large is
  std::string unfit_;    ///< why parameters did not fit, where they did not
  std::uint32_t simulated_ = 0;
  std::vector<std::string> notes_;
  std::size_t ops_simulated_ = 0;
};

/// A candidate before its schedule is made.
struct Bounded {
  Seconds at_least;
  std::uint32_t order = 0;
  std::uint32_t count = 0;  ///< of what is tried: microbatches or chunks
};

/// Those that promise most come first, so that their times rule out the others.
void best_bound_first(std::vector<Bounded>& candidates);

}  // namespace zebroid
