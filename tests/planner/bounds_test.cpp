#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/error.hpp"
#include "models/config_dir.hpp"
#include "planner/expert_parallel_bound.hpp"
#include "planner/listing.hpp"
#include "planner/pipeline_run.hpp"
#include "planner/planner.hpp"
#include "planner/zebra_bound.hpp"
#include "sim/simulate.hpp"
#include "tests/support/random_schedules.hpp"
#include "tests/support/scenarios.hpp"

namespace zebroid {
namespace {

using testing::make_scenario;
using testing::Nodes;
using testing::random_cluster;

double makespan_of(const Scenario& scenario, const Schedule& schedule) {
  const SimulateOptions free_run = {.launch_rule = false, .verified = true};
  return simulate(schedule, PredictedLoad(schedule, scenario), free_run).makespan().value;
}

/// When the last gradient is computed. Bounds leave out what follows, the sums, which would hide
/// much of what they might get wrong.
double backward_end_of(const Scenario& scenario, const Schedule& schedule) {
  const SimulateOptions free_run = {.launch_rule = false, .verified = true};
  const Timeline timeline = simulate(schedule, PredictedLoad(schedule, scenario), free_run);
  Seconds end;
  for (std::uint32_t r = 0; r < schedule.ranks.size(); ++r) {
    const Program& program = schedule.program_of({r});
    for (std::size_t i = 0; i < program.size(); ++i) {
      if (program[i].work == Work::attention) end = std::max(end, timeline.ranks[r][i].ended);
    }
  }
  return end.value;
}

Scenario scenario_of(const std::string& model, const std::string& cluster,
                     std::uint32_t sequence_length) {
  Scenario out;
  out.model_name = model;
  const JsonDocument config = read_json((config_dir() / "models" / (model + ".json")).string());
  out.model_config = config.root;
  out.model = read_model(config, model);
  out.cluster = load_cluster(cluster, parse_bandwidth("100Gbps"));
  out.training.sequence_length = sequence_length;
  out.calibration = load_calibration({});
  return out;
}

void set_routing(Scenario& scenario, const std::string& spec, std::uint64_t seed) {
  scenario.routing.spec = spec;
  scenario.routing.seed = seed;
  std::vector<bool> has_experts;
  for (const Layer& layer : scenario.model.layers) has_experts.push_back(layer.has_experts);
  scenario.shares =
      make_routing(scenario.routing, has_experts, scenario.model.experts, scenario.model.top_k);
}

std::string few_gpus(std::size_t least_kinds) {
  return random_cluster(*rc::gen::inRange<std::size_t>(least_kinds, 4),
                        *rc::gen::element(Nodes::of_one, Nodes::of_several));
}

/// Beyond 16 ranks that share ports the engine takes exchanges as a whole.
std::string few_or_many_gpus(std::size_t least_kinds) {
  const bool many = *rc::gen::weightedElement<bool>({{1, true}, {9, false}});
  return many ? "5x2xA40,5x2xV100-16GB" : few_gpus(least_kinds);
}

void share_ports(Cluster& cluster) {
  const BytesPerSecond narrow = parse_bandwidth("50Gbps");
  if (*rc::gen::arbitrary<bool>()) cluster.racks.push_back({"r0", narrow});
  for (NodeGroup& row : cluster.rows) {
    if (*rc::gen::arbitrary<bool>()) row.nic = parse_bandwidth("2Gbps");
    if (*rc::gen::arbitrary<bool>()) row.nics = 2;
    if (*rc::gen::arbitrary<bool>()) row.host_bridge = narrow;
    if (!cluster.racks.empty() && *rc::gen::arbitrary<bool>()) row.rack = "r0";
  }
  if (cluster.rows.size() < 3 || *rc::gen::arbitrary<bool>()) return;
  NodeGroup& with = cluster.rows[1];  // one node of two kinds
  for (NodeGroup* row : {&cluster.rows[0], &with}) {
    const NodeGroup own = *row;
    *row = with;
    row->gpu = own.gpu;
    row->count = own.count;
    row->gpus_per_node = own.count;
    row->node = "mixed";
  }
}

/// Of some operations, over each kind and over all together, in groups of any shape; from faster
/// than the ports to slower than the cluster's latency.
void measure_collectives(Scenario& scenario) {
  std::vector<CollectiveFit> fits;
  for (const MeasuredOp op :
       {MeasuredOp::all_to_all, MeasuredOp::all_reduce, MeasuredOp::reduce_scatter,
        MeasuredOp::all_gather, MeasuredOp::send_recv}) {
    if (*rc::gen::weightedElement<bool>({{1, true}, {3, false}})) continue;
    const AlphaBeta piece{0, *rc::gen::element(0.0, 5.0, 5000.0), *rc::gen::element(0.5, 8.0, 1e4)};
    for (std::uint32_t ranks = 2; ranks <= 16; ++ranks) {
      for (std::uint32_t per_node = 1; per_node <= ranks; ++per_node) {
        fits.push_back({op, ranks, per_node, {piece}, Evidence::measured, ""});
      }
    }
  }
  std::vector<std::string> names;
  for (const GpuSpec& kind : scenario.cluster.kinds) {
    names.push_back(kind.name);
    scenario.calibration.gpus[kind.name].collectives = fits;
  }
  scenario.calibration.gpus[name_of_group(names)].collectives = fits;
}

/// Several kinds, GPUs per node, host bridges and racks; dense layers, skewed routing, any way to
/// recompute; narrow models, in which latencies count, and a real one, in which work does.
Scenario random_scenario(const std::string& cluster) {
  const auto batch = *rc::gen::inRange<std::uint64_t>(30, 50);
  Scenario out;
  if (*rc::gen::weightedElement<int>({{3, 0}, {1, 1}}) == 0) {
    const int layers = *rc::gen::inRange(1, 5);
    out = make_scenario({.layers = layers,
                         .experts = *rc::gen::inRange(12, 30),
                         .dense_layers = *rc::gen::inRange(0, layers),
                         .cluster = cluster,
                         .sequence_length = *rc::gen::element(7U, 128U, 1024U),
                         .batch = batch});
  } else {
    out = scenario_of(*rc::gen::element<std::string>("mixtral-d1", "mixtral-d2"), cluster,
                      *rc::gen::element(512U, 4096U));
    out.training.global_batch_sequences = batch;
  }
  set_routing(
      out, *rc::gen::element<std::string>("uniform", "lognormal:0.3", "lognormal:2", "lognormal:8"),
      *rc::gen::inRange<std::uint64_t>(0, 1000));
  out.training.recompute =
      *rc::gen::element(Recompute::automatic, Recompute::none, Recompute::module, Recompute::layer);
  if (*rc::gen::arbitrary<bool>()) out.cluster.latency = {0.001};
  if (*rc::gen::weightedElement<bool>({{1, true}, {2, false}})) measure_collectives(out);
  share_ports(out.cluster);
  return out;
}

/// On each GPU, so that shares differ much, and there are few numbers of microbatches to try.
void few_sequences(Scenario& scenario) {
  const std::size_t gpus = gpus_of(scenario.cluster).size();
  scenario.training.global_batch_sequences = *rc::gen::inRange<std::uint64_t>(gpus, 5 * gpus);
}

GpuList all_gpus(const Scenario& scenario) {
  GpuList out;
  for (std::uint32_t g = 0; g < gpus_of(scenario.cluster).size(); ++g) out.push_back({g});
  return out;
}

/// The first kinds do attention.
ZebraShape zebra_shape(const Scenario& scenario, std::uint32_t attention_kinds,
                       std::uint32_t groups, std::uint32_t microbatches) {
  std::vector<std::uint32_t> roles[2];
  for (std::uint32_t k = 0; k < scenario.cluster.kinds.size(); ++k) {
    roles[k < attention_kinds ? 0 : 1].push_back(k);
  }
  const GpuList attention = gpus_of_kinds(scenario.cluster, roles[0]);
  const GpuList experts = gpus_of_kinds(scenario.cluster, roles[1]);
  groups =
      static_cast<std::uint32_t>(std::min<std::size_t>({groups, attention.size(), experts.size()}));
  RoleGroups role_groups;
  for (std::uint32_t g = 0; g < groups; ++g) {
    role_groups.push_back({cut_into_groups(scenario.cluster, attention, groups)[g],
                           cut_into_groups(scenario.cluster, experts, groups)[g]});
  }
  ZebraShape out = zebra_shape(role_groups, microbatches);
  place_evenly(scenario.model, std::vector<std::uint32_t>(scenario.model.layers.size(), 0), out);
  return out;
}

/// In every layer with experts another number that moves, up to more than there are, or each expert
/// anywhere.
ZebraShape random_zebra_shape(const Scenario& scenario) {
  const auto kinds = static_cast<std::uint32_t>(scenario.cluster.kinds.size());
  ZebraShape out = zebra_shape(scenario, *rc::gen::inRange(1U, kinds), *rc::gen::inRange(1U, 4U),
                               *rc::gen::inRange(1U, 4U));
  const auto gpus = static_cast<std::uint32_t>(out.groups.front().experts.size());
  RC_PRE(gpus <= scenario.model.experts);
  const std::uint32_t most = scenario.model.experts / gpus + 2;
  const auto offload = *rc::gen::element(0U, most / 2, most);
  out.chunks = *rc::gen::element(1U, 1U, 3U);
  if (*rc::gen::weightedElement<bool>({{1, true}, {3, false}})) {
    testing::place_randomly(scenario.model, out);
    return out;
  }
  std::vector<std::uint32_t> moved;
  for (std::size_t l = 0; l < scenario.model.layers.size(); ++l) {
    moved.push_back(*rc::gen::inRange(0U, offload + 1));
  }
  place_evenly(scenario.model, moved, out);
  return out;
}

RC_GTEST_PROP(ZebraBound, IsNoLaterThanTheEndOfBackwardInTheSimulation, ()) {
  const Scenario scenario = random_scenario(few_or_many_gpus(2));
  const ZebraShape shape = random_zebra_shape(scenario);
  const double end = backward_end_of(scenario, zebra_schedule(scenario, shape)) * (1 + 1e-9);
  RC_ASSERT(zebra_bound(scenario, shape).value <= end);
  ZebraShape even = shape;
  place_evenly(scenario.model, std::vector<std::uint32_t>(scenario.model.layers.size(), 0), even);
  const std::vector<Placement> choices = {even.groups.front().placement,
                                          shape.groups.front().placement};
  RC_ASSERT(zebra_bound_of_all(scenario, shape, choices).value <= end);
}

RC_GTEST_PROP(ZebraBound, HoldsForAnyOrderOfComputeWhenAskedTo, ()) {
  const Scenario scenario = random_scenario(few_or_many_gpus(2));
  const ZebraShape shape = random_zebra_shape(scenario);
  const Schedule schedule = zebra_schedule(scenario, shape);
  const Timeline run = simulate(schedule, PredictedLoad(schedule, scenario),
                                {.launch_rule = false, .compute_in_order = false});
  const Schedule ordered = order_by_start(schedule, run);
  const double bound = zebra_bound(scenario, shape, ComputeOrder::any).value;
  RC_ASSERT(bound <= zebra_bound(scenario, shape).value * (1 + 1e-9));
  RC_ASSERT(bound <= backward_end_of(scenario, schedule) * (1 + 1e-9));
  RC_ASSERT(bound <= backward_end_of(scenario, ordered) * (1 + 1e-9));
}

TEST(ZebraBound, IsWithinTwoPercentOfTheSimulationForMixtralOnTwelveGpus) {
  Scenario scenario = scenario_of("mixtral-d1", "6xA40,6xV100-16GB", 32768);
  set_routing(scenario, "uniform", 0);
  scenario.training.global_batch_sequences = default_global_batch(scenario);
  const ZebraShape shape = zebra_shape(scenario, 1, 1, 4);
  const double makespan = makespan_of(scenario, zebra_schedule(scenario, shape));
  const double bound = zebra_bound(scenario, shape).value;
  EXPECT_LE(bound, makespan);
  EXPECT_GE(bound, 0.98 * makespan);
}

TEST(ZebraBound, CountsNoLatencyWhereTheOnlyAttentionGpuHoldsAllExperts) {
  Scenario scenario = make_scenario({.layers = 1, .experts = 4, .cluster = "1xA40,2xV100-16GB"});
  ZebraShape shape = zebra_shape(scenario, 1, 1, 1);
  place_evenly(scenario.model, {2}, shape);
  scenario.cluster.latency = {0};
  const double without = zebra_bound(scenario, shape).value;
  scenario.cluster.latency = {1000};
  EXPECT_EQ(zebra_bound(scenario, shape).value, without);
}

ExpertParallelShape random_ep_shape(const Scenario& scenario) {
  const GpuList all = all_gpus(scenario);
  const auto groups = static_cast<std::uint32_t>(
      *rc::gen::inRange<std::size_t>(1, std::min<std::size_t>(all.size(), 3) + 1));
  ExpertParallelShape out;
  out.groups = with_both_roles(cut_into_groups(scenario.cluster, all, groups));
  out.microbatches = *rc::gen::inRange(
      1U,
      static_cast<std::uint32_t>(
          std::min<std::uint64_t>(scenario.training.global_batch_sequences / all.size(), 3) + 1));
  out.chunks = *rc::gen::inRange(1U, 6U);
  RC_PRE(std::all_of(out.groups.begin(), out.groups.end(), [&](const RoleGroup& group) {
    return group.experts.size() <= scenario.model.experts;
  }));
  return out;
}

RC_GTEST_PROP(ExpertParallelBound, IsNoLaterThanTheEndOfBackwardInTheSimulation, ()) {
  Scenario scenario = random_scenario(few_or_many_gpus(1));
  few_sequences(scenario);
  const ExpertParallelShape shape = random_ep_shape(scenario);
  const double end = backward_end_of(scenario, expert_parallel_schedule(scenario, shape));
  RC_ASSERT(expert_parallel_bound(scenario, shape).value <= end * (1 + 1e-9));
}

TEST(ExpertParallelBound, IsWithinThreePercentOfTheSimulationForMixtralOnTwelveGpus) {
  Scenario scenario = scenario_of("mixtral-d1", "o1", 16384);
  set_routing(scenario, "uniform", 0);
  scenario.training.global_batch_sequences = default_global_batch(scenario);
  ExpertParallelShape shape;
  shape.groups = with_both_roles(cut_into_groups(scenario.cluster, all_gpus(scenario), 2));
  shape.chunks = 8;
  const double makespan = makespan_of(scenario, expert_parallel_schedule(scenario, shape));
  const double bound = expert_parallel_bound(scenario, shape).value;
  EXPECT_LE(bound, makespan);
  EXPECT_GE(bound, 0.97 * makespan);
}

RC_GTEST_PROP(PipelineBound, IsNoLaterThanTheSimulation, ()) {
  Scenario scenario = random_scenario(few_or_many_gpus(1));
  scenario.training.global_batch_sequences =
      *rc::gen::inRange<std::uint64_t>(4, 8) * gpus_of(scenario.cluster).size();
  if (*rc::gen::arbitrary<bool>()) {
    scenario.training.optimizer_sharding = *rc::gen::arbitrary<bool>();
  }
  const PipelineShape shape = testing::random_pipelines(scenario);
  PipelineCosts costs(scenario);
  const double bound = pipeline_bound(scenario, costs, shape).value;
  RC_ASSERT(bound <= makespan_of(scenario, pipeline_schedule(scenario, shape)) * (1 + 1e-9));
}

TEST(PipelineBound, IsWithinAPercentOfTheSimulationForMixtralOnTwelveGpus) {
  Scenario scenario = scenario_of("mixtral-d1", "o1", 16384);
  set_routing(scenario, "uniform", 0);
  PipelineShape shape;
  shape.microbatches = 8;
  for (std::uint32_t v = 0; v < 6; ++v) {
    shape.pipelines.push_back({{{{v}, 0, 6}, {{v + 6}, 6, 8}}, 8});
  }
  scenario.training.global_batch_sequences = 48;
  const double makespan = makespan_of(scenario, pipeline_schedule(scenario, shape));
  PipelineCosts costs(scenario);
  const double bound = pipeline_bound(scenario, costs, shape).value;
  EXPECT_LE(bound, makespan * (1 + 1e-9));
  EXPECT_GE(bound, 0.99 * makespan);
}

/// What the planner says, also when it refuses.
struct Answer {
  std::optional<Plan> plan;
  std::string refusal;
};

Answer answer(const Scenario& scenario, PlanRequest request, bool exhaustive) {
  request.exhaustive = exhaustive;
  try {
    return {plan(scenario, request, testing::fast_scorer()), ""};
  } catch (const Error& error) {
    return {std::nullopt, error.what()};
  }
}

std::vector<Bytes> total_memory(const Plan& plan) {
  std::vector<Bytes> out;
  for (const MemoryUse& use : plan.memory) out.push_back(use.total());
  return out;
}

void expect_equal_plans(const Scenario& scenario, const PlanRequest& request) {
  const Answer bounded = answer(scenario, request, false);
  const Answer all = answer(scenario, request, true);
  RC_ASSERT(bounded.refusal == all.refusal);
  RC_ASSERT(bounded.plan.has_value() == all.plan.has_value());
  if (!all.plan) return;
  RC_ASSERT(bounded.plan->schedule == all.plan->schedule);
  RC_ASSERT(bounded.plan->timeline == all.plan->timeline);
  RC_ASSERT(total_memory(*bounded.plan) == total_memory(*all.plan));
  RC_ASSERT(bounded.plan->offloaded == all.plan->offloaded);
  RC_ASSERT(bounded.plan->lacks_memory == all.plan->lacks_memory);
  RC_ASSERT(bounded.plan->notes == all.plan->notes);
  RC_ASSERT(bounded.plan->candidates_simulated <= all.plan->candidates_simulated);
}

/// Memory from plenty down to none beyond what the runtime takes, so that all, some or no
/// candidates fit.
Scenario random_scenario_with_memory(std::size_t least_kinds) {
  Scenario out = random_scenario(few_gpus(least_kinds));
  const int bits = *rc::gen::inRange(24, 38);
  for (GpuSpec& kind : out.cluster.kinds) kind.memory = gibibytes(1) + Bytes{std::exp2(bits)};
  return out;
}

RC_GTEST_PROP(Planner, FindsTheSameZebraPlanWithAndWithoutBounds, ()) {
  PlanRequest request;
  request.assignment =
      *rc::gen::element(ExpertAssignment::even, ExpertAssignment::gather_and_squeeze,
                        ExpertAssignment::gather_and_squeeze_printed);
  if (*rc::gen::arbitrary<bool>()) request.groups = *rc::gen::inRange(1U, 4U);
  expect_equal_plans(random_scenario_with_memory(2), request);
}

RC_GTEST_PROP(Planner, FindsTheSameExpertParallelPlanWithAndWithoutBounds, ()) {
  PlanRequest request;
  request.strategy = Strategy::expert_parallel;
  if (*rc::gen::arbitrary<bool>()) request.groups = *rc::gen::inRange(1U, 4U);
  if (*rc::gen::arbitrary<bool>()) request.microbatches = *rc::gen::inRange(1U, 4U);
  Scenario scenario = random_scenario_with_memory(1);
  few_sequences(scenario);
  expect_equal_plans(scenario, request);
}

RC_GTEST_PROP(Planner, FindsTheSamePipelinesWithAndWithoutBounds, ()) {
  Scenario scenario = random_scenario_with_memory(1);
  const std::size_t gpus = gpus_of(scenario.cluster).size();
  RC_PRE(gpus <= 8U);
  scenario.training.global_batch_sequences = *rc::gen::inRange<std::uint64_t>(gpus, 4 * gpus);
  PlanRequest request;
  request.strategy = Strategy::pipeline;
  request.groups = *rc::gen::inRange(1U, 4U);
  if (*rc::gen::arbitrary<bool>()) request.microbatches = *rc::gen::inRange(1U, 5U);
  expect_equal_plans(scenario, request);
}

}  // namespace
}  // namespace zebroid
