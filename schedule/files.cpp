#include "schedule/files.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <set>

#include "schedule/verify.hpp"

namespace zebroid {
namespace {

template <class Enum>
std::vector<std::string> names_upto(Enum last) {
  std::vector<std::string> out;
  for (std::uint8_t i = 0; i <= static_cast<std::uint8_t>(last); ++i) {
    out.emplace_back(name_of(static_cast<Enum>(i)));
  }
  return out;
}

template <class Number>
Number count(const JsonView& view, std::int64_t low = 0) {
  return static_cast<Number>(view.integer(low, std::numeric_limits<Number>::max()));
}

Json ids(const std::vector<RankId>& ranks) {
  Json out = Json::array();
  for (const RankId rank : ranks) out.push_back(rank.value);
  return out;
}

std::vector<RankId> read_ids(const JsonView& view) {
  std::vector<RankId> out;
  for (const JsonView& id : view.elements()) out.push_back({count<std::uint32_t>(id)});
  return out;
}

Json op_json(const Op& op) {
  return Json::array(
      {name_of(op.work), name_of(op.pass), op.slot, op.layer, op.microbatch, op.chunk});
}

Op read_op(const JsonView& view) {
  static const std::vector<std::string> works = names_upto(Work::gather);
  static const std::vector<std::string> passes = names_upto(Pass::backward);
  constexpr std::size_t fields = 6;
  const std::vector<JsonView> parts = view.elements();
  if (parts.size() != fields) {
    view.fault("expected [work, pass, slot, layer, microbatch, chunk]");
    return {};
  }
  const auto index_of = [](const std::vector<std::string>& names, const std::string& name) {
    return static_cast<std::uint8_t>(std::find(names.begin(), names.end(), name) - names.begin());
  };
  Op op;
  op.work = static_cast<Work>(index_of(works, parts[0].name_of("kind of work", works)));
  op.pass = static_cast<Pass>(index_of(passes, parts[1].name_of("pass", passes)));
  op.slot = count<std::uint8_t>(parts[2]);
  op.layer = count<std::uint16_t>(parts[3]);
  op.microbatch = count<std::uint16_t>(parts[4]);
  op.chunk = count<std::uint16_t>(parts[5]);
  return op;
}

Replica read_replica(const JsonView& view) {
  Replica out;
  view.only_keys({"expert_on"});
  for (const JsonView& layer : view.at("expert_on").elements()) {
    out.expert_on.push_back(read_ids(layer));
  }
  return out;
}

Rank read_rank(const JsonView& view) {
  view.only_keys({"gpu", "program", "replica", "sequences", "groups"});
  Rank out;
  out.gpu = {count<std::uint32_t>(view.at("gpu"))};
  out.program = count<std::uint16_t>(view.at("program"));
  out.replica = count<std::uint16_t>(view.at("replica"));
  out.sequences = count<std::uint32_t>(view.at("sequences"));
  for (const JsonView& id : view.at("groups").elements()) {
    out.groups.push_back({count<std::uint32_t>(id)});
  }
  return out;
}

Schedule read_schedule_body(const JsonView& root) {
  Schedule out;
  out.layers = count<std::uint16_t>(root.at("layers"), 1);
  out.experts = count<std::uint16_t>(root.at("experts"), 1);
  out.microbatches = count<std::uint16_t>(root.at("microbatches"), 1);
  out.chunks = count<std::uint16_t>(root.at("chunks"), 1);
  for (const JsonView& program : root.at("programs").elements()) {
    auto& ops = out.programs.emplace_back();
    for (const JsonView& op : program.elements()) ops.push_back(read_op(op));
  }
  for (const JsonView& v : root.at("replicas").elements()) out.replicas.push_back(read_replica(v));
  for (const JsonView& v : root.at("ranks").elements()) out.ranks.push_back(read_rank(v));
  for (const JsonView& v : root.at("groups").elements()) out.groups.push_back(read_ids(v));
  return out;
}

/// The numbers that the schedule shares with its scenario.
void check_fit(const JsonView& root, const Schedule& schedule, const Scenario& scenario) {
  const auto require = [&](std::string_view key, std::size_t got, std::size_t expected) {
    if (got == expected) return;
    root.at(key).fault(
        fmt::format("expected {} as in the scenario's model, got {}", expected, got));
  };
  require("layers", schedule.layers, scenario.model.layers.size());
  require("experts", schedule.experts, scenario.model.experts);
  const std::size_t gpus = gpus_of(scenario.cluster).size();
  for (std::size_t r = 0; r < schedule.ranks.size(); ++r) {
    if (schedule.ranks[r].gpu.value < gpus) continue;
    root.at("ranks").fault(fmt::format("rank {} is on GPU {}, the cluster has {} GPUs", r,
                                       schedule.ranks[r].gpu.value, gpus));
  }
  std::uint64_t sequences = 0;
  for (const Rank& rank : schedule.ranks) {
    const bool first_stage =
        rank.program < schedule.programs.size() &&
        std::any_of(schedule.programs[rank.program].begin(), schedule.programs[rank.program].end(),
                    [](const Op& op) { return op.work == Work::attention && op.layer == 0; });
    if (first_stage) sequences += rank.sequences;
  }
  if (sequences != scenario.training.global_batch_sequences) {
    root.at("ranks").fault(
        fmt::format("the ranks own {} sequences, the scenario's global batch has {}", sequences,
                    scenario.training.global_batch_sequences));
  }
  for (std::size_t v = 0; v < schedule.replicas.size(); ++v) {
    const auto& placed = schedule.replicas[v].expert_on;
    for (std::size_t l = 0; l < std::min(placed.size(), scenario.model.layers.size()); ++l) {
      if (placed[l].empty() == !scenario.model.layers[l].has_experts) continue;
      root.at("replicas")
          .fault(fmt::format("replica {} {} layer {}, which has {} in the model", v,
                             placed[l].empty() ? "places no experts of" : "places experts of", l,
                             placed[l].empty() ? "some" : "none"));
    }
  }
}

const std::vector<std::string> schedule_keys = {"schema",       "scenario", "layers",   "experts",
                                                "microbatches", "chunks",   "programs", "replicas",
                                                "ranks",        "groups"};

ScheduleFile read_schedule_view(const JsonView& root, const std::string& name) {
  root.at("schema").name_of("schema", {"zebroid.schedule/1"});
  root.faults().throw_if_any();  // a file of another kind lacks everything else too
  root.only_keys(schedule_keys);
  ScheduleFile out;
  out.schedule = read_schedule_body(root);
  const JsonView scenario = root.at("scenario");
  root.faults().throw_if_any();
  out.scenario = read_scenario({name + ": " + scenario.pointer(), "", scenario.json()});
  check_fit(root, out.schedule, out.scenario);
  root.faults().throw_if_any();
  return out;
}

}  // namespace

Json to_json(const Schedule& schedule, const Scenario& scenario) {
  Json out;
  out["schema"] = "zebroid.schedule/1";
  out["scenario"] = to_json(scenario);
  out["layers"] = schedule.layers;
  out["experts"] = schedule.experts;
  out["microbatches"] = schedule.microbatches;
  out["chunks"] = schedule.chunks;
  Json& programs = out["programs"] = Json::array();
  for (const Program& program : schedule.programs) {
    Json ops = Json::array();
    for (const Op& op : program) ops.push_back(op_json(op));
    programs.push_back(std::move(ops));
  }
  Json& replicas = out["replicas"] = Json::array();
  for (const Replica& replica : schedule.replicas) {
    Json layers = Json::array();
    for (const auto& expert_on : replica.expert_on) layers.push_back(ids(expert_on));
    Json entry = Json::object();
    entry["expert_on"] = std::move(layers);
    replicas.push_back(std::move(entry));
  }
  Json& ranks = out["ranks"] = Json::array();
  for (const Rank& rank : schedule.ranks) {
    Json groups = Json::array();
    for (const GroupId group : rank.groups) groups.push_back(group.value);
    ranks.push_back({{"gpu", rank.gpu.value},
                     {"program", rank.program},
                     {"replica", rank.replica},
                     {"sequences", rank.sequences},
                     {"groups", std::move(groups)}});
  }
  Json& groups = out["groups"] = Json::array();
  for (const auto& group : schedule.groups) groups.push_back(ids(group));
  return out;
}

ScheduleFile read_schedule(const JsonDocument& document) {
  if (document.schema() == "zebroid.timeline/1") {
    return read_timeline(document).schedule;
  }
  Faults faults;
  return read_schedule_view(JsonView(document, faults), document.name);
}

Json to_json(const Timeline& timeline, const Schedule& schedule, const Scenario& scenario) {
  const std::vector<Gpu> gpus = gpus_of(scenario.cluster);
  const std::vector<std::string> rank_roles = roles(schedule);
  Json out;
  out["schema"] = "zebroid.timeline/1";
  out["origin"] = timeline.origin;
  out["iteration_s"] = timeline.makespan().value;
  if (timeline.overlap_fraction) {
    out["overlapped_communication_fraction"] = *timeline.overlap_fraction;
  }
  Json& ranks = out["ranks"] = Json::array();
  for (std::size_t r = 0; r < schedule.ranks.size(); ++r) {
    const Gpu& gpu = gpus[schedule.ranks[r].gpu.value];
    Json entry;
    entry["gpu"] = scenario.cluster.kinds[gpu.kind].name;
    entry["node"] = gpu.node;
    entry["role"] = rank_roles[r];
    for (const char* key : {"ready_s", "started_s", "ended_s", "sent_bytes", "rows"}) {
      entry[key] = Json::array();
    }
    for (const OpTimes& op : timeline.ranks[r]) {
      entry["ready_s"].push_back(op.ready.value);
      entry["started_s"].push_back(op.started.value);
      entry["ended_s"].push_back(op.ended.value);
      entry["sent_bytes"].push_back(op.sent.value);
      entry["rows"].push_back(op.rows);
    }
    ranks.push_back(std::move(entry));
  }
  out["schedule"] = to_json(schedule, scenario);
  return out;
}

TimelineFile read_timeline(const JsonDocument& document) {
  constexpr double longest_s = 1e12;
  Faults faults;
  const JsonView root(document, faults);
  root.only_keys({"schema", "origin", "iteration_s", "overlapped_communication_fraction", "ranks",
                  "schedule"});
  root.at("schema").name_of("schema", {"zebroid.timeline/1"});
  TimelineFile out;
  out.schedule = read_schedule_view(root.at("schedule"), document.name);
  refuse_faults(out.schedule.schedule, document.name);
  out.timeline.origin = root.at("origin").text();
  root.at("iteration_s").number(0, longest_s);
  if (const auto overlap = root.find("overlapped_communication_fraction")) {
    out.timeline.overlap_fraction = overlap->number(0, 1);
  }
  const std::vector<JsonView> ranks = root.at("ranks").elements();
  const Schedule& schedule = out.schedule.schedule;
  if (ranks.size() != schedule.ranks.size()) {
    root.at("ranks").fault(
        fmt::format("expected one entry for each of {} ranks", schedule.ranks.size()));
  }
  constexpr double most = 1e18;
  for (std::size_t r = 0; r < std::min(ranks.size(), schedule.ranks.size()); ++r) {
    ranks[r].only_keys(
        {"gpu", "node", "role", "ready_s", "started_s", "ended_s", "sent_bytes", "rows"});
    const std::size_t ops = schedule.program_of({static_cast<std::uint32_t>(r)}).size();
    const auto column = [&](std::string_view key, double high) {
      std::vector<double> numbers;
      for (const JsonView& v : ranks[r].at(key).elements()) numbers.push_back(v.number(0, high));
      if (numbers.size() != ops) {
        ranks[r].at(key).fault(fmt::format("expected {} numbers, one per op", ops));
        numbers.resize(ops);
      }
      return numbers;
    };
    const std::vector<double> ready = column("ready_s", longest_s);
    const std::vector<double> started = column("started_s", longest_s);
    const std::vector<double> ended = column("ended_s", longest_s);
    const std::vector<double> sent = column("sent_bytes", most);
    const std::vector<double> rows = column("rows", most);
    auto& times = out.timeline.ranks.emplace_back();
    for (std::size_t i = 0; i < ops; ++i) {
      if (ready[i] > started[i] || started[i] > ended[i]) {
        ranks[r].fault(fmt::format("op {} is not ready, started and ended in this order", i));
      }
      times.push_back({{ready[i]}, {started[i]}, {ended[i]}, {sent[i]}, rows[i]});
    }
  }
  faults.throw_if_any();
  return out;
}

std::vector<std::string> roles(const Schedule& schedule) {
  std::vector<std::set<std::uint16_t>> layers_of(schedule.programs.size());
  for (std::size_t p = 0; p < schedule.programs.size(); ++p) {
    for (const Op& op : schedule.programs[p]) {
      if (op.work == Work::attention) layers_of[p].insert(op.layer);
    }
  }
  std::vector<bool> has_pure_experts(schedule.replicas.size(), false);
  std::vector<std::set<std::uint16_t>> stage_starts(schedule.replicas.size());
  for (const Rank& rank : schedule.ranks) {
    const auto& layers = layers_of[rank.program];
    if (layers.empty()) {
      has_pure_experts[rank.replica] = true;
    } else {
      stage_starts[rank.replica].insert(*layers.begin());
    }
  }
  std::vector<std::string> out;
  for (const Rank& rank : schedule.ranks) {
    const auto& layers = layers_of[rank.program];
    const auto& starts = stage_starts[rank.replica];
    if (layers.empty()) {
      out.emplace_back("expert");
    } else if (has_pure_experts[rank.replica]) {
      out.emplace_back("attention");
    } else if (starts.size() > 1) {
      out.push_back(
          fmt::format("stage-{}", std::distance(starts.begin(), starts.find(*layers.begin()))));
    } else {
      out.emplace_back("all");
    }
  }
  return out;
}

}  // namespace zebroid
