#include "planner/pipeline.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "core/error.hpp"
#include "planner/planner.hpp"
#include "schedule/files.hpp"
#include "schedule/verify.hpp"
#include "sim/simulate.hpp"
#include "tests/support/scenarios.hpp"
#include "tests/support/schedules.hpp"

namespace zebroid {
namespace {

using ::testing::HasSubstr;
using testing::make_scenario;
using testing::TableLoad;

/// One pipeline with a layer on each of `stages` GPUs.
PipelineShape one_layer_each(std::uint16_t stages, std::uint32_t sequences,
                             std::uint32_t microbatches) {
  PipelineShape out;
  out.microbatches = microbatches;
  Pipeline& pipeline = out.pipelines.emplace_back();
  pipeline.sequences = sequences;
  for (std::uint16_t s = 0; s < stages; ++s) {
    pipeline.stages.push_back({{s}, s, static_cast<std::uint16_t>(s + 1)});
  }
  return out;
}

Plan plan_pp(const Scenario& scenario, PlanRequest request = {}) {
  request.strategy = Strategy::pipeline;
  return plan(scenario, request, testing::fast_scorer());
}

/// Layers whose attention each rank runs.
std::vector<std::size_t> layers_on(const Schedule& schedule) {
  std::vector<std::size_t> out;
  for (std::uint32_t r = 0; r < schedule.ranks.size(); ++r) {
    const Program& program = schedule.program_of({r});
    out.push_back(
        static_cast<std::size_t>(std::count_if(program.begin(), program.end(), [](const Op& op) {
          return op.work == Work::attention && op.pass == Pass::forward && op.microbatch == 0;
        })));
  }
  return out;
}

std::string listing_of(const Schedule& schedule, std::uint32_t rank) {
  std::string out;
  for (const Op& op : schedule.program_of({rank})) {
    if (op.work == Work::attention && op.pass == Pass::forward) out += "F";
    if (op.work == Work::attention && op.pass == Pass::backward) out += "B";
    if (op.work == Work::attention && op.pass != Pass::recompute) {
      out += std::to_string(op.microbatch);
    }
  }
  return out;
}

TEST(Pipeline, RunsOneForwardOneBackwardAfterAsManyForwardsAsStagesFollow) {
  const Scenario scenario = make_scenario({.layers = 3, .cluster = "3xA40", .batch = 4});
  const Schedule schedule = pipeline_schedule(scenario, one_layer_each(3, 4, 4));
  EXPECT_EQ(listing_of(schedule, 0), "F0F1F2B0F3B1B2B3");
  EXPECT_EQ(listing_of(schedule, 1), "F0F1B0F2B1F3B2B3");
  EXPECT_EQ(listing_of(schedule, 2), "F0B0F1B1F2B2F3B3");
}

TEST(Pipeline, RecomputesALayerRightBeforeItsBackwardUnlessNothingIsRecomputed) {
  Scenario scenario = make_scenario({.layers = 1, .cluster = "1xA40", .batch = 1});
  const PipelineShape shape = one_layer_each(1, 1, 1);
  const auto program_with = [&](Recompute recompute) {
    scenario.training.recompute = recompute;
    Program program = pipeline_schedule(scenario, shape).programs[0];
    std::erase_if(program, [](const Op& op) { return op.work >= Work::reduce_shared; });
    return program;
  };
  const Program again = testing::ops("A0.0 E0.0 H0 H'0 A*0.0 E*0.0 E'0.0 A'0.0 step", 1);
  EXPECT_EQ(program_with(Recompute::automatic), again);
  EXPECT_EQ(program_with(Recompute::module), again);
  EXPECT_EQ(program_with(Recompute::layer), again);
  EXPECT_EQ(program_with(Recompute::none), testing::ops("A0.0 E0.0 H0 H'0 E'0.0 A'0.0 step", 1));
}

TEST(Pipeline, IdlesByTheFormulaWhereStagesAreEqualAndTransfersFree) {
  for (const std::uint16_t stages : std::vector<std::uint16_t>{1, 2, 4}) {
    for (const std::uint32_t microbatches : {1U, 4U, 9U}) {
      Scenario scenario = make_scenario(
          {.layers = int{stages}, .cluster = std::to_string(stages) + "xA40", .batch = 9});
      scenario.training.recompute = Recompute::none;
      const Schedule schedule =
          pipeline_schedule(scenario, one_layer_each(stages, 9, microbatches));
      TableLoad load(scenario);
      load.seconds_of = [](RankId, const Op& op) {
        if (op.work != Work::attention) return 0.0;
        return op.pass == Pass::backward ? 2.0 : 1.0;
      };
      const double makespan = simulate(schedule, load).makespan().value;
      const double bubble = 1 - 3.0 * microbatches / makespan;
      EXPECT_NEAR(bubble, (stages - 1.0) / (microbatches + stages - 1.0), 1e-12);
    }
  }
}

constexpr double kib = 1024;
constexpr double hidden = 128 * 256 * 2;                 // bytes of a hidden state of one sequence
constexpr double expert_parameters = 4 * 3 * 256 * 512;  // of the four experts of a layer

TEST(Pipeline, KeepsInputsOfMicrobatchesUnderWayAndRecomputesOneLayerAtATime) {
  Scenario scenario = make_scenario({.layers = 4, .cluster = "2xA40", .batch = 4});
  scenario.model.vocabulary = 1;
  PipelineShape shape;
  shape.microbatches = 4;
  shape.pipelines = {{{{{0}, 0, 2}, {{1}, 2, 4}}, 4}};
  const Schedule schedule = testing::listed(pipeline_schedule(scenario, shape), scenario);
  const std::vector<MemoryUse> use =
      peak_memory(schedule, scenario, PredictedLoad(schedule, scenario));
  const double attention_internals =
      128 * ((2 * 256 + 4 * (64 + 64) + 2 * (64 + 64)) * 2 + (4 + 2 * 4) * 4);
  const double rows = 2 * hidden;
  const double internals = 2 * 128 * 3 * 512 * 2;
  const double weights = 2 * 128 * 4;                  // of the routed copies, or their gradients
  const double kept = hidden + 2 * 128 * (4 + 3 * 4);  // a layer's input and choice of experts
  // While experts of a layer go backward: its recomputed attention, sorted rows and internals;
  // gradients of internals, outputs, inputs and weights; the gradient of the layer's output.
  const double backward =
      attention_internals + rows + internals + internals + rows + rows + weights;
  EXPECT_EQ(use[0].activations.value, 2 * 2 * kept + backward);
  EXPECT_EQ(use[0].receive_buffers.value, hidden);
  EXPECT_EQ(use[1].activations.value, 2 * kept + hidden + backward);
}

TEST(Pipeline, SharesOptimizerStatesOverPipelinesUnlessToldNotTo) {
  Scenario scenario = make_scenario({.layers = 4, .cluster = "2xA40,2xV100-16GB"});
  const auto load_of = [&](const Schedule& schedule) { return PredictedLoad(schedule, scenario); };
  const Schedule sharded = testing::small_pp(scenario);
  const double shared = load_of(sharded).shared_parameters({3});
  EXPECT_EQ(load_of(sharded).expert_parameters({3}), 2 * expert_parameters);
  EXPECT_EQ(load_of(sharded).optimizer_parameters({3}), shared / 2 + expert_parameters);
  EXPECT_EQ(peak_memory(sharded, scenario, load_of(sharded))[3].optimizer.value,
            12 * (shared / 2 + expert_parameters));
  scenario.training.optimizer_sharding = false;
  const Schedule whole = testing::small_pp(scenario);
  EXPECT_EQ(load_of(whole).optimizer_parameters({3}), shared + 2 * expert_parameters);
}

double bytes_of(const Schedule& schedule, const Scenario& scenario, Work work, RankId from,
                RankId to, std::uint16_t layer) {
  for (const Op& op : schedule.program_of(from)) {
    if (op.work != work || op.layer != layer) continue;
    const GroupId group = schedule.group_of(from, op);
    return PredictedLoad(schedule, scenario).bytes(group, op, from, to).value;
  }
  return -1;
}

TEST(Pipeline, ScattersSumsAndGathersParametersWhereStatesAreShared) {
  Scenario scenario = make_scenario({.layers = 4, .cluster = "2xA40,2xV100-16GB"});
  const double shared = 2 * layer_parameters(scenario.model, 2).without_experts();
  const double experts = 2 * expert_parameters;
  const Schedule sharded = testing::small_pp(scenario);
  // A ring of two: each sends half of it on, once for a scatter or gather, twice for a sum.
  EXPECT_EQ(bytes_of(sharded, scenario, Work::reduce_shared, {2}, {3}, 2), shared / 2);
  EXPECT_EQ(bytes_of(sharded, scenario, Work::reduce_experts, {2}, {3}, 2), experts / 2);
  EXPECT_EQ(bytes_of(sharded, scenario, Work::gather, {2}, {3}, 2), (shared + experts) / 2);
  scenario.training.optimizer_sharding = false;
  const Schedule whole = testing::small_pp(scenario);
  EXPECT_EQ(bytes_of(whole, scenario, Work::reduce_shared, {2}, {3}, 2), shared);
  EXPECT_EQ(bytes_of(whole, scenario, Work::reduce_experts, {2}, {3}, 2), experts);
  EXPECT_EQ(bytes_of(whole, scenario, Work::gather, {2}, {3}, 2), -1);
}

/// Long sequences, for which an A40 is several times as fast as a V100.
Scenario uneven_gpus() {
  return make_scenario(
      {.layers = 8, .cluster = "2xA40,2xV100-16GB", .sequence_length = 16384, .batch = 32});
}

TEST(Pipeline, GivesFasterGpusMoreLayers) {
  const Plan made = plan_pp(uneven_gpus(), {.groups = 2});
  const std::vector<std::size_t> layers = layers_on(made.schedule);
  EXPECT_EQ(layers[0] + layers[2], 8U);
  EXPECT_GT(layers[0], layers[2]);
  EXPECT_EQ(layers[0], layers[1]);
  EXPECT_EQ(layers[2], layers[3]);
}

TEST(Pipeline, TakesTheBestOrderAndSplitOfAll) {
  const Scenario scenario = uneven_gpus();
  const Plan made = plan_pp(scenario, {.microbatches = 8, .groups = 2});
  double best = 1e30;
  for (std::uint16_t cut = 1; cut < 8; ++cut) {
    for (const bool newer_first : {true, false}) {
      PipelineShape shape;
      shape.microbatches = 8;
      for (std::uint32_t v = 0; v < 2; ++v) {
        const GpuId first{newer_first ? v : v + 2};
        const GpuId second{newer_first ? v + 2 : v};
        shape.pipelines.push_back({{{first, 0, cut}, {second, cut, 8}}, 16});
      }
      const Schedule schedule = pipeline_schedule(scenario, shape);
      const Timeline run = testing::fast_scorer()(schedule, PredictedLoad(schedule, scenario),
                                                  {.launch_rule = false});
      best = std::min(best, run.makespan().value);
    }
  }
  EXPECT_EQ(made.timeline.makespan().value, best);
}

TEST(Pipeline, CutsUnevenClustersIntoUnequalPipelinesThatShareTheBatchByTheirRates) {
  const Scenario scenario = make_scenario(
      {.layers = 6, .cluster = "4xA40,3xV100-16GB", .sequence_length = 4096, .batch = 56});
  const Plan made = plan_pp(scenario, {.groups = 4});
  EXPECT_TRUE(verify(made.schedule).empty());
  EXPECT_EQ(made.schedule.ranks.size(), 7U);
  EXPECT_EQ(made.groups, 4U);
  std::vector<std::uint32_t> sequences(4, 0);
  std::vector<std::size_t> stages(4, 0);
  for (const Rank& rank : made.schedule.ranks) {
    sequences.at(rank.replica) = rank.sequences;
    ++stages.at(rank.replica);
  }
  EXPECT_EQ(stages, std::vector<std::size_t>({2, 2, 2, 1}));
  EXPECT_EQ(sequences[0] + sequences[1] + sequences[2] + sequences[3], 56U);
  EXPECT_GT(sequences[0], sequences[3]);
  EXPECT_LE(sequences[0] - sequences[2], 1U);
  EXPECT_THAT(roles(made.schedule),
              ::testing::UnorderedElementsAre("all", "stage-0", "stage-0", "stage-0", "stage-1",
                                              "stage-1", "stage-1"));
}

TEST(Pipeline, WorksOnOneKindAndOnOneGpu) {
  EXPECT_TRUE(verify(plan_pp(make_scenario({.layers = 4, .cluster = "4xA40"})).schedule).empty());
  const Plan alone = plan_pp(make_scenario({.layers = 4, .cluster = "1xA40"}));
  EXPECT_EQ(roles(alone.schedule), std::vector<std::string>({"all"}));
}

TEST(Pipeline, IsTwoStagesAndMoreUnlessOneAsksForDataParallelism) {
  const Scenario scenario = make_scenario({.layers = 4, .cluster = "4xA40", .batch = 16});
  EXPECT_LE(plan_pp(scenario).groups, 2U);
  EXPECT_EQ(plan_pp(scenario, {.groups = 4}).groups, 4U);
}

std::string refusal(const Scenario& scenario, const PlanRequest& request) {
  try {
    plan_pp(scenario, request);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::input);
    return error.what();
  }
  return "";
}

TEST(Pipeline, SaysWhatWouldHelpWhereThereIsNone) {
  const Scenario scenario = make_scenario({.layers = 2, .cluster = "6xA40", .batch = 6});
  EXPECT_THAT(refusal(scenario, {.groups = 1}), HasSubstr("use at least 3 pipelines"));
  EXPECT_THAT(refusal(scenario, {.groups = 7}), HasSubstr("there are 6"));
  EXPECT_THAT(refusal(scenario, {.microbatches = 4, .groups = 3}),
              HasSubstr("it takes at least 12 sequences"));
}

TEST(Pipeline, ThatFitsNowhereIsTheFastestAndSaysWhatItLacks) {
  Scenario scenario = make_scenario({.layers = 4, .cluster = "2xA40,2xV100-16GB", .batch = 8});
  for (GpuSpec& kind : scenario.cluster.kinds) kind.memory = Bytes{kib};
  const Plan made = plan_pp(scenario);
  EXPECT_THAT(made.lacks_memory, HasSubstr("lacks"));
  Scenario roomy = scenario;
  for (GpuSpec& kind : roomy.cluster.kinds) kind.memory = gibibytes(64);
  EXPECT_EQ(made.schedule, plan_pp(roomy).schedule);
}

}  // namespace
}  // namespace zebroid
