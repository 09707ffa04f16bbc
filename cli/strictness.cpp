#include "cli/strictness.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "cli/kernel_spec.hpp"
#include "cli/terminal.hpp"
#include "core/error.hpp"
#include "models/collective_times.hpp"
#include "schedule/critical_path.hpp"
#include "schedule/exchange_times.hpp"
#include "schedule/predicted_load.hpp"

namespace zebroid {
namespace {

constexpr double least_share = 0.02;  // of the critical path

/// Adds up what the steps of a critical path rest on.
class Weighing {
 public:
  Weighing(const Schedule& schedule, const Scenario& scenario, Evidence least)
      : schedule_(schedule), scenario_(scenario), load_(schedule, scenario), least_(least) {}

  void add(const CriticalStep& step) {
    const Op& op = schedule_.program_of(step.rank)[step.op];
    const double seconds = (step.end - step.begin).value;
    total_ += seconds;
    if (is_exchange(op.work)) {
      add_exchange(step, op, seconds);
    } else {
      add_compute(step, op, seconds);
    }
  }

  std::vector<WeakCosts> weak() const {
    std::vector<WeakCosts> out;
    for (const auto& [key, found] : classes_) {
      const double share = found.seconds / total_;
      if (share < least_share) continue;
      out.push_back({key.first,
                     key.second,
                     share,
                     found.worst,
                     {found.missing.begin(), found.missing.end()}});
    }
    std::stable_sort(out.begin(), out.end(),
                     [](const WeakCosts& a, const WeakCosts& b) { return a.share > b.share; });
    return out;
  }

 private:
  struct Found {
    double seconds = 0;
    Evidence worst = Evidence::measured;
    std::set<std::string> missing;
  };

  void add(const std::pair<std::string, std::string>& key, double seconds, Evidence evidence,
           const std::string& missing) {
    if (evidence <= least_) return;
    Found& found = classes_[key];
    found.seconds += seconds;
    found.worst = std::max(found.worst, evidence);
    if (!missing.empty()) found.missing.insert(missing);
  }

  /// The step takes as long as it does (a slow rank's more), shared out as its kernels' times are.
  void add_compute(const CriticalStep& step, const Op& op, double seconds) {
    const KernelTimes& times = load_.times(step.rank);
    const std::string& gpu = kind_of(step.rank);
    const double predicted = load_.cost(step.rank, op).total().value;
    if (predicted <= 0) return;
    for (const KernelCall& call : load_.kernels(step.rank, op)) {
      const KernelTime time = times.of(call);
      const double share = time.seconds.value * call.count / predicted;
      add({gpu, fmt::format("{} on {}", name_of(class_of(call.op)), gpu)}, share * seconds,
          time.evidence,
          call.as_measured
              ? text_of(KernelSpec{call.op, std::string(call.kernel), call.direction, call.shape})
              : "");
    }
  }

  void add_exchange(const CriticalStep& step, const Op& op, double seconds) {
    const GroupId group = schedule_.group_of(step.rank, op);
    add({"", "exchanges"}, seconds, load_.evidence(group, op), run_of(group, op));
  }

  /// What nccl-tests would have to run; "" where it cannot.
  std::string run_of(GroupId group, const Op& op) const {
    const auto collective = load_.collective_of(group, op);
    if (!collective) return "";
    const auto run = collective_run(schedule_, scenario_.cluster, group, *collective,
                                    load_.messages(group, schedule_.groups[group.value], op));
    if (!run) return "";
    return text_of(
        KernelSpec{run->op,
                   "",
                   Direction::forward,
                   {nccl_size(run->bytes, run->group.ranks), static_cast<double>(run->group.ranks),
                    static_cast<double>(run->group.ranks_per_node)}});
  }

  const std::string& kind_of(RankId rank) const {
    const auto gpu = schedule_.ranks[rank.value].gpu;
    return scenario_.cluster.kinds[gpus_[gpu.value].kind].name;
  }

  const Schedule& schedule_;
  const Scenario& scenario_;
  std::vector<Gpu> gpus_ = gpus_of(scenario_.cluster);
  PredictedLoad load_;
  Evidence least_;
  double total_ = 0;
  std::map<std::pair<std::string, std::string>, Found> classes_;  // by {GPU, name}
};

/// The nccl-tests program that measures a collective.
std::string_view program_of(MeasuredOp op) {
  static const std::map<MeasuredOp, std::string_view> programs = {
      {MeasuredOp::all_to_all, "alltoall_perf"},
      {MeasuredOp::all_reduce, "all_reduce_perf"},
      {MeasuredOp::all_gather, "all_gather_perf"},
      {MeasuredOp::reduce_scatter, "reduce_scatter_perf"},
      {MeasuredOp::broadcast, "broadcast_perf"},
      {MeasuredOp::send_recv, "sendrecv_perf"}};
  return programs.at(op);
}

/// One command per GPU kind and per exchange, then those that use what they measured.
std::vector<std::string> commands(const std::vector<WeakCosts>& weak) {
  std::map<std::string, std::vector<std::string>> by_gpu;
  std::vector<std::string> out;
  std::set<std::string> logs;  // named after the program: old versions do not print it
  for (const WeakCosts& costs : weak) {
    for (const std::string& missing : costs.missing) {
      if (!costs.gpu.empty()) {
        by_gpu[costs.gpu].push_back(missing);
        continue;
      }
      const KernelSpec spec = parse_kernel_spec(missing);
      const std::string log = fmt::format("{}.log", program_of(spec.op));
      logs.insert(log);
      out.push_back(fmt::format(
          "mpirun -np {:.0f} --map-by ppr:{:.0f}:node {} -b {:.0f} -e {:.0f} "
          "-g 1 >> {}",
          spec.shape[1], spec.shape[2], program_of(spec.op), spec.shape[0], spec.shape[0], log));
    }
  }
  std::vector<std::string> files(logs.begin(), logs.end());
  for (const auto& [gpu, missing] : by_gpu) {
    files.push_back(gpu + ".csv");
    out.push_back(fmt::format("python3 scripts/measure_kernels.py --gpu {} '{}' > {}", gpu,
                              fmt::join(missing, "' '"), files.back()));
  }
  if (files.empty()) return out;
  out.push_back(fmt::format("zebroid calibrate {} -o mine.json   # then --calibration mine.json",
                            fmt::join(files, " ")));
  return out;
}

std::vector<WeakCosts> weak_costs(const std::vector<PredictedJob>& jobs, Evidence least) {
  std::map<std::string, WeakCosts> by_name;
  for (const PredictedJob& predicted : jobs) {
    const Plan& plan = predicted.job.plan;
    Weighing weighing(plan.schedule, predicted.job.scenario, least);
    for (const CriticalStep& step : critical_path(plan.schedule, plan.timeline)) {
      weighing.add(step);
    }
    for (const WeakCosts& weak : weighing.weak()) {
      WeakCosts& all = by_name
                           .try_emplace(weak.name, WeakCosts{.gpu = weak.gpu,
                                                             .name = weak.name,
                                                             .worst = Evidence::measured})
                           .first->second;
      all.share = std::max(all.share, weak.share);
      all.worst = std::max(all.worst, weak.worst);
      std::set<std::string> missing(all.missing.begin(), all.missing.end());
      missing.insert(weak.missing.begin(), weak.missing.end());
      all.missing.assign(missing.begin(), missing.end());
    }
  }
  std::vector<WeakCosts> out;
  for (const auto& [name, weak] : by_name) out.push_back(weak);
  std::stable_sort(out.begin(), out.end(),
                   [](const WeakCosts& a, const WeakCosts& b) { return a.share > b.share; });
  return out;
}

/// One paragraph: classes, missing shapes, and the commands that measure them and try again.
std::string explanation(const std::string& title, const std::vector<WeakCosts>& weak,
                        Evidence least) {
  constexpr double hundred = 100;
  std::string out =
      fmt::format("--strict {}: the critical path of {} rests on less", name_of(least), title);
  for (const WeakCosts& costs : weak) {
    out += fmt::format("\n  {}: {:.1f} % of it, {}", costs.name, hundred * costs.share,
                       name_of(costs.worst));
    if (costs.missing.empty()) out += "; no table can hold these shapes";
    constexpr std::size_t most = 3;
    for (std::size_t i = 0; i < std::min(most, costs.missing.size()); ++i) {
      out += "\n    missing: " + costs.missing[i];
    }
    if (costs.missing.size() > most) {
      out +=
          fmt::format("\n    and {} more, all in the commands below", costs.missing.size() - most);
    }
  }
  const std::vector<std::string> lines = commands(weak);
  if (!lines.empty()) out += "\nTo measure them, on machines with these GPUs:";
  for (const std::string& line : lines) out += "\n  " + line;
  return out;
}

Json to_json(const std::vector<WeakCosts>& weak, Evidence least) {
  Json classes = Json::array();
  for (const WeakCosts& costs : weak) {
    classes.push_back({{"name", costs.name},
                       {"gpu", costs.gpu},
                       {"share_of_critical_path", costs.share},
                       {"evidence", name_of(costs.worst)},
                       {"missing", costs.missing}});
  }
  return {{"least", name_of(least)},
          {"satisfied", weak.empty()},
          {"below", std::move(classes)},
          {"commands", commands(weak)}};
}

}  // namespace

std::vector<WeakCosts> judge_evidence(const std::vector<PredictedJob>& jobs,
                                      std::optional<Evidence> least, Json& result) {
  if (!least) return {};
  std::vector<WeakCosts> weak = weak_costs(jobs, *least);
  result["strict"] = to_json(weak, *least);
  return weak;
}

int strict_exit_code(const std::string& title, const std::vector<WeakCosts>& weak,
                     std::optional<Evidence> least) {
  if (!least || weak.empty()) return 0;
  print_note("zebroid: " + explanation(title, weak, *least));
  return static_cast<int>(ErrorKind::check);
}

}  // namespace zebroid
