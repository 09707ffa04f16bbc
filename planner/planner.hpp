#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "models/scenario.hpp"
#include "planner/assignment.hpp"
#include "schedule/memory.hpp"
#include "schedule/predicted_load.hpp"
#include "schedule/timeline.hpp"

namespace zebroid {

enum class Strategy : std::uint8_t { expert_parallel, dist_ep, ep_ideal, pipeline, zebra };
const std::vector<std::string>& strategy_names();  ///< "ep", "dist-ep", ..., in that order
inline const std::string& name_of(Strategy strategy) {
  return strategy_names()[static_cast<std::size_t>(strategy)];
}

/// How zebra spreads experts: all on expert GPUs, or some on attention GPUs by HeterMoE's Algorithm
/// 1 with line 4 as its prose and units say or as printed (planner/assignment.hpp), or any number
/// in each layer, found together with the microbatches, and compute in an order in which no GPU
/// idles while it could run an op; that is never slower than the others but the printed form.
enum class ExpertAssignment : std::uint8_t {
  even,
  gather_and_squeeze,
  gather_and_squeeze_printed,
  optimal
};
const std::vector<std::string>& expert_assignment_names();

/// What is asked of the planner; what is not given is tuned.
struct PlanRequest {
  Strategy strategy = Strategy::zebra;
  std::optional<std::uint32_t> microbatches;
  std::optional<std::uint32_t> chunks;
  std::optional<std::uint32_t> groups;
  /// Of dist-ep and zebra: the GPU kinds, by their number in the cluster, that do attention; all
  /// others hold experts. Empty = tuned.
  std::vector<std::uint32_t> attention_kinds;
  ExpertAssignment assignment = ExpertAssignment::gather_and_squeeze;
  /// ep, dist-ep, pp: only schedules that may fit are simulated; without one Error(infeasible).
  bool fitting_only = false;
  /// Any schedule that fits will do: the first ends the search.
  bool first_fit = false;
  /// Simulate also the candidates that a bound rules out. The plan is the same.
  bool exhaustive = false;
};

/// Which rules of docs/architecture.md a scorer keeps.
struct RunRules {
  bool launch_rule = true;
  bool compute_in_order = true;  ///< else a stream that is free runs what it can
};

/// Times a schedule that has no faults.
using Scorer = std::function<Timeline(const Schedule&, const Load&, const RunRules&)>;

/// The best schedule found, with what it was judged by.
struct Plan {
  Schedule schedule;
  Timeline timeline;
  std::vector<MemoryUse> memory;  ///< [ranks]
  std::vector<std::uint32_t>
      offloaded;  ///< [layers] experts on attention GPUs, all groups together
  std::uint32_t groups = 1;
  std::string
      lacks_memory;  ///< why it does not fit: which rank lacks how many bytes; "" when it fits
  std::uint32_t candidates_simulated = 0;
  std::vector<std::string> notes;  ///< what a person should know about how it came about
};

/// The best schedule of a strategy for a scenario: fitting before not fitting, then shortest; the
/// issue order is that of transfer starts. Throws Error(input) when the request cannot be met
/// whatever the memory (fewer experts than GPUs, one GPU kind for zebra, a batch that cannot be
/// split); Error(infeasible) as fitting_only says.
Plan plan(const Scenario& scenario, const PlanRequest& request, const Scorer& score);

/// Fills what a plan with schedule, timeline and memory is judged by: groups, offloaded experts,
/// missing memory.
void judge(Plan& plan, const Scenario& scenario);

/// Settings that need less memory than those of the scenario: "a smaller --global-batch ..., ...".
std::string what_saves_memory(const Scenario& scenario);

/// The default global batch: 64Ki tokens per GPU, that is g * max(1, floor(64Ki / sequence length))
/// sequences for g GPUs, raised by g until every attention GPU count that a strategy may choose on
/// this cluster divides it; not raised where that would more than double it, as with many GPU
/// kinds: shares are then uneven.
std::uint64_t default_global_batch(const Scenario& scenario);

/// Kinds of the cluster that have GPUs, by how much faster they run attention than experts,
/// compared with the others: the first gain most from attention. Ties keep the order of the
/// cluster.
std::vector<std::uint32_t> kinds_by_attention_gain(const Scenario& scenario);

}  // namespace zebroid
