#include "planner/verdict.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <tuple>
#include <utility>

#include "core/error.hpp"
#include "planner/pools.hpp"

namespace zebroid {
namespace {

/// The best way of each kind of alternative, as positions among the ranked ones.
std::vector<std::size_t> rivals_of_best(const std::vector<Way>& ranked) {
  const auto sort_of = [](const Way& way) {
    const bool by_strategy = way.use == Use::everything;
    return std::tuple(way.use,
                      way.use == Use::some_kinds ? way.kinds : std::vector<std::uint32_t>{},
                      by_strategy ? way.request.strategy : Strategy::expert_parallel);
  };
  std::set<decltype(sort_of(ranked.front()))> seen = {sort_of(ranked.front())};
  std::vector<std::size_t> out;
  for (std::size_t i = 1; i < ranked.size(); ++i) {
    if (ranked[i].fits() && seen.insert(sort_of(ranked[i])).second) out.push_back(i);
  }
  return out;
}

/// Tokens per second of one way under everything that may be otherwise.
struct Reruns {
  std::vector<double> by_assumption;
  std::vector<double> by_draw;
};

Reruns rerun(const Way& way, const std::vector<Assumption>& assumptions,
             const std::vector<RoutingRequest>& draws, const Scorer& score) {
  Reruns out;
  for (const Assumption& assumption : assumptions) {
    out.by_assumption.push_back(tokens_per_s(way, assumption, score));
  }
  for (const RoutingRequest& routing : draws) {
    out.by_draw.push_back(tokens_per_s(way, routing, score));
  }
  return out;
}

/// One class of costs makes no way more than 1.4 times as fast or slow, so none can turn such a
/// lead.
constexpr double hopeless = 2.5;
constexpr double hopeless_if_large = 1.5;
constexpr std::size_t large = 1'000'000;  // ops of all ways together

std::size_t ops_of(const Way& way) {
  std::size_t out = 0;
  for (const Job& job : way.jobs) {
    const Schedule& schedule = job.plan.schedule;
    for (const Rank& rank : schedule.ranks) out += schedule.programs[rank.program].size();
  }
  return out;
}

std::uint64_t nearest_multiple(double number, std::uint64_t unit) {
  const double times = std::max(1.0, std::round(number / static_cast<double>(unit)));
  return static_cast<std::uint64_t>(times) * unit;
}

void add_gpus(Cluster& cluster, std::uint32_t kind, std::uint32_t gpus) {
  for (NodeGroup& row : cluster.rows) {
    if (row.gpu != cluster.kinds[kind].name || row.count == 0) continue;
    row.count += gpus;
    return;
  }
}

/// One setting that needs less memory, and how it is asked for.
struct Saving {
  std::string flag;
  void (*apply)(Scenario&);
};

/// Those that are not in force: ep and pp recompute whole layers and pp shards by themselves.
std::vector<Saving> savings_of(const Scenario& scenario, Strategy strategy) {
  const Training& training = scenario.training;
  const bool pipeline = strategy == Strategy::pipeline;
  const bool by_layer = training.recompute == Recompute::layer ||
                        (training.recompute == Recompute::automatic &&
                         (pipeline || strategy == Strategy::expert_parallel));
  std::vector<Saving> out;
  if (!by_layer) {
    out.push_back(
        {"--recompute layer", [](Scenario& s) { s.training.recompute = Recompute::layer; }});
  }
  if (!training.optimizer_sharding.value_or(pipeline)) {
    out.push_back({"--set training.optimizer_sharding=true",
                   [](Scenario& s) { s.training.optimizer_sharding = true; }});
  }
  if (training.optimizer == Optimizer::adamw) {
    out.push_back({"--optimizer adamw-8bit",
                   [](Scenario& s) { s.training.optimizer = Optimizer::adamw_8bit; }});
  }
  return out;
}

bool fits(const Scenario& scenario, PlanRequest request, const Scorer& score) {
  request.fitting_only = true;
  request.first_fit = true;
  try {
    return plan(scenario, request, score).lacks_memory.empty();
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::input && error.kind() != ErrorKind::infeasible) throw;
    return false;
  }
}

}  // namespace

Spread spread_of(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const auto at = [&](double share) {
    const double place = share * static_cast<double>(values.size() - 1);
    const auto below = static_cast<std::size_t>(place);
    const std::size_t above = std::min(below + 1, values.size() - 1);
    return values[below] + (values[above] - values[below]) * (place - std::floor(place));
  };
  constexpr double low = 0.05;
  constexpr double middle = 0.5;
  constexpr double high = 0.95;
  return {at(low), at(middle), at(high)};
}

Verdict judge_ways(const Scenario& scenario, const std::vector<Way>& ranked, const Skew& skew,
                   const Scorer& score) {
  const std::vector<Assumption> assumptions = assumptions_of(scenario);
  std::vector<RoutingRequest> draws;
  for (std::size_t d = 0; d < skew.draws; ++d) draws.push_back({skew.spec, d + 1, {}});
  Verdict out;
  const Reruns best = rerun(ranked.front(), assumptions, draws, score);
  out.best_under_skew = spread_of(best.by_draw);
  const std::vector<std::size_t> rivals = rivals_of_best(ranked);
  std::size_t ops = ops_of(ranked.front());
  for (const std::size_t way : rivals) ops += ops_of(ranked[way]);
  const double too_far = ops > large ? hopeless_if_large : hopeless;
  for (const std::size_t way : rivals) {
    const double lead = ranked.front().tokens_per_s() / ranked[way].tokens_per_s();
    if (lead > too_far) {
      Comparison& rival = out.rivals.emplace_back();
      rival.way = way;
      rival.speedup = lead;
      continue;
    }
    const Reruns other = rerun(ranked[way], assumptions, draws, score);
    Comparison& rival = out.rivals.emplace_back();
    rival.way = way;
    rival.speedup = lead;
    rival.was_rerun = true;
    rival.least = rival.most = lead;
    ++out.reruns;
    for (std::size_t a = 0; a < assumptions.size(); ++a) {
      const double speedup = best.by_assumption[a] / other.by_assumption[a];
      rival.least = std::min(rival.least, speedup);
      rival.most = std::max(rival.most, speedup);
      if (speedup <= 1) rival.turned_by.push_back(assumptions[a]);
    }
    std::vector<double> under_skew;
    for (std::size_t d = 0; d < draws.size(); ++d) {
      under_skew.push_back(best.by_draw[d] / other.by_draw[d]);
    }
    rival.under_skew = spread_of(std::move(under_skew));
  }
  out.reruns = (1 + out.reruns) * (assumptions.size() + draws.size());
  return out;
}

std::vector<Gain> marginal_gains(const Scenario& scenario, const Way& best,
                                 const WaysRequest& request, const Scorer& score) {
  WaysRequest same = request;
  same.alternatives = best.use != Use::everything;
  if (best.use == Use::everything) {
    same.strategies = {best.request};
    same.strategies.front().groups = request.strategies.front().groups;
  }
  const std::vector<Gpu> gpus = gpus_of(scenario.cluster);
  const double used = static_cast<double>(gpus_of_kinds(scenario.cluster, best.kinds).size());
  const double batch = static_cast<double>(scenario.training.global_batch_sequences);
  std::uint32_t more = 1;
  if (best.use == Use::everything && gpus.size() > few_gpus) {
    const Plan& plan = best.jobs.front().plan;
    more = plan.groups;
    same.strategies.front().groups = plan.groups;
    if (best.request.strategy == Strategy::pipeline) {
      same.strategies.front().microbatches = plan.schedule.microbatches;
    }
  }
  std::vector<Gain> out;
  for (std::uint32_t kind = 0; kind < scenario.cluster.kinds.size(); ++kind) {
    const bool present =
        std::any_of(gpus.begin(), gpus.end(), [&](const Gpu& gpu) { return gpu.kind == kind; });
    if (!present) continue;
    Gain& gain = out.emplace_back();
    gain.kind = kind;
    gain.gpus = more;
    gain.global_batch_sequences = scenario.training.global_batch_sequences;
    gain.tokens_per_s = best.tokens_per_s();  // or it stays idle
    const auto& kinds = best.kinds;
    if (std::find(kinds.begin(), kinds.end(), kind) == kinds.end()) continue;
    Scenario larger = scenario;
    add_gpus(larger.cluster, kind, more);
    const auto& owning =
        best.request.attention_kinds.empty() ? kinds : best.request.attention_kinds;
    const std::uint64_t owners = gpus_of_kinds(larger.cluster, owning).size();
    const std::uint64_t larger_batch = nearest_multiple(batch * (used + more) / used, owners);
    larger.training.global_batch_sequences = larger_batch;
    std::vector<Way> ways;
    find_ways(larger, same, score, {}, ways);
    std::erase_if(ways, [&](const Way& way) { return way.use != best.use || !way.fits(); });
    rank_ways(ways);
    if (ways.empty() || ways.front().tokens_per_s() <= gain.tokens_per_s) continue;
    gain.global_batch_sequences = larger_batch;
    gain.tokens_per_s = ways.front().tokens_per_s();
  }
  return out;
}

std::string smallest_change(const Scenario& scenario, const PlanRequest& request,
                            const Scorer& score) {
  const std::vector<Saving> savings = savings_of(scenario, request.strategy);
  const std::uint64_t batch = scenario.training.global_batch_sequences;
  const std::uint64_t least = std::min<std::uint64_t>(
      batch, gpus_of(scenario.cluster).size() * request.microbatches.value_or(1));
  const auto fits_with = [&](const std::vector<Saving>& chosen, std::uint64_t sequences) {
    Scenario changed = scenario;
    for (const Saving& saving : chosen) saving.apply(changed);
    changed.training.global_batch_sequences = sequences;
    return fits(changed, request, score);
  };
  const auto flags_of = [&](const std::vector<Saving>& chosen, std::uint64_t sequences) {
    std::vector<std::string> flags;
    for (const Saving& saving : chosen) flags.push_back(saving.flag);
    if (sequences < batch) flags.push_back(fmt::format("--global-batch {}", sequences));
    return fmt::format("{}", fmt::join(flags, " "));
  };
  if (!fits_with(savings, least)) return "";
  std::vector<std::vector<Saving>> choices = {{}};
  for (const Saving& saving : savings) choices.push_back({saving});
  for (std::size_t a = 0; a < savings.size(); ++a) {
    for (std::size_t b = a + 1; b < savings.size(); ++b) {
      choices.push_back({savings[a], savings[b]});
    }
  }
  for (const auto& chosen : choices) {  // the batch stays if one or two others do
    if (!chosen.empty() && fits_with(chosen, batch)) return flags_of(chosen, batch);
  }
  for (const auto& chosen : choices) {
    if (!fits_with(chosen, least)) continue;
    for (std::uint64_t less = batch / 2; less > least; less /= 2) {
      if (fits_with(chosen, less)) return flags_of(chosen, less);
    }
    return flags_of(chosen, least);
  }
  return flags_of(savings, least);
}

}  // namespace zebroid
