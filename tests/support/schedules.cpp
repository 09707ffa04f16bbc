#include "tests/support/schedules.hpp"

#include <algorithm>
#include <regex>
#include <sstream>
#include <stdexcept>
#include <utility>

#include "planner/expert_parallel.hpp"
#include "planner/listing.hpp"
#include "planner/pipeline.hpp"
#include "planner/zebra.hpp"
#include "schedule/predicted_load.hpp"
#include "tests/support/scenarios.hpp"

namespace zebroid::testing {
namespace {

struct Symbol {
  const char* text;
  Work work;
};
constexpr Symbol symbols[] = {
    {"A", Work::attention},
    {"E", Work::expert},
    {"H", Work::head},
    {"D", Work::dispatch},
    {"C", Work::combine},
    {"S", Work::stage},
    {"sum", Work::reduce_shared},
    {"esum", Work::reduce_experts},
    {"norm", Work::reduce_norm},
    {"step", Work::step},
    {"gather", Work::gather},
};

Op op_of(const std::string& text, std::uint16_t layers) {
  static const std::regex form(R"(([A-Za-z]+)(['*]?)(\d*)(?:\.(\d+))?(?:\.(\d+))?(?:@(\d+))?)");
  std::smatch parts;
  const auto symbol = std::regex_match(text, parts, form)
                          ? std::find_if(std::begin(symbols), std::end(symbols),
                                         [&](const Symbol& s) { return parts[1] == s.text; })
                          : std::end(symbols);
  if (symbol == std::end(symbols)) throw std::invalid_argument("not an op: " + text);
  const auto number = [&](std::size_t part, int otherwise) {
    return static_cast<std::uint16_t>(parts[part].length() > 0 ? std::stoi(parts[part])
                                                               : otherwise);
  };
  Op op;
  op.work = symbol->work;
  op.pass = parts[2] == "'" ? Pass::backward : parts[2] == "*" ? Pass::recompute : Pass::forward;
  if (op.work == Work::step || op.work >= Work::reduce_shared) op.pass = Pass::backward;
  op.layer = number(3, 0);
  op.microbatch = number(4, 0);
  op.chunk = number(5, 0);
  if (op.work == Work::head) op.microbatch = std::exchange(op.layer, layers - 1);
  op.slot = static_cast<std::uint8_t>(number(6, is_exchange(op.work) ? 1 : 0));
  return op;
}

}  // namespace

Schedule listed(const Schedule& schedule, const Scenario& scenario) {
  return list_by_start(
      schedule, fast_scorer()(schedule, PredictedLoad(schedule, scenario), {.launch_rule = false}));
}

Schedule small_zebra(const Scenario& scenario, std::uint32_t groups, std::uint32_t offloaded) {
  RoleGroups roles;
  const auto attention =
      cut_into_groups(scenario.cluster, gpus_of_kinds(scenario.cluster, {0}), groups);
  const auto experts =
      cut_into_groups(scenario.cluster, gpus_of_kinds(scenario.cluster, {1}), groups);
  for (std::uint32_t g = 0; g < groups; ++g) roles.push_back({attention[g], experts[g]});
  ZebraShape shape = zebra_shape(roles, 2);
  std::vector<std::uint32_t> offload(scenario.model.layers.size(), 0);
  offload.back() = offloaded;
  place_evenly(scenario.model, offload, shape);
  return listed(zebra_schedule(scenario, shape), scenario);
}

Schedule small_ep(const Scenario& scenario, std::uint32_t chunks) {
  ExpertParallelShape shape;
  shape.groups = with_both_roles({gpus_of_kinds(scenario.cluster, {0, 1})});
  shape.chunks = chunks;
  return listed(expert_parallel_schedule(scenario, shape), scenario);
}

Schedule small_pp(const Scenario& scenario) {
  const auto layers = static_cast<std::uint16_t>(scenario.model.layers.size());
  const auto half = static_cast<std::uint16_t>(layers / 2);
  PipelineShape shape;
  shape.microbatches = 2;
  const auto per_pipeline =
      static_cast<std::uint32_t>(scenario.training.global_batch_sequences / 2);
  for (const std::uint32_t v : {0U, 1U}) {
    shape.pipelines.push_back({{{{v}, 0, half}, {{v + 2}, half, layers}}, per_pipeline});
  }
  return listed(pipeline_schedule(scenario, shape), scenario);
}

std::vector<Case> small_cases() {
  const Scenario plain = make_scenario({});
  const Scenario dense = make_scenario({.layers = 3, .dense_layers = 1});
  const Scenario wide = make_scenario({.cluster = "2xA40,2xV100-16GB"});
  const Scenario few = make_scenario({.experts = 2});
  Scenario sharded = plain;
  sharded.training.optimizer_sharding = true;
  const Scenario deep = make_scenario({.layers = 4, .cluster = "2xA40,2xV100-16GB"});
  return {{plain, small_zebra(plain, 1, 1)},
          {dense, small_zebra(dense, 1, 0)},
          {wide, small_zebra(wide, 2, 1)},
          {few, small_ep(few, 2)},  // one rank holds no expert of a layer
          {sharded, small_ep(sharded, 1)},
          {deep, small_pp(deep)}};
}

Case two_stages() {
  Case out{make_scenario({.experts = 2, .cluster = "3xA40"}), {}};
  Schedule& schedule = out.schedule;
  schedule.layers = schedule.experts = schedule.microbatches = 2;
  schedule.chunks = 1;
  schedule.programs = {
      ops("A0.0 D0.0 E0.0 C0.0 S1.0@2 A0.1 D0.1 E0.1 C0.1 S1.1@2 "
          "S'1.0@2 D'0.0 E'0.0 C'0.0 A'0.0 S'1.1@2 D'0.1 E'0.1 C'0.1 A'0.1 sum0 norm@2 step",
          2),
      ops("S1.0 A1.0 E1.0 H0 H'0 E'1.0 A'1.0 S'1.0 S1.1 A1.1 E1.1 H1 H'1 E'1.1 A'1.1 S'1.1 "
          "norm step",
          2)};
  schedule.replicas = {{{{{0}, {1}}, {{2}, {2}}}}};
  schedule.ranks = {{{0}, 0, 0, 2, {{0}, {1}}}, {{1}, 0, 0, 2, {{0}, {1}}}, {{2}, 1, 0, 4, {{1}}}};
  schedule.groups = {{{0}, {1}}, {{0}, {1}, {2}}};
  return out;
}

Program ops(const std::string& text, std::uint16_t layers) {
  std::istringstream words(text);
  Program out;
  for (std::string word; words >> word;) out.push_back(op_of(word, layers));
  return out;
}

}  // namespace zebroid::testing
