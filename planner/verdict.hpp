#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "planner/robustness.hpp"
#include "planner/ways.hpp"

namespace zebroid {

/// Of what a number is over draws.
struct Spread {
  double p5 = 0;
  double p50 = 0;
  double p95 = 0;
};
/// By linear interpolation between the sorted values, of which there is at least one.
Spread spread_of(std::vector<double> values);

/// The best way against another one.
struct Comparison {
  std::size_t way = 0;  ///< which of the ranked ways
  double speedup = 1;   ///< of the best over it
  /// Whether it was simulated again. A rival is not that lags so far behind that no class of costs
  /// can turn it. The rest is of reruns.
  bool was_rerun = false;
  double least = 1;  ///< over all assumptions, each moved by its error
  double most = 1;
  std::vector<Assumption> turned_by;  ///< those under which it is no slower than the best
  Spread under_skew;                  ///< the speedup over draws of routing

  bool is_turned_by_skew() const { return was_rerun && under_skew.p50 < 1; }
  /// Turned by an error or by skew, or a lead of less than predictions resolve at all.
  bool is_tie() const {
    constexpr double resolved = 1.02;
    return !turned_by.empty() || is_turned_by_skew() || speedup < resolved;
  }
};

/// What the ranking of ways is worth.
struct Verdict {
  Spread best_under_skew;  ///< tokens per second of the best way over draws of routing
  /// With the best of each strategy on all GPUs, each choice of kinds, and one job for each kind;
  /// those that fit.
  std::vector<Comparison> rivals;
  std::size_t reruns = 0;  ///< simulations that it took
};

/// How uneven the draws of routing are, and how many.
struct Skew {
  std::string spec = "lognormal:0.4";
  std::size_t draws = 8;
};

/// Runs the best of the ranked ways, which fits, and its rivals again under each assumption and
/// draw. Where the routing of the scenario was given as a file or drawn, the draws are as uneven as
/// it. step: called after each way.
Verdict judge_ways(const Scenario& scenario, const std::vector<Way>& ranked, const Skew& skew,
                   const Scorer& score);

/// What more GPUs of a kind bring.
struct Gain {
  std::uint32_t kind = 0;
  std::uint32_t gpus = 1;  ///< more
  std::uint64_t global_batch_sequences = 0;
  double tokens_per_s = 0;  ///< no fewer than before: they may stay idle
};

/// For each kind that has GPUs: what one more brings, in a cluster of more than few_gpus one more
/// for each group, whose number stays. The best way's strategy is planned again, with as many
/// sequences for each GPU that it uses as before, to the nearest multiple of those that own
/// sequences.
std::vector<Gain> marginal_gains(const Scenario& scenario, const Way& best,
                                 const WaysRequest& request, const Scorer& score);

/// The smallest change of the training under which a request fits, as flags: one or two of
/// recomputing whole layers, sharding optimizer states and 8-bit optimizer states; else a smaller
/// batch, with none, one, two or all of these. "" when even that does not help.
std::string smallest_change(const Scenario& scenario, const PlanRequest& request,
                            const Scorer& score);

}  // namespace zebroid
