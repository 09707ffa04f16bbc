#include "planner/ways.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <iterator>
#include <optional>
#include <tuple>
#include <utility>

#include "core/error.hpp"
#include "planner/roles.hpp"

namespace zebroid {
namespace {

using Kinds = std::vector<std::uint32_t>;

constexpr std::size_t few_kinds = 3;  // of more not every choice is tried

/// Every choice of some of the kinds, the largest first.
std::vector<Kinds> choices_of(const Kinds& kinds) {
  std::vector<Kinds> out;
  for (std::uint32_t bits = 1; bits < (1U << kinds.size()); ++bits) {
    Kinds& choice = out.emplace_back();
    for (std::size_t i = 0; i < kinds.size(); ++i) {
      if ((bits >> i & 1U) != 0) choice.push_back(kinds[i]);
    }
  }
  std::stable_sort(out.begin(), out.end(),
                   [](const Kinds& a, const Kinds& b) { return a.size() > b.size(); });
  return out;
}

std::size_t gpus_in(const Scenario& scenario, const Kinds& kinds) {
  return gpus_of_kinds(scenario.cluster, kinds).size();
}

/// Numbers of groups worth trying: the fewest possible, then those that cut both pools evenly.
std::vector<std::uint32_t> group_counts(std::size_t a, std::size_t b, std::uint32_t experts) {
  constexpr std::size_t most = 5;
  const auto per_group = [&](std::size_t groups) { return (b + groups - 1) / groups; };
  std::vector<std::uint32_t> out;
  for (std::uint32_t groups = 1; groups <= std::min(a, b) && out.size() < most; ++groups) {
    if (per_group(groups) > experts) continue;
    if (out.empty() || (a % groups == 0 && b % groups == 0)) out.push_back(groups);
  }
  return out;
}

class WaySearch {
 public:
  WaySearch(const Scenario& scenario, const WaysRequest& request, const Scorer& score,
            const std::function<void(std::size_t, std::size_t)>& step, std::vector<Way>& ways)
      : scenario_(scenario), request_(request), score_(score), step_(step), ways_(ways) {
    std::vector<char> present(scenario.cluster.kinds.size(), 0);
    for (const Gpu& gpu : gpus_of(scenario.cluster)) present[gpu.kind] = 1;
    for (std::uint32_t k = 0; k < present.size(); ++k) {
      if (present[k] != 0) kinds_.push_back(k);
    }
  }

  void run() {
    std::vector<Kinds> choices = choices_of(kinds_);
    if (kinds_.size() > few_kinds) {  // all, all but one, one
      std::erase_if(choices, [&](const Kinds& choice) {
        return choice.size() > 1 && choice.size() + 1 < kinds_.size();
      });
    }
    if (!request_.alternatives) choices.resize(1);
    const bool apart = request_.alternatives && kinds_.size() > 1;
    total_ = choices.size() * request_.strategies.size() + (apart ? 1 : 0);
    for (const Kinds& kinds : choices) {
      const Scenario part =
          kinds == kinds_ ? scenario_
                          : on_kinds(scenario_, kinds, scenario_.training.global_batch_sequences);
      for (const PlanRequest& strategy : request_.strategies) {
        on(part, kinds, strategy);
        advance();
      }
    }
    if (!apart) return;
    each_kind_for_itself();
    advance();
  }

 private:
  Way planned(const Scenario& scenario, const Kinds& kinds, PlanRequest request) const {
    request.fitting_only = true;
    Way out;
    out.use = kinds == kinds_ ? Use::everything : Use::some_kinds;
    out.kinds = kinds;
    out.request = request;
    try {
      out.jobs.push_back({request.strategy, scenario, plan(scenario, request, score_)});
    } catch (const Error& error) {
      out.lacks_memory = error.kind() == ErrorKind::infeasible;
      if (error.kind() != ErrorKind::input && !out.lacks_memory) throw;
      out.obstacle = error.what();
    }
    return out;
  }

  /// The way, or where it does not fit the same with whole layers recomputed, if that does.
  Way or_leaner(Way way) const {
    const bool by_module =
        way.request.strategy == Strategy::zebra || way.request.strategy == Strategy::dist_ep;
    const bool may_need_less = by_module && scenario_.training.recompute == Recompute::automatic;
    if (way.jobs.empty() || way.fits() || !may_need_less) return way;
    Scenario leaner = way.jobs.front().scenario;
    leaner.training.recompute = Recompute::layer;
    Way out = planned(leaner, way.kinds, way.request);
    if (!out.fits()) return way;
    out.jobs.front().plan.notes.push_back(
        fmt::format("{} on {}: whole layers are recomputed (--recompute layer), since per module "
                    "it does not fit",
                    name_of(way.request.strategy), use_of(way, scenario_)));
    return out;
  }

  void on(const Scenario& scenario, const Kinds& kinds, const PlanRequest& request) {
    switch (request.strategy) {
      case Strategy::ep_ideal:  // what each kind does for itself
        if (kinds_.size() == 1) on(scenario, kinds, {.strategy = Strategy::expert_parallel});
        return;
      case Strategy::dist_ep:
      case Strategy::zebra:
        if (kinds.size() > 1) return with_roles(scenario, kinds, request);
        if (kinds == kinds_) ways_.push_back(planned(scenario, kinds, request));  // for its reason
        return;
      case Strategy::expert_parallel: {
        const auto gpus = gpus_in(scenario, kinds);
        return keep_best(with_groups(scenario, kinds, request, gpus, gpus));
      }
      default:
        keep_best(pipelines(scenario, kinds, request));
    }
  }

  /// As tuned, one for each GPU, which is data parallelism with shared optimizer states, and where
  /// the search finds nothing that fits a few long ones.
  std::vector<Way> pipelines(const Scenario& scenario, const Kinds& kinds,
                             PlanRequest request) const {
    std::vector<Way> out = {planned(scenario, kinds, request)};
    const auto gpus = static_cast<std::uint32_t>(gpus_in(scenario, kinds));
    if (request.groups || gpus > few_gpus) return out;
    std::vector<std::uint32_t> counts = {gpus};
    if (!out.front().fits()) counts = {gpus, 1, 2, 3, 4};
    for (const std::uint32_t groups : counts) {
      if (groups > gpus) continue;
      request.groups = groups;
      Way way = planned(scenario, kinds, request);
      if (way.fits()) out.push_back(std::move(way));
    }
    return out;
  }

  std::vector<Way> with_groups(const Scenario& scenario, const Kinds& kinds, PlanRequest request,
                               std::size_t a, std::size_t b) const {
    std::vector<Way> out;
    if (request.groups) return {planned(scenario, kinds, request)};
    for (const std::uint32_t groups : group_counts(a, b, scenario.model.experts)) {
      request.groups = groups;
      out.push_back(planned(scenario, kinds, request));
      if (!out.back().fits()) break;  // more groups need more memory
    }
    if (out.empty()) out.push_back(planned(scenario, kinds, request));  // for its reason
    return out;
  }

  /// Kinds that may do attention: any; of many those that gain most from it.
  static std::vector<Kinds> roles_of(const Scenario& scenario, const Kinds& kinds) {
    if (kinds.size() <= 2) return choices_of(kinds);
    std::vector<Kinds> out;
    const Kinds by_gain = kinds_by_attention_gain(scenario);
    for (auto cut = by_gain.begin() + 1; cut != by_gain.end(); ++cut) {
      out.emplace_back(by_gain.begin(), cut);
    }
    if (kinds.size() > few_kinds) return out;
    for (const Kinds& choice : choices_of(kinds)) {
      const bool known = std::any_of(out.begin(), out.end(), [&](Kinds cut) {
        std::sort(cut.begin(), cut.end());
        return cut == choice;
      });
      if (!known) out.push_back(choice);
    }
    return out;
  }

  /// The kinds that do attention, in every way that leaves some for the experts.
  void with_roles(const Scenario& scenario, const Kinds& kinds, PlanRequest request) {
    const bool like_zebra =  // the same GPUs are good at attention
        request.strategy == Strategy::dist_ep && gpus_in(scenario, kinds) > few_gpus;
    for (const Way& way : ways_) {
      if (!like_zebra || way.request.strategy != Strategy::zebra || way.kinds != kinds) continue;
      request.attention_kinds = way.request.attention_kinds;
      if (!request.groups) request.groups = way.request.groups;
      return ways_.push_back(or_leaner(planned(scenario, kinds, request)));
    }
    const bool tune = request_.tune_assignment && request.strategy == Strategy::zebra;
    if (tune) request.assignment = ExpertAssignment::gather_and_squeeze;
    const bool are_given = !request.attention_kinds.empty();
    std::vector<Way> found;
    for (const Kinds& attention :
         are_given ? std::vector<Kinds>{request.attention_kinds} : roles_of(scenario, kinds)) {
      if (attention.size() == kinds.size()) continue;
      request.attention_kinds = attention;
      const std::size_t owners = gpus_in(scenario, attention);
      std::vector<Way> tuned =
          with_groups(scenario, kinds, request, owners, gpus_in(scenario, kinds) - owners);
      std::move(tuned.begin(), tuned.end(), std::back_inserter(found));
    }
    ensure(!found.empty(), "roles leave GPUs for the experts");
    rank_ways(found);
    if (tune && found.front().obstacle.empty()) {
      return with_assignments(scenario, kinds, std::move(found));
    }
    ways_.push_back(or_leaner(std::move(found.front())));
  }

  /// Roles and groups are told apart by the quicker gather-and-squeeze; the best few get the
  /// optimal assignment. On all GPUs the others are shown beside it.
  void with_assignments(const Scenario& scenario, const Kinds& kinds, std::vector<Way> screened) {
    const std::size_t most = gpus_in(scenario, kinds) > few_gpus ? 1 : 2;
    std::vector<Way> found;
    for (Way& way : screened) {
      if (found.size() == most || !way.obstacle.empty()) break;
      way = or_leaner(std::move(way));
      PlanRequest request = way.request;
      request.assignment = ExpertAssignment::optimal;
      found.push_back(or_leaner(planned(way.jobs.front().scenario, kinds, request)));
      found.back().jobs.front().plan.notes = way.jobs.front().plan.notes;
    }
    rank_ways(found);
    ways_.push_back(std::move(found.front()));
    if (kinds != kinds_ || !request_.alternatives) return;
    PlanRequest request = ways_.back().request;
    request.assignment = ExpertAssignment::even;
    Way even = planned(scenario, kinds, request);
    const auto same = std::find_if(screened.begin(), screened.end(), [&](const Way& way) {
      return way.request.attention_kinds == request.attention_kinds &&
             way.request.groups == request.groups;
    });
    for (Way* other : {&*same, &even}) {
      if (other->tokens_per_s() != ways_.back().tokens_per_s()) ways_.push_back(std::move(*other));
    }
  }

  void keep_best(std::vector<Way> found) {
    rank_ways(found);
    if (!found.empty()) ways_.push_back(std::move(found.front()));
  }

  /// The best that a kind can do with its share; nothing when no strategy works on one kind.
  std::optional<Way> best_alone(const KindShare& share) const {
    const Scenario part = on_kinds(scenario_, {share.kind}, share.sequences);
    std::vector<Way> found;
    for (PlanRequest request : request_.strategies) {
      if (request.strategy == Strategy::ep_ideal) request.strategy = Strategy::expert_parallel;
      if (request.strategy == Strategy::pipeline) {
        for (Way& way : pipelines(part, {share.kind}, request)) found.push_back(std::move(way));
      } else if (request.strategy == Strategy::expert_parallel) {
        for (Way& way : with_groups(part, {share.kind}, request, share.gpus, share.gpus)) {
          found.push_back(std::move(way));
        }
      }
    }
    rank_ways(found);
    if (found.empty()) return std::nullopt;
    return std::move(found.front());
  }

  void each_kind_for_itself() {
    Way out;
    out.use = Use::apart;
    out.kinds = kinds_;
    out.request.strategy = Strategy::ep_ideal;
    std::vector<KindShare> shares;
    try {
      shares = shares_of_kinds(scenario_);
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::input) throw;
      out.obstacle = error.what();
    }
    for (const KindShare& share : shares) {
      std::optional<Way> best = best_alone(share);
      if (!best) return;
      if (out.jobs.empty()) out.request = best->request;
      if (!best->fits()) {  // then it is a job on the other kinds alone, which is another way
        const std::string& why =
            best->jobs.empty() ? best->obstacle : best->jobs.front().plan.lacks_memory;
        out.obstacle = fmt::format("{} alone: {}", scenario_.cluster.kinds[share.kind].name, why);
        out.lacks_memory = best->lacks_memory || !best->jobs.empty();
        out.jobs.clear();
        break;
      }
      out.jobs.push_back(std::move(best->jobs.front()));
    }
    ways_.push_back(std::move(out));
  }

  void advance() {
    if (step_) step_(++done_, total_);
  }

  const Scenario& scenario_;
  const WaysRequest& request_;
  const Scorer& score_;
  const std::function<void(std::size_t, std::size_t)>& step_;
  std::vector<Way>& ways_;
  Kinds kinds_;
  std::size_t done_ = 0;
  std::size_t total_ = 0;
};

double rate_of(const Job& job) {
  return static_cast<double>(job.scenario.training.global_batch_sequences) *
         job.scenario.training.sequence_length / job.plan.timeline.makespan().value;
}

}  // namespace

bool Way::fits() const {
  return std::any_of(jobs.begin(), jobs.end(),
                     [](const Job& job) { return job.plan.lacks_memory.empty(); });
}

double Way::tokens_per_s() const {
  const bool some_fit = fits();
  double out = 0;
  for (const Job& job : jobs) {
    if (!some_fit || job.plan.lacks_memory.empty()) out += rate_of(job);
  }
  return out;
}

std::string use_of(const Way& way, const Scenario& scenario) {
  if (way.use == Use::everything) return "all GPUs";
  if (way.use == Use::apart) return "one job per GPU kind";
  std::vector<std::string> names;
  for (const std::uint32_t kind : way.kinds) names.push_back(scenario.cluster.kinds[kind].name);
  return fmt::format("{} only", fmt::join(names, " and "));
}

void find_ways(const Scenario& scenario, const WaysRequest& request, const Scorer& score,
               const std::function<void(std::size_t, std::size_t)>& step, std::vector<Way>& ways) {
  WaySearch(scenario, request, score, step, ways).run();
}

void rank_ways(std::vector<Way>& ways) {
  std::stable_sort(ways.begin(), ways.end(), [](const Way& a, const Way& b) {
    const auto key = [](const Way& way) {
      return std::tuple(!way.obstacle.empty(), !way.fits(), -way.tokens_per_s());
    };
    return key(a) < key(b);
  });
}

}  // namespace zebroid
