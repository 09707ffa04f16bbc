#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "planner/jobs.hpp"

namespace zebroid {

/// In larger clusters fewer candidates are tried.
inline constexpr std::size_t few_gpus = 32;

/// Which GPUs of a cluster a way to train uses.
enum class Use : std::uint8_t {
  everything,  ///< all GPUs train one model together
  some_kinds,  ///< the GPUs of the other kinds stay idle
  apart,       ///< each kind trains a model of its own, with its share of the batch
};

/// A way to train on a cluster, planned.
struct Way {
  Use use = Use::everything;
  std::vector<std::uint32_t> kinds;  ///< that it uses, by their number in the cluster
  PlanRequest request;               ///< of the only job, or of the first
  std::vector<Job> jobs;             ///< several when apart; empty when there is an obstacle
  std::string obstacle;              ///< why no schedule can be had; "" = one can
  bool lacks_memory = false;         ///< the obstacle is that parameters do not fit

  bool fits() const;            ///< some job does
  double tokens_per_s() const;  ///< of the jobs that fit, or of all when none does
};

/// "all GPUs", "A40 only", "one job per GPU kind".
std::string use_of(const Way& way, const Scenario& scenario);

/// Which ways are looked for.
struct WaysRequest {
  /// Strategies that may be used; what their requests fix stays fixed, the rest is tuned.
  std::vector<PlanRequest> strategies;
  /// Whether the expert assignments of zebra are tuned, instead of those in `strategies` taken.
  bool tune_assignment = true;
  /// Ways that use all GPUs, or also those that use some or train apart.
  bool alternatives = true;
};

/// Plans all ways to train on a cluster: each strategy on all GPUs (zebra with every role for each
/// kind, in several groups, with each expert assignment), on every choice of GPU kinds, and one job
/// for each kind. Appends to `ways`, which is in order of strategies and sound also when `score`
/// throws. step(done, total): called after each.
void find_ways(const Scenario& scenario, const WaysRequest& request, const Scorer& score,
               const std::function<void(std::size_t, std::size_t)>& step, std::vector<Way>& ways);

/// Fitting before not fitting, then by tokens per second; those with an obstacle last.
void rank_ways(std::vector<Way>& ways);

}  // namespace zebroid
