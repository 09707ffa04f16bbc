#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>
#include <string>
#include <vector>

#include "core/error.hpp"
#include "models/config_dir.hpp"
#include "planner/listing.hpp"
#include "planner/planner.hpp"
#include "planner/zebra.hpp"
#include "schedule/verify.hpp"
#include "sim/simulate.hpp"
#include "tests/support/random_schedules.hpp"
#include "tests/support/scenarios.hpp"

namespace zebroid {
namespace {

using testing::make_scenario;
using testing::Nodes;
using testing::random_cluster;
using testing::random_zebra;

const SimulateOptions in_order = {.launch_rule = false, .verified = true};
const SimulateOptions out_of_order = {
    .launch_rule = false, .compute_in_order = false, .verified = true};

Plan plan_with(const Scenario& scenario, ExpertAssignment assignment) {
  PlanRequest request;
  request.assignment = assignment;
  return plan(scenario, request, testing::fast_scorer());
}

Scenario mixtral(const std::string& cluster, int experts) {
  Scenario out;
  out.model_name = "mixtral-d1";
  JsonDocument config = read_json((config_dir() / "models" / "mixtral-d1.json").string());
  config.root["num_local_experts"] = experts;
  out.model_config = config.root;
  out.model = read_model(config, out.model_name);
  out.cluster = load_cluster(cluster, parse_bandwidth("100Gbps"));
  out.calibration = load_calibration({});
  out.shares = make_routing(out.routing, std::vector<bool>(out.model.layers.size(), true),
                            out.model.experts, out.model.top_k);
  out.training.global_batch_sequences = default_global_batch(out);
  return out;
}

TEST(Optimal, IsAFifthFasterThanBothOthersWhereThreeExpertGpusServeFourAttentionGpus) {
  const Scenario scenario = mixtral("4xA40,3xV100-16GB", 12);
  const Plan best = plan_with(scenario, ExpertAssignment::optimal);
  EXPECT_EQ(best.lacks_memory, "");
  EXPECT_GT(std::accumulate(best.offloaded.begin(), best.offloaded.end(), 0U), 0U);
  for (const auto other : {ExpertAssignment::even, ExpertAssignment::gather_and_squeeze}) {
    EXPECT_LT(1.2 * best.timeline.makespan(), plan_with(scenario, other).timeline.makespan());
  }
}

/// Little memory, so that some, all or no experts have to leave the expert GPUs, or nothing fits.
Scenario random_scenario() {
  const int layers = *rc::gen::inRange(1, 5);
  Scenario out = make_scenario(
      {.layers = layers,
       .experts = *rc::gen::inRange(6, 13),
       .dense_layers = *rc::gen::inRange(0, layers),
       .cluster = random_cluster(*rc::gen::inRange<std::size_t>(2, 4),
                                 *rc::gen::element(Nodes::of_one, Nodes::of_several)),
       .sequence_length = *rc::gen::element(128U, 2048U),
       .batch = *rc::gen::inRange<std::uint64_t>(12, 40),
       .routing = *rc::gen::element<std::string>("uniform", "lognormal:0.7", "lognormal:2")});
  if (*rc::gen::arbitrary<bool>()) {
    const int bits = *rc::gen::inRange(24, 34);
    for (GpuSpec& kind : out.cluster.kinds) kind.memory = gibibytes(1) + Bytes{std::exp2(bits)};
  }
  out.training.recompute =
      *rc::gen::element(Recompute::automatic, Recompute::none, Recompute::module, Recompute::layer);
  return out;
}

RC_GTEST_PROP(Optimal, IsNeverWorseThanEvenAndGatherAndSqueeze, ()) {
  const Scenario scenario = random_scenario();
  std::optional<Plan> best;
  try {
    best = plan_with(scenario, ExpertAssignment::optimal);
  } catch (const Error& error) {
    RC_ASSERT(error.kind() == ErrorKind::input);
    RC_DISCARD("no zebra");
  }
  for (const auto assignment : {ExpertAssignment::even, ExpertAssignment::gather_and_squeeze}) {
    const Plan other = plan_with(scenario, assignment);
    RC_ASSERT(best->lacks_memory.empty() || !other.lacks_memory.empty());
    if (best->lacks_memory.empty() != other.lacks_memory.empty()) continue;
    RC_ASSERT(best->timeline.makespan() <= other.timeline.makespan());
  }
}

RC_GTEST_PROP(Optimal, MakesSoundPlansThatTheLaunchRuleDoesNotSlowDown, ()) {
  const Scenario scenario = random_scenario();
  PlanRequest request;
  request.assignment = ExpertAssignment::optimal;
  if (*rc::gen::arbitrary<bool>()) request.chunks = *rc::gen::inRange(1U, 4U);
  if (*rc::gen::arbitrary<bool>()) request.microbatches = *rc::gen::inRange(1U, 4U);
  if (*rc::gen::arbitrary<bool>()) request.groups = *rc::gen::inRange(1U, 3U);
  try {
    const Plan made = plan(scenario, request, testing::fast_scorer());
    RC_ASSERT(verify(made.schedule).empty());
    RC_ASSERT(!request.chunks || made.schedule.chunks == *request.chunks);
    const PredictedLoad load(made.schedule, scenario);
    RC_ASSERT(simulate(made.schedule, load, in_order).makespan() == made.timeline.makespan());
    RC_ASSERT(plan(scenario, request, testing::fast_scorer()).schedule == made.schedule);
  } catch (const Error& error) {
    RC_ASSERT(error.kind() == ErrorKind::input);
  }
}

// --- orders that conserve work ---

RC_GTEST_PROP(OrderByStart, LeavesEveryTimeOfARunOutOfOrderAsItWas, ()) {
  const testing::Case c = random_zebra();
  const testing::RandomLoad load = testing::random_load(c);
  const Timeline run = simulate(c.schedule, load, out_of_order);
  const Schedule ordered = order_by_start(c.schedule, run);
  RC_ASSERT(verify(ordered).empty());
  const Timeline again = simulate(ordered, load, in_order);
  RC_ASSERT(again.makespan() == run.makespan());
  const Schedule listed = list_by_start(ordered, again);
  RC_ASSERT(verify(listed).empty());
  RC_ASSERT(simulate(listed, load).makespan() == run.makespan());
}

/// One attention and one expert GPU without recomputation, whose sums and steps take no time.
struct OnePlusOne {
  OnePlusOne(int layers, std::uint32_t microbatches, std::uint32_t moved)
      : scenario(make_scenario({.layers = layers,
                                .experts = 4,
                                .cluster = "1xA40,1xV100-16GB",
                                .batch = microbatches})),
        load(scenario) {
    scenario.training.recompute = Recompute::none;
    ZebraShape shape =
        zebra_shape({{gpus_of_kinds(scenario.cluster, {0}), gpus_of_kinds(scenario.cluster, {1})}},
                    microbatches);
    place_evenly(scenario.model, std::vector(scenario.model.layers.size(), moved), shape);
    schedule = zebra_schedule(scenario, shape);
  }
  double started(const Op& op, const SimulateOptions& options) const {
    const Program& program = schedule.program_of({0});
    const auto i = std::find(program.begin(), program.end(), op) - program.begin();
    return simulate(schedule, load, options).ranks[0][static_cast<std::size_t>(i)].started.value;
  }
  Scenario scenario;
  testing::TableLoad load;
  Schedule schedule;
};

/// Attention takes 4 and 8, experts 5 and 10, the head 4 and 8, communication nothing. 192 is
/// possible.
TEST(OutOfOrder, IsNoWorseWhereTheOrderByLayersIsNotBest) {
  OnePlusOne c(3, 4, 0);
  c.load.seconds_of = [](RankId, const Op& op) {
    if (op.work == Work::step) return 0.0;
    return (op.work == Work::expert ? 5.0 : 4.0) * (op.pass == Pass::backward ? 2 : 1);
  };
  EXPECT_EQ(simulate(c.schedule, c.load, in_order).makespan().value, 195);
  EXPECT_LE(simulate(c.schedule, c.load, out_of_order).makespan().value, 195);
}

/// All ops take 1 s, the dispatch of microbatch 1 in layer 0 takes 5 s. Attention GPU 0 lists
/// A0.0 A0.1 E0.0 E0.1 A1.0: E0.1 can run after 7 s, A1.0 after 3 s.
TEST(OutOfOrder, RunsTheFirstListedOfThoseThatCanRun) {
  OnePlusOne c(2, 2, 1);
  c.load.seconds_of = [](RankId, const Op& op) { return op.work == Work::step ? 0.0 : 1.0; };
  c.load.bytes_of = [](const Op& op, RankId from, RankId /*to*/) {
    const bool is_long = op.work == Work::dispatch && op.pass == Pass::forward && op.layer == 0 &&
                         op.microbatch == 1 && from.value == 0;
    return is_long ? 5 * 12.5e9 : 0.0;
  };
  const Op expert{Work::expert, Pass::forward, 0, 0, 0, 0};
  const Op attention{Work::attention, Pass::forward, 0, 1, 0, 0};
  for (const SimulateOptions& options : {in_order, out_of_order}) {
    EXPECT_EQ(c.started(expert, options), 2);
  }
  EXPECT_EQ(c.started(attention, in_order), 8);
  EXPECT_EQ(c.started(attention, out_of_order), 3);
  const Timeline run = simulate(c.schedule, c.load, out_of_order);
  c.schedule = order_by_start(c.schedule, run);
  EXPECT_EQ(c.started(attention, in_order), 3);
}

}  // namespace
}  // namespace zebroid
