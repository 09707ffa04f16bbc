#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <optional>
#include <set>
#include <utility>

#include "cli/commands.hpp"
#include "cli/output_files.hpp"
#include "cli/result.hpp"
#include "cli/strictness.hpp"
#include "core/error.hpp"
#include "planner/verdict.hpp"
#include "report/plan_text.hpp"
#include "schedule/critical_path.hpp"
#include "schedule/files.hpp"

namespace zebroid {
namespace {

constexpr int exit_interrupted = 130;

/// What planning found, as far as it came.
struct Findings {
  std::vector<Way> ways;  ///< ranked once all were found
  Verdict verdict;
  std::vector<Gain> gains;
  std::vector<std::string> changes;  ///< [ways] that would make them fit
  std::uint64_t simulated = 0;       ///< to find the ways
  bool interrupted = false;
};

/// "zebra on all GPUs", "ep on A40 only", "one job per GPU kind".
std::string label_of(const Way& way, const Scenario& scenario) {
  if (way.use == Use::apart) return use_of(way, scenario);
  return fmt::format("{} on {}", name_of(way.request.strategy), use_of(way, scenario));
}

/// As its result has it.
std::string strategy_of(const Way& way) {
  if (way.use != Use::apart) return name_of(way.request.strategy);
  const bool all_ep = std::all_of(way.jobs.begin(), way.jobs.end(), [](const Job& job) {
    return job.strategy == Strategy::expert_parallel;
  });
  return all_ep ? name_of(Strategy::ep_ideal) : "apart";
}

WaysRequest ways_request(const Resolver& resolver) {
  WaysRequest out;
  out.strategies = resolver.plans();
  out.tune_assignment = !resolver.assignment_given();
  return out;
}

/// Throws Error(input) when memory is not what keeps all ways from being had.
void refuse_if_none_can_be_had(const Findings& findings) {
  std::vector<std::string> obstacles;
  for (const Way& way : findings.ways) {
    if (way.obstacle.empty() || way.lacks_memory) return;
    obstacles.push_back(fmt::format("{}: {}", name_of(way.request.strategy), way.obstacle));
  }
  throw Error(ErrorKind::input, fmt::format("{}", fmt::join(obstacles, "\n")));
}

/// What would make a way on all GPUs fit that does not.
std::string change_of(const Scenario& scenario, const Way& way, const Scorer& score) {
  const bool lacks_memory = way.lacks_memory || (way.obstacle.empty() && !way.fits());
  if (!lacks_memory || way.use != Use::everything) return "";
  return smallest_change(scenario, way.request, score);
}

/// Everything that plan looks for, the most important first, so that an interrupt leaves that.
class Search {
 public:
  Search(const Scenario& scenario, WaysRequest request, Scorer score, bool quiet)
      : scenario_(scenario),
        request_(std::move(request)),
        score_(std::move(score)),
        quiet_(quiet) {}

  void run(const Skew& skew, Findings& findings) const {
    find(findings);
    rank_ways(findings.ways);
    const bool some_fit = !findings.ways.empty() && findings.ways.front().fits();
    if (some_fit) {
      findings.verdict = judge_ways(scenario_, findings.ways, skew, score_);
      findings.gains = marginal_gains(scenario_, findings.ways.front(), request_, score_);
    }
    // In large clusters only where it is needed.
    if (some_fit && gpus_of(scenario_.cluster).size() > few_gpus) return;
    for (const Way& way : findings.ways) {
      findings.changes.push_back(change_of(scenario_, way, score_));
    }
  }

 private:
  void find(Findings& findings) const {
    std::optional<Progress> progress;
    const auto step = [&](std::size_t done, std::size_t total) {
      if (!progress) progress.emplace("ways", total, quiet_);
      progress->update(done, "");
    };
    const Scorer counted = [&](const Schedule& schedule, const Load& load, const RunRules& rules) {
      ++findings.simulated;
      return score_(schedule, load, rules);
    };
    find_ways(scenario_, request_, counted, step, findings.ways);
  }

  const Scenario& scenario_;
  WaysRequest request_;
  Scorer score_;
  bool quiet_;
};

class PlanDocument {
 public:
  PlanDocument(const Resolver& resolver, const Resolved& resolved, const Skew& skew, bool explain,
               const Findings& findings)
      : resolver_(resolver),
        resolved_(resolved),
        scenario_(resolved.scenario),
        skew_(skew),
        explain_(explain),
        findings_(findings) {}

  Json make() {
    Json results = Json::array();
    std::vector<std::string> notes = scenario_.cluster.notes;
    for (const Way& way : findings_.ways) {
      if (!way.obstacle.empty()) continue;
      results.push_back(result_of(way));
      for (const Job& job : way.jobs) {
        for (const std::string& note : job.plan.notes) {
          if (std::find(notes.begin(), notes.end(), note) == notes.end()) notes.push_back(note);
        }
      }
    }
    Json out = result_document(resolved_, std::move(results), notes);
    out["verdict"] = verdict();
    return out;
  }

  /// The best way as predicted, for files.
  const std::vector<PredictedJob>& best() const { return best_; }
  /// What the best way rests on too weakly.
  const std::vector<WeakCosts>& weak() const { return weak_; }

 private:
  const Way& front() const { return findings_.ways.front(); }
  bool some_fit() const { return !findings_.ways.empty() && front().fits(); }

  Json result_of(const Way& way) {
    std::vector<PredictedJob> jobs;
    for (const Job& job : way.jobs) {
      PredictedJob& predicted = jobs.emplace_back(PredictedJob{job, {}});
      predicted.prediction = resolver_.predictor().predict(predicted.job.plan, job.scenario);
    }
    Json out = result_json(jobs, resolved_, way.request);
    out["use"] = use_of(way, scenario_);
    if (explain_ && &way == &front()) out["critical_path"] = path_of(jobs);
    if (best_.empty()) {
      weak_ = judge_evidence(jobs, resolver_.strict(), out);
      best_ = std::move(jobs);
    }
    return out;
  }

  /// Of the job that takes longest. Steps of one rank and one sort of work are taken together.
  static Json path_of(const std::vector<PredictedJob>& jobs) {
    const Job& job = std::max_element(jobs.begin(), jobs.end(), [](const auto& a, const auto& b) {
                       return a.job.plan.timeline.makespan() < b.job.plan.timeline.makespan();
                     })->job;
    const Schedule& schedule = job.plan.schedule;
    const std::vector<Gpu> gpus = gpus_of(job.scenario.cluster);
    const std::vector<std::string> rank_roles = roles(schedule);
    Json out = Json::array();
    const Op* last = nullptr;
    for (const CriticalStep& step : critical_path(schedule, job.plan.timeline)) {
      const Op& op = schedule.program_of(step.rank)[step.op];
      // The head's backward follows its forward, microbatch by microbatch.
      const bool goes_on =
          last != nullptr && out.back()["rank"] == step.rank.value && last->work == op.work &&
          (op.work == Work::head || (last->pass == Pass::forward) == (op.pass == Pass::forward));
      if (!goes_on) {
        out.push_back({{"rank", step.rank.value},
                       {"gpu", job.scenario.cluster
                                   .kinds[gpus[schedule.ranks[step.rank.value].gpu.value].kind]
                                   .name},
                       {"role", rank_roles[step.rank.value]},
                       {"work", name_of(op.work)},
                       {"first", name_of(op)},
                       {"ops", 0},
                       {"begin_s", step.begin.value}});
      }
      Json& entry = out.back();
      entry["last"] = name_of(op);
      entry["ops"] = entry["ops"].get<int>() + 1;
      entry["end_s"] = step.end.value;
      last = &op;
    }
    return out;
  }

  Json verdict() const {
    Json out;
    out["answer"] = answer();
    out["recommendation"] = recommendation();
    out["interrupted"] = findings_.interrupted;
    if (some_fit()) out["best"] = label_of(front(), scenario_);
    if (findings_.verdict.reruns > 0) {
      const Spread& spread = findings_.verdict.best_under_skew;
      out["under_skew"] = {{"routing", skew_.spec},
                           {"draws", skew_.draws},
                           {"tokens_per_s_p5", spread.p5},
                           {"tokens_per_s_p50", spread.p50},
                           {"tokens_per_s_p95", spread.p95}};
    }
    out["comparisons"] = comparisons();
    out["marginal_gains"] = gains();
    out["rejected"] = rejected();
    out["assumed_errors"] = assumed_errors();
    out["candidates_simulated"] = findings_.simulated;
    out["reruns_simulated"] = findings_.verdict.reruns;
    return out;
  }

  static Json assumed_errors() {
    Json out;
    for (std::size_t e = 0; e < evidence_count; ++e) {
      const auto evidence = static_cast<Evidence>(e);
      out[std::string(name_of(evidence))] = error_of(evidence);
    }
    return out;
  }

  Json comparisons() const {
    Json out = Json::array();
    for (const Comparison& rival : findings_.verdict.rivals) {
      const Way& way = findings_.ways[rival.way];
      Json turned = Json::array();
      for (const Assumption& assumption : rival.turned_by) turned.push_back(name_of(assumption));
      Json entry = {{"with", label_of(way, scenario_)},
                    {"strategy", strategy_of(way)},
                    {"use", use_of(way, scenario_)},
                    {"speedup", rival.speedup},
                    {"tie", rival.is_tie()},
                    {"turned_by", std::move(turned)}};
      if (rival.was_rerun) {
        entry["least_speedup"] = rival.least;
        entry["most_speedup"] = rival.most;
        entry["speedup_p5"] = rival.under_skew.p5;
        entry["speedup_p50"] = rival.under_skew.p50;
        entry["speedup_p95"] = rival.under_skew.p95;
      }
      out.push_back(std::move(entry));
    }
    return out;
  }

  Json gains() const {
    Json out = Json::array();
    for (const Gain& gain : findings_.gains) {
      const double before = front().tokens_per_s();
      out.push_back({{"gpu", scenario_.cluster.kinds[gain.kind].name},
                     {"gpus", gain.gpus},
                     {"global_batch_sequences", gain.global_batch_sequences},
                     {"tokens_per_s", gain.tokens_per_s},
                     {"gain_fraction", gain.tokens_per_s / before - 1}});
    }
    return out;
  }

  /// The same strategy on the same GPUs fits with another expert assignment.
  bool has_fitting_twin(std::size_t w) const {
    const Way& way = findings_.ways[w];
    return std::any_of(findings_.ways.begin(), findings_.ways.end(), [&](const Way& other) {
      return other.fits() && other.use == way.use && other.kinds == way.kinds &&
             other.request.strategy == way.request.strategy && way.use != Use::apart;
    });
  }

  Json rejected() const {
    Json out = Json::array();
    for (std::size_t w = 0; w < findings_.ways.size(); ++w) {
      const Way& way = findings_.ways[w];
      if (way.fits() || has_fitting_twin(w)) continue;
      Json entry = {
          {"way", label_of(way, scenario_)},
          {"strategy", strategy_of(way)},
          {"use", use_of(way, scenario_)},
          {"reason", way.obstacle.empty() ? way.jobs.front().plan.lacks_memory : way.obstacle}};
      if (w < findings_.changes.size() && !findings_.changes[w].empty()) {
        entry["smallest_change"] = findings_.changes[w];
      }
      out.push_back(std::move(entry));
    }
    return out;
  }

  // --- words ---

  /// The best rival that uses the GPUs otherwise than the best way; null when there is none.
  const Comparison* other_use() const {
    for (const Comparison& rival : findings_.verdict.rivals) {
      const Way& way = findings_.ways[rival.way];
      if (way.use != front().use || way.kinds != front().kinds) return &rival;
    }
    return nullptr;
  }

  std::string answer() const {
    if (findings_.interrupted && findings_.verdict.reruns == 0) return "unknown";
    if (!some_fit()) return "nothing fits";
    const Comparison* other = other_use();
    if (other != nullptr && other->is_tie()) return "tie";
    if (front().use == Use::everything) return "use all GPUs";
    return front().use == Use::apart ? "train apart" : "leave some out";
  }

  std::string idle_kinds() const {
    std::vector<std::string> names;
    std::vector<char> seen(scenario_.cluster.kinds.size(), 0);
    for (const Gpu& gpu : gpus_of(scenario_.cluster)) seen[gpu.kind] = 1;
    for (const std::uint32_t kind : front().kinds) seen[kind] = 0;
    for (std::size_t k = 0; k < seen.size(); ++k) {
      if (seen[k] != 0) names.push_back(scenario_.cluster.kinds[k].name);
    }
    return fmt::format("{}", fmt::join(names, " and "));
  }

  /// Over the best of each use: what else the GPUs could do.
  std::string speedups() const {
    std::string out;
    std::set<Use> told;
    for (const Comparison& rival : findings_.verdict.rivals) {
      const Way& way = findings_.ways[rival.way];
      if (!told.insert(way.use).second) continue;
      out += fmt::format("{}{:.2f}x as fast as {}", out.empty() ? "" : ", ", rival.speedup,
                         label_of(way, scenario_));
    }
    return out;
  }

  std::string recommendation() const {
    if (!some_fit()) return nothing_fits();
    const std::string best = label_of(front(), scenario_);
    if (findings_.verdict.rivals.empty()) {
      return best +
             (findings_.interrupted ? ", compared with nothing yet" : ", the only way that fits");
    }
    const Comparison* other = other_use();
    if (other != nullptr && other->is_tie()) {
      const std::string tie =
          fmt::format("A tie: {} is {:.2f}x as fast as {}", best, other->speedup,
                      label_of(findings_.ways[other->way], scenario_));
      if (other->is_turned_by_skew()) return tie + " with uniform routing alone, not under skew";
      if (other->turned_by.empty()) return tie + ", less than predictions resolve";
      return fmt::format("{}, which turns with {}. Measure that before buying or cabling", tie,
                         name_of(other->turned_by.front()));
    }
    switch (front().use) {
      case Use::everything:
        return fmt::format("Train on all GPUs with {}: {}", name_of(front().request.strategy),
                           speedups());
      case Use::some_kinds:
        return fmt::format("No: leave the {} GPUs out. {} is {}", idle_kinds(), best, speedups());
      case Use::apart:
        return fmt::format(
            "No: do not train one model across GPU kinds. One job per kind, each with a model of "
            "its own, is {}",
            speedups());
    }
    return "";
  }

  std::string nothing_fits() const {
    if (findings_.interrupted) return "nothing that fits";
    for (std::size_t w = 0; w < findings_.changes.size(); ++w) {
      if (findings_.changes[w].empty()) continue;
      return fmt::format("Nothing fits as asked; {} would with {}",
                         label_of(findings_.ways[w], scenario_), findings_.changes[w]);
    }
    return "Nothing fits, and no change of recomputation, optimizer states or batch helps: take "
           "GPUs with more memory, or more of them";
  }

  const Resolver& resolver_;
  const Resolved& resolved_;
  const Scenario& scenario_;
  const Skew& skew_;
  bool explain_;
  const Findings& findings_;
  std::vector<PredictedJob> best_;
  std::vector<WeakCosts> weak_;
};

}  // namespace

int plan_command(const Request& request, bool explain, const OutputFiles& files,
                 const Output& output) {
  if (!request.prediction.slow.empty() || request.prediction.engine.value_or("fast") != "fast") {
    throw Error(
        ErrorKind::input,
        "--slow and --engine: plan ranks with the fast engine and nothing slow; simulate its "
        "--schedule with them");
  }
  const Resolver resolver(request, {"zebra", "ep", "dist-ep", "pp"});
  const Scorer score = make_scorer(resolver.predictor().fast_fidelity());
  Resolved resolved = resolver.resolve({});
  settle_batch(resolved, resolver, score);
  Skew skew;
  if (resolved.scenario.routing.spec.starts_with("lognormal:")) {
    skew.spec = resolved.scenario.routing.spec;
  }
  Findings findings;
  try {
    Search(resolved.scenario, ways_request(resolver), score, output.quiet).run(skew, findings);
  } catch (const Interrupted&) {
    if (findings.ways.empty()) throw;
    findings.interrupted = true;
    rank_ways(findings.ways);
  }
  refuse_if_none_can_be_had(findings);
  PlanDocument maker(resolver, resolved, skew, explain, findings);
  const Json document = maker.make();
  print_out(output.json ? to_text(document, 2) + "\n"
                        : plan_text(document, use_color(output.color)));
  if (!document["results"].empty()) write_files(files, maker.best(), "best", true);
  if (findings.interrupted) return exit_interrupted;
  if (findings.ways.empty() || !findings.ways.front().fits()) {
    return static_cast<int>(ErrorKind::infeasible);
  }
  return strict_exit_code("the best way", maker.weak(), resolver.strict());
}

}  // namespace zebroid
