#include <fmt/format.h>
#include <gtest/gtest.h>

#include "core/error.hpp"
#include "planner/listing.hpp"
#include "planner/zebra.hpp"
#include "schedule/critical_path.hpp"
#include "schedule/verify.hpp"
#include "sim/simulate.hpp"
#include "tests/support/scenarios.hpp"

namespace zebroid {
namespace {

using testing::make_scenario;
using testing::TableLoad;

ZebraShape one_group(const Scenario& scenario, std::uint32_t microbatches) {
  ZebraShape shape = zebra_shape(
      {{gpus_of_kinds(scenario.cluster, {0}), gpus_of_kinds(scenario.cluster, {1})}}, microbatches);
  place_evenly(scenario.model, std::vector<std::uint32_t>(scenario.model.layers.size(), 0), shape);
  return shape;
}

const OpTimes& times_of(const Timeline& timeline, const Schedule& schedule, std::uint32_t rank,
                        const std::string& name) {
  const Program& program = schedule.program_of({rank});
  for (std::size_t i = 0; i < program.size(); ++i) {
    if (name_of(program[i]) == name) return timeline.ranks[rank][i];
  }
  throw std::invalid_argument("no op " + name);
}

/// Attention GPUs 0 and 1, expert GPU 2, two layers, two microbatches, one expert of layer
/// 1 on attention GPU 0. Attention takes 2 s, all experts of a layer 3 s on the expert GPU, 2 s
/// without the one that takes 1 s on the attention GPU, head 1 s, step 1 s; backward twice that;
/// communication is free.
class TwoPlusOne : public ::testing::Test {
 protected:
  TwoPlusOne() : scenario_(make_scenario({.experts = 4})), load_(scenario_) {
    ZebraShape shape = one_group(scenario_, 2);
    place_evenly(scenario_.model, {0, 1}, shape);
    schedule_ = zebra_schedule(scenario_, shape);
    load_.seconds_of = [](RankId rank, const Op& op) {
      const double products = op.pass == Pass::backward ? 2 : 1;
      switch (op.work) {
        case Work::attention:
          return 2 * products;
        case Work::expert:
          return (rank.value != 2 ? 1 : op.layer == 1 ? 2 : 3) * products;
        case Work::head:
          return products;
        default:
          return 1.0;
      }
    };
  }
  double ended(const Timeline& timeline, std::uint32_t rank, const std::string& name) const {
    return times_of(timeline, schedule_, rank, name).ended.value;
  }

  Scenario scenario_;
  TableLoad load_;
  Schedule schedule_;
};

TEST_F(TwoPlusOne, EndsEveryOpWhenHandComputationSays) {
  const Timeline timeline = simulate(schedule_, load_, {.launch_rule = false});
  // Forward: the expert GPU is the bottleneck of layer 0; attention GPU 0 runs its expert after all
  // attention of layer 1.
  EXPECT_EQ(ended(timeline, 2, "expert 0.0"), 5);
  EXPECT_EQ(ended(timeline, 2, "expert 0.1"), 8);
  EXPECT_EQ(ended(timeline, 0, "attention 1.0"), 7);
  EXPECT_EQ(ended(timeline, 0, "attention 1.1"), 10);
  EXPECT_EQ(ended(timeline, 0, "expert 1.1"), 12);
  EXPECT_EQ(ended(timeline, 2, "expert 1.1"), 12);
  // Head: each microbatch's backward directly follows its forward.
  EXPECT_EQ(ended(timeline, 1, "head' 1.0"), 14);
  EXPECT_EQ(ended(timeline, 0, "head' 1.1"), 18);
  // Backward: recomputation begins when the gradient is there, on all GPUs at 15 for microbatch 0.
  EXPECT_EQ(ended(timeline, 2, "expert* 1.0"), 17);
  EXPECT_EQ(ended(timeline, 2, "expert' 1.0"), 21);
  EXPECT_EQ(ended(timeline, 2, "expert' 1.1"), 27);
  EXPECT_EQ(ended(timeline, 0, "expert' 1.1"), 24);
  EXPECT_EQ(ended(timeline, 1, "attention* 1.0"), 23);
  EXPECT_EQ(ended(timeline, 1, "attention' 1.0"), 27);
  EXPECT_EQ(ended(timeline, 0, "attention' 1.1"), 36);
  EXPECT_EQ(ended(timeline, 2, "expert' 0.0"), 39);
  EXPECT_EQ(ended(timeline, 2, "expert' 0.1"), 48);
  EXPECT_EQ(ended(timeline, 0, "attention' 0.1"), 54);
  EXPECT_EQ(ended(timeline, 1, "attention' 0.1"), 54);
  EXPECT_EQ(timeline.makespan().value, 55);
}

TEST_F(TwoPlusOne, LosesNothingToTheLaunchRuleWhenListedByTransferStart) {
  const Timeline free_run = simulate(schedule_, load_, {.launch_rule = false});
  const Schedule listed = list_by_start(schedule_, free_run);
  EXPECT_TRUE(verify(listed).empty());
  EXPECT_EQ(simulate(listed, load_).makespan().value, 55);
}

TEST_F(TwoPlusOne, SplitsEachRanksTimeIntoBusyExposedAndBubble) {
  const Timeline timeline = simulate(schedule_, load_, {.launch_rule = false});
  const std::vector<Utilization> use = utilization(schedule_, timeline);
  // Attention GPU 1: 2 layers * 2 microbatches * (2 + 2 + 4) + 2 * 3 + 1 = 39 s of 55; 8 s
  // recompute.
  EXPECT_DOUBLE_EQ(use[1].busy, 39.0 / 55);
  EXPECT_DOUBLE_EQ(use[1].effective, 31.0 / 55);
  EXPECT_DOUBLE_EQ(use[1].exposed, 0);
  EXPECT_DOUBLE_EQ(use[1].bubble, 16.0 / 55);
}

TEST_F(TwoPlusOne, HasTheCriticalPathThatHandComputationSays) {
  const Timeline timeline = simulate(schedule_, load_, {.launch_rule = false});
  std::string names;
  for (const CriticalStep& step : critical_path(schedule_, timeline)) {
    names +=
        fmt::format("{}:{} ", step.rank.value, name_of(schedule_.program_of(step.rank)[step.op]));
  }
  EXPECT_EQ(names,
            "0:attention 0.0 2:expert 0.0 2:expert 0.1 0:attention 1.1 0:expert 1.0 0:expert 1.1 "
            "0:head 1.0 0:head' 1.0 0:head 1.1 0:head' 1.1 0:expert* 1.0 0:expert' 1.0 "
            "0:expert* 1.1 0:expert' 1.1 0:attention* 1.0 0:attention' 1.0 2:expert* 0.0 "
            "2:expert' 0.0 2:expert* 0.1 2:expert' 0.1 0:attention* 0.1 0:attention' 0.1 "
            "0:step' 0.0 ");
}

TEST(FastEngine, RunsTheCounterexampleOfTheTheoremIn195) {
  // One attention and one expert GPU, three layers, four microbatches: attention 4 forward and 8
  // backward, experts 5 and 10, a turn of 4 + 8, nothing else takes time. HeterMoE's Theorem 1
  // order gives 195 where 192 is possible.
  Scenario scenario = make_scenario({.layers = 3, .cluster = "1xA40,1xV100-16GB"});
  scenario.training.recompute = Recompute::none;
  const Schedule schedule = zebra_schedule(scenario, one_group(scenario, 4));
  TableLoad load(scenario);
  load.seconds_of = [](RankId, const Op& op) {
    if (op.work == Work::step) return 0.0;
    const double forward = op.work == Work::expert ? 5 : 4;
    return op.pass == Pass::backward ? 2 * forward : forward;
  };
  EXPECT_EQ(simulate(schedule, load, {.launch_rule = false}).makespan().value, 195);
}

/// Two ranks that exchange; ops as listed.
Schedule raw_schedule(std::vector<Program> programs) {
  Schedule out;
  out.layers = 1;
  out.experts = 1;
  out.microbatches = 4;
  out.chunks = 1;
  out.replicas.push_back({{{{0}}}});
  std::vector<RankId> all;
  for (std::uint32_t r = 0; r < programs.size(); ++r) {
    out.ranks.push_back({{r}, static_cast<std::uint16_t>(r), 0, 1, {{0}}});
    all.push_back({r});
  }
  out.groups.push_back(all);
  out.programs = std::move(programs);
  return out;
}

constexpr Op attention(std::uint16_t j) { return {Work::attention, Pass::forward, 0, 0, j, 0}; }
constexpr Op dispatch(std::uint16_t j) { return {Work::dispatch, Pass::forward, 1, 0, j, 0}; }

const SimulateOptions unchecked = {.launch_rule = true, .verified = true};

Network three_nodes() { return Network(load_cluster("3xA40", parse_bandwidth("12.5GB/s"))); }

TEST(FastEngine, GivesASenderWithTwoReceiversHalfItsPortEach) {
  const Schedule schedule = raw_schedule({{dispatch(0)}, {dispatch(0)}, {dispatch(0)}});
  TableLoad load(three_nodes());
  load.latency_s = 0.25;
  load.bytes_of = [](const Op&, RankId from, RankId to) {
    return from.value == 0 ? 12.5e9 * to.value : 0;
  };
  const Timeline timeline = simulate(schedule, load, unchecked);
  // 12.5 GB to rank 1 at half of the port: 2 s. Rank 2's 25 GB have 12.5 GB left then, which go at
  // full rate.
  EXPECT_EQ(timeline.ranks[1][0].ended.value, 2.25);
  EXPECT_EQ(timeline.ranks[2][0].ended.value, 3.25);
  EXPECT_EQ(timeline.ranks[0][0].ended.value, 3.25);
  EXPECT_EQ(timeline.ranks[0][0].sent.value, 37.5e9);
}

TEST(FastEngine, StartsATransferWhenTheLastMemberHasLaunchedIt) {
  const Schedule schedule = raw_schedule({{attention(0), dispatch(0)}, {dispatch(0)}});
  TableLoad load(three_nodes());
  load.seconds_of = [](RankId, const Op&) { return 3.0; };
  load.bytes_of = [](const Op&, RankId from, RankId) { return from.value == 0 ? 12.5e9 : 0; };
  const Timeline timeline = simulate(schedule, load, unchecked);
  EXPECT_EQ(timeline.ranks[1][0].ready.value, 0);
  EXPECT_EQ(timeline.ranks[1][0].started.value, 3);
  EXPECT_EQ(timeline.ranks[1][0].ended.value, 4);
}

TEST(FastEngine, EndsAMemberWithoutFlowsOfItsOwnAtOnce) {
  const Schedule schedule = raw_schedule({{dispatch(0)}, {dispatch(0)}, {dispatch(0)}});
  TableLoad load(three_nodes());
  load.bytes_of = [](const Op&, RankId from, RankId to) {
    return from.value == 0 && to.value == 1 ? 12.5e9 : 0;
  };
  const Timeline timeline = simulate(schedule, load, unchecked);
  EXPECT_EQ(timeline.ranks[2][0].ended.value, 0);
  EXPECT_EQ(timeline.ranks[1][0].ended.value, 1);
}

TEST(FastEngine, LaunchesNoExchangeBeforeTheOneListedBeforeIt) {
  // Rank 0 lists dispatch of microbatch 1, which waits for 3 s of attention, before a sum that is
  // ready at once.
  const Op norm{Work::reduce_norm, Pass::backward, 1, 0, 0, 0};
  const Op done{Work::attention, Pass::backward, 0, 0, 0, 0};
  const Schedule schedule =
      raw_schedule({{done, attention(1), dispatch(1), norm}, {done, dispatch(1), norm}});
  TableLoad load(three_nodes());
  load.seconds_of = [](RankId rank, const Op& op) {
    return rank.value == 0 && op.pass == Pass::forward ? 3.0 : 0.0;
  };
  EXPECT_EQ(simulate(schedule, load, unchecked).ranks[0][3].ready.value, 3);
  EXPECT_EQ(
      simulate(schedule, load, {.launch_rule = false, .verified = true}).ranks[0][3].ready.value,
      0);
}

TEST(FastEngine, SlowsComputeWhileAnExchangeIsInFlight) {
  const Schedule schedule = raw_schedule({{dispatch(0), attention(1)}, {dispatch(0)}});
  TableLoad load(three_nodes());
  load.share = 0.5;
  load.seconds_of = [](RankId, const Op&) { return 2.0; };
  load.bytes_of = [](const Op&, RankId from, RankId) { return from.value == 0 ? 12.5e9 : 0; };
  // The exchange lasts until 1 s, in which half a second of the 2 s is done.
  EXPECT_EQ(simulate(schedule, load, unchecked).ranks[0][1].ended.value, 2.5);
}

TEST(FastEngine, NamesTheOpThatNeverRuns) {
  const Schedule schedule = raw_schedule({{dispatch(0), dispatch(1)}, {dispatch(1), dispatch(0)}});
  try {
    simulate(schedule, TableLoad(three_nodes()), unchecked);
    FAIL() << "a deadlock was simulated";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::internal);
    EXPECT_NE(std::string(error.what()).find("(dispatch 0.1)"), std::string::npos) << error.what();
  }
}

TEST(FastEngine, RefusesAFaultySchedule) {
  const Schedule schedule = raw_schedule({{dispatch(0)}, {}});
  EXPECT_THROW(simulate(schedule, TableLoad(three_nodes())), Error);
}

}  // namespace
}  // namespace zebroid
