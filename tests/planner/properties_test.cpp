#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "core/error.hpp"
#include "planner/expert_parallel.hpp"
#include "planner/listing.hpp"
#include "planner/planner.hpp"
#include "planner/zebra.hpp"
#include "schedule/critical_path.hpp"
#include "schedule/values.hpp"
#include "schedule/verify.hpp"
#include "sim/bound.hpp"
#include "sim/simulate.hpp"
#include "tests/support/random_load.hpp"
#include "tests/support/random_schedules.hpp"
#include "tests/support/scenarios.hpp"
#include "tests/support/schedules.hpp"

namespace zebroid {
namespace {

using testing::Case;
using testing::make_scenario;
using testing::Nodes;
using testing::random_case;
using testing::random_cluster;
using testing::random_load;
using testing::random_zebra;
using testing::RandomLoad;

const SimulateOptions free_run = {.launch_rule = false, .verified = true};

RC_GTEST_PROP(Planner, MakesSchedulesWithoutFaults, ()) {
  const Case c = random_case();
  RC_ASSERT(verify(c.schedule).empty());
}

RC_GTEST_PROP(Planner, ListsNoGradientBeforeItsTurn, ()) {
  const Case c = random_case();
  for (const Program& program : testing::listed(c.schedule, c.scenario).programs) {
    const std::vector<Value> values = values_of(c.schedule, program, c.scenario.model).all;
    RC_ASSERT(std::none_of(values.begin(), values.end(),
                           [](const Value& value) { return value.what == What::early_gradient; }));
  }
}

RC_GTEST_PROP(FastEngine, NeverBeatsTheLowerBound, ()) {
  const Case c = random_case();
  const RandomLoad load = random_load(c);
  const double bound = lower_bound(c.schedule, load).seconds.value;
  RC_ASSERT(simulate(c.schedule, load).makespan().value >= bound * (1 - 1e-12));
  RC_ASSERT(simulate(c.schedule, load, free_run).makespan().value >= bound * (1 - 1e-12));
}

RC_GTEST_PROP(FastEngine, ScalesTheMakespanToTheBitWithAllCostsTimesAPowerOfTwo, ()) {
  const Case c = random_case();
  RandomLoad load = random_load(c);
  const double once = simulate(c.schedule, load).makespan().value;
  load.scale = *rc::gen::element(0.25, 0.5, 2.0, 1024.0);
  RC_ASSERT(simulate(c.schedule, load).makespan().value == load.scale * once);
}

RC_GTEST_PROP(FastEngine, GivesEqualInputsBitEqualTimelines, ()) {
  const Case c = random_case();
  const RandomLoad load = random_load(c);
  RC_ASSERT(simulate(c.schedule, load) == simulate(c.schedule, load));
}

RC_GTEST_PROP(CriticalPath, LeadsFromTheStartToTheEndWithoutGaps, ()) {
  const Case c = random_case();
  const Timeline timeline = simulate(c.schedule, random_load(c));
  Seconds reached;
  for (const CriticalStep& step : critical_path(c.schedule, timeline)) {
    RC_ASSERT(step.begin == reached);
    RC_ASSERT(step.end > step.begin);
    reached = step.end;
  }
  RC_ASSERT(reached == timeline.makespan());
}

/// (rank, op) -> times, whatever the listing; `ready` may move.
std::map<std::pair<std::uint32_t, Op>, std::pair<double, double>> transfers(
    const Schedule& schedule, const Timeline& timeline) {
  std::map<std::pair<std::uint32_t, Op>, std::pair<double, double>> out;
  for (std::uint32_t r = 0; r < schedule.ranks.size(); ++r) {
    const Program& program = schedule.program_of({r});
    for (std::size_t i = 0; i < program.size(); ++i) {
      const OpTimes& times = timeline.ranks[r][i];
      out[{r, program[i]}] = {times.started.value, times.ended.value};
    }
  }
  return out;
}

RC_GTEST_PROP(Listing, ByTransferStartMakesTheLaunchRuleFreeToTheBit, ()) {
  const Case c = random_case();
  const RandomLoad load = random_load(c);
  const Timeline unruled = simulate(c.schedule, load, free_run);
  const Schedule listed = list_by_start(c.schedule, unruled);
  RC_ASSERT(verify(listed).empty());
  RC_ASSERT(transfers(listed, simulate(listed, load)) == transfers(c.schedule, unruled));
}

/// Answers for another rank of the same role.
class Permuted final : public Load {
 public:
  Permuted(const Load& load, std::vector<std::uint32_t> to) : load_(load), to_(std::move(to)) {}
  Seconds seconds(RankId rank, const Op& op) const override {
    return load_.seconds({to_[rank.value]}, op);
  }
  Bytes bytes(GroupId group, const Op& op, RankId from, RankId to) const override {
    return load_.bytes(group, op, {to_[from.value]}, {to_[to.value]});
  }
  Seconds latency(GroupId group, const Op& op) const override { return load_.latency(group, op); }
  double rows(RankId, const Op&) const override { return 0; }
  double sm_share(RankId) const override { return 0; }
  const Network& network() const override { return load_.network(); }

 private:
  const Load& load_;
  std::vector<std::uint32_t> to_;
};

RC_GTEST_PROP(FastEngine, KeepsTheMakespanWhenEqualGpusChangePlaces, ()) {
  const Case c = random_case(Nodes::of_one);
  RC_PRE(c.schedule.replicas.size() == 1U);
  const RandomLoad load = random_load(c);
  std::vector<std::uint32_t> to;
  for (std::uint32_t r = 0; r < c.schedule.ranks.size(); ++r) to.push_back(r);
  // Ranks that run the same program on the same kind of GPU are equal; the first two of them change
  // places.
  for (std::uint32_t r = 1; r < to.size(); ++r) {
    if (c.schedule.ranks[r].program == c.schedule.ranks[r - 1].program) {
      std::swap(to[r], to[r - 1]);
      break;
    }
  }
  const double before = simulate(c.schedule, load).makespan().value;
  const double after = simulate(c.schedule, Permuted(load, to)).makespan().value;
  RC_ASSERT(std::abs(after - before) <= 1e-9 * before);
}

/// Error(input) when the request cannot be met, else a plan that holds what it promises.
void expect_sound_plan(const Scenario& scenario, const PlanRequest& request) {
  try {
    const Plan made = plan(scenario, request, testing::fast_scorer());
    RC_ASSERT(verify(made.schedule).empty());
    RC_ASSERT(!request.groups || made.groups == *request.groups);
    RC_ASSERT(made.lacks_memory.empty());
    const PredictedLoad load(made.schedule, scenario);
    const double makespan = made.timeline.makespan().value;
    RC_ASSERT(makespan >= lower_bound(made.schedule, load).seconds.value * (1 - 1e-12));
    RC_ASSERT(simulate(made.schedule, load, free_run).makespan().value == makespan);
  } catch (const Error& error) {
    RC_ASSERT(error.kind() == ErrorKind::input);
  }
}

RC_GTEST_PROP(Planner, MakesSoundPlansForMixedNodesThreeKindsAndTwoGroups, ()) {
  Scenario scenario =
      make_scenario({.layers = *rc::gen::inRange(1, 4),
                     .experts = 8,
                     .cluster = random_cluster(*rc::gen::inRange<std::size_t>(1, 4),
                                               *rc::gen::element(Nodes::of_one, Nodes::of_several)),
                     .batch = static_cast<std::uint64_t>(*rc::gen::inRange(8, 33)),
                     .routing = *rc::gen::element<std::string>("uniform", "lognormal:0.7")});
  scenario.training.recompute =
      *rc::gen::element(Recompute::automatic, Recompute::none, Recompute::module, Recompute::layer);
  PlanRequest request;
  request.strategy =
      *rc::gen::element(Strategy::expert_parallel, Strategy::zebra, Strategy::pipeline);
  if (*rc::gen::arbitrary<bool>()) request.groups = *rc::gen::inRange(1U, 4U);
  if (*rc::gen::arbitrary<bool>()) request.microbatches = *rc::gen::inRange(1U, 4U);
  if (*rc::gen::arbitrary<bool>()) request.chunks = *rc::gen::inRange(1U, 4U);
  expect_sound_plan(scenario, request);
}

TEST(Planner, CutsTwoZebraGroupsOutOfThreeKinds) {
  const Scenario scenario =
      make_scenario({.experts = 8, .cluster = "2x2xA100-80GB,1x2xA40,2xV100-16GB", .batch = 24});
  PlanRequest request;
  request.groups = 2;
  const Plan made = plan(scenario, request, testing::fast_scorer());
  EXPECT_EQ(made.groups, 2U);
  EXPECT_TRUE(verify(made.schedule).empty());
  const PredictedLoad load(made.schedule, scenario);
  std::vector<double> experts(2, 0);
  std::vector<std::uint64_t> sequences(2, 0);
  for (std::uint32_t r = 0; r < made.schedule.ranks.size(); ++r) {
    const Rank& rank = made.schedule.ranks[r];
    experts.at(rank.replica) += load.expert_parameters({r});
    sequences.at(rank.replica) += rank.sequences;
  }
  // Each group holds a full copy of the experts and half of the batch.
  const double all = 2.0 * 8 * layer_parameters(scenario.model, 0).expert;
  EXPECT_EQ(experts, std::vector<double>({all, all}));
  EXPECT_EQ(sequences, std::vector<std::uint64_t>({12, 12}));
}

}  // namespace
}  // namespace zebroid
