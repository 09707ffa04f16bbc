#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "planner/expert_parallel.hpp"
#include "planner/jobs.hpp"
#include "planner/listing.hpp"
#include "planner/zebra.hpp"
#include "schedule/verify.hpp"
#include "sim/simulate.hpp"
#include "tests/support/scenarios.hpp"

namespace zebroid {
namespace {

using testing::fast_scorer;
using testing::make_scenario;

Schedule listed(const Schedule& schedule, const Scenario& scenario) {
  const PredictedLoad load(schedule, scenario);
  return list_by_start(schedule, simulate(schedule, load, {.launch_rule = false}));
}

Schedule dist_ep(const Scenario& scenario, std::uint32_t microbatches, std::uint32_t chunks) {
  ExpertParallelShape shape;
  shape.groups = role_groups(scenario, {}, "dist-ep").front();
  shape.microbatches = microbatches;
  shape.chunks = chunks;
  return listed(expert_parallel_schedule(scenario, shape), scenario);
}

TEST(DistEp, OfOneChunkIsZebraOfOneMicrobatch) {
  for (const Recompute recompute : {Recompute::automatic, Recompute::none, Recompute::layer}) {
    Scenario scenario = make_scenario({.layers = 3, .cluster = "2xA40,2xV100-16GB"});
    scenario.training.recompute = recompute;
    const PlanRequest zebra{
        .strategy = Strategy::zebra, .microbatches = 1, .assignment = ExpertAssignment::even};
    EXPECT_EQ(dist_ep(scenario, 1, 1), plan(scenario, zebra, fast_scorer()).schedule);
  }
}

TEST(DistEp, NeverRunsAttentionWhileExpertsRun) {
  const Scenario scenario = make_scenario({.layers = 3, .sequence_length = 4096});
  const Schedule schedule = dist_ep(scenario, 1, 3);
  EXPECT_TRUE(verify(schedule).empty());
  const Timeline timeline = simulate(schedule, PredictedLoad(schedule, scenario));
  for (std::uint32_t a = 0; a < schedule.ranks.size(); ++a) {
    for (std::uint32_t b = 0; b < schedule.ranks.size(); ++b) {
      for (std::size_t i = 0; i < timeline.ranks[a].size(); ++i) {
        for (std::size_t j = 0; j < timeline.ranks[b].size(); ++j) {
          if (schedule.program_of({a})[i].work != Work::attention) continue;
          if (schedule.program_of({b})[j].work != Work::expert) continue;
          const OpTimes& attention = timeline.ranks[a][i];
          const OpTimes& experts = timeline.ranks[b][j];
          EXPECT_TRUE(attention.ended <= experts.started || experts.ended <= attention.started);
        }
      }
    }
  }
}

TEST(DistEp, GivesAttentionToTheKindThatGainsMost) {
  const Plan made = plan(make_scenario({.cluster = "1xV100-16GB,2xA40"}),
                         {.strategy = Strategy::dist_ep}, fast_scorer());
  EXPECT_EQ(made.schedule.ranks[0].sequences, 0U);
  EXPECT_GT(made.schedule.ranks[1].sequences, 0U);
}

TEST(DistEp, GivesAttentionToTheKindsAskedFor) {
  const Plan made = plan(make_scenario({.cluster = "2xA40,2xV100-16GB"}),
                         {.strategy = Strategy::dist_ep, .attention_kinds = {1}}, fast_scorer());
  EXPECT_EQ(made.schedule.ranks[0].sequences, 0U);
  EXPECT_GT(made.schedule.ranks[3].sequences, 0U);
}

TEST(EpIdeal, IsOneJobForEachKindWithItsShareOfTheBatch) {
  const Scenario scenario = make_scenario({.cluster = "2xA40,4xV100-16GB", .batch = 18});
  const std::vector<Job> jobs =
      plan_jobs(scenario, {.strategy = Strategy::ep_ideal}, fast_scorer());
  ASSERT_EQ(jobs.size(), 2U);
  EXPECT_EQ(jobs[0].plan.schedule.ranks.size(), 2U);
  EXPECT_EQ(jobs[1].plan.schedule.ranks.size(), 4U);
  EXPECT_EQ(jobs[0].scenario.training.global_batch_sequences, 6U);
  EXPECT_EQ(jobs[1].scenario.training.global_batch_sequences, 12U);
  const Scenario alone = make_scenario({.cluster = "4xV100-16GB", .batch = 12});
  EXPECT_EQ(plan(alone, {.strategy = Strategy::expert_parallel}, fast_scorer()).timeline.makespan(),
            jobs[1].plan.timeline.makespan());
}

TEST(DistEp, TakesTheMemoryOnAnExpertGpuThatHandComputationSays) {
  // One layer; the V100 holds all 4 experts of width 512 and gets 128 * 2 rows of 256 values.
  const Scenario scenario =
      make_scenario({.layers = 1, .cluster = "1xA40,1xV100-16GB", .batch = 1});
  const Schedule schedule = dist_ep(scenario, 1, 1);
  const MemoryUse use = peak_memory(schedule, scenario, PredictedLoad(schedule, scenario))[1];
  const double parameters = 4 * 3 * 256.0 * 512;
  EXPECT_EQ(use.weights.value, 2 * parameters);
  EXPECT_EQ(use.gradients.value, 2 * parameters);
  EXPECT_EQ(use.optimizer.value, 12 * parameters);
  // In backward: the input kept with the weights of its rows, the gradient received; gate, up and
  // product recomputed, and as many gradients; the gradients of input and weights.
  const double rows = 128 * 2 * 256 * 2;
  const double weights = 128 * 2 * 4;
  const double internals = 128 * 2 * 3 * 512 * 2;
  EXPECT_EQ(use.activations.value, 2 * (rows + weights) + 2 * internals);
  EXPECT_EQ(use.receive_buffers.value, rows);
}

TEST(ExpertParallelMemory, OfExpertsThatAreRecomputedChunkByChunkIsOfOneChunk) {
  // One GPU, whole-layer recomputation. At the peak, in backward, it keeps among other things what
  // the experts of one chunk computed: rows * 3 * FFN * 2 bytes, 128 tokens * 4 * 2 rows in all.
  const Scenario scenario = make_scenario({.cluster = "1xA40", .sequence_length = 4096});
  const auto activations = [&](std::uint32_t chunks) {
    ExpertParallelShape shape;
    shape.groups = with_both_roles({{{0}}});
    shape.chunks = chunks;
    const Schedule schedule = expert_parallel_schedule(scenario, shape);
    return peak_memory(schedule, scenario, PredictedLoad(schedule, scenario))[0].activations.value;
  };
  const double internals = 4096.0 * 4 * 2 * 3 * 512 * 2;
  EXPECT_GE(activations(1) - activations(4), internals * 3 / 4);
}

}  // namespace
}  // namespace zebroid
