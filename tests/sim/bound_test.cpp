#include "sim/bound.hpp"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "planner/expert_parallel.hpp"
#include "planner/listing.hpp"
#include "sim/simulate.hpp"
#include "tests/support/random_load.hpp"
#include "tests/support/scenarios.hpp"
#include "tests/support/schedules.hpp"

namespace zebroid {
namespace {

using testing::Case;
using testing::ops;
using testing::RandomLoad;
using testing::TableLoad;

/// One layer; every program is on a rank of its own, all are in one group.
Schedule schedule_of(const std::vector<std::string>& programs) {
  Schedule out;
  out.layers = out.experts = out.chunks = 1;
  out.microbatches = 4;
  out.replicas = {{{{{0}}}}};
  out.groups.emplace_back();
  for (std::uint32_t r = 0; r < programs.size(); ++r) {
    out.programs.push_back(ops(programs[r], 1));
    out.ranks.push_back({{r}, static_cast<std::uint16_t>(r), 0, 1, {{0}}});
    out.groups[0].push_back({r});
  }
  return out;
}

/// A node per GPU, 12.5 GB/s each way.
constexpr double one_second = 12.5e9;  // bytes
TableLoad on_three_nodes() {
  return TableLoad(Network(load_cluster("3xA40", parse_bandwidth("12.5GB/s"))));
}

const SimulateOptions any_order = {.launch_rule = false, .verified = true};

void expect_bound(const Schedule& schedule, const Load& load, double seconds,
                  const std::string& binding) {
  const Bound bound = lower_bound(schedule, load);
  EXPECT_DOUBLE_EQ(bound.seconds.value, seconds);
  EXPECT_EQ(bound.binding, binding);
}

TEST(Bound, OfNoOpsIsZero) { expect_bound(schedule_of({""}), on_three_nodes(), 0, "data path"); }

TEST(Bound, IsTheLongestPathOverDataWhenNothingElseIsLonger) {
  const Schedule schedule = schedule_of({"A0.0 D0.0 C0.0 H0", "D0.0 E0.0 C0.0"});
  TableLoad load = on_three_nodes();
  load.latency_s = 0.25;
  load.seconds_of = [](RankId, const Op& op) {
    return op.work == Work::attention ? 2.0 : op.work == Work::expert ? 3.0 : 1.0;
  };
  load.bytes_of = [](const Op& op, RankId from, RankId) {
    return (op.work == Work::dispatch) == (from.value == 0) ? one_second : 0;
  };
  // Attention 2, dispatch 1.25, experts 3, combine 1.25, head 1.
  expect_bound(schedule, load, 8.5, "data path");
  EXPECT_DOUBLE_EQ(simulate(schedule, load, any_order).makespan().value, 8.5);
}

TEST(Bound, IsAComputeStreamsHeadWorkAndTailWhenThatIsLonger) {
  const Schedule schedule = schedule_of({"A0.0 A0.1 D0.0 D0.1", "D0.0 D0.1 E0.0 E0.1"});
  TableLoad load = on_three_nodes();
  load.seconds_of = [](RankId, const Op& op) { return op.work == Work::attention ? 3.0 : 1.0; };
  load.bytes_of = [](const Op&, RankId from, RankId) { return from.value == 0 ? one_second : 0; };
  // Both attention ops, then at least dispatch and experts of one.
  expect_bound(schedule, load, 3 + 3 + 1 + 1, "compute of rank 0");
  EXPECT_EQ(simulate(schedule, load, any_order).makespan().value, 8);
  // With slow experts: the first attention and dispatch, then both expert ops.
  load.seconds_of = [](RankId, const Op& op) { return op.work == Work::attention ? 3.0 : 5.0; };
  expect_bound(schedule, load, 3 + 1 + 5 + 5, "compute of rank 1");
}

TEST(Bound, CountsLatenciesOnTheStreamOfAnExchange) {
  const Schedule schedule = schedule_of({"D0.0 D0.1 D0.2", "D0.0 D0.1 D0.2"});
  TableLoad load = on_three_nodes();
  load.latency_s = 0.25;
  load.bytes_of = [](const Op&, RankId from, RankId) { return from.value == 0 ? one_second : 0; };
  expect_bound(schedule, load, 3 * 1.25, "dispatch of rank 0");
  EXPECT_DOUBLE_EQ(simulate(schedule, load, any_order).makespan().value, 3 * 1.25);
}

TEST(Bound, IsAPortsBytesOverItsBandwidthWhenSeveralStreamsShareIt) {
  // Rank 2 receives from rank 0 on one stream and from rank 1 on another.
  const std::string both = "D0.0 C0.0";
  const Schedule schedule = schedule_of({both, both, both});
  TableLoad load = on_three_nodes();
  load.bytes_of = [](const Op& op, RankId from, RankId to) {
    const std::uint32_t sender = op.work == Work::dispatch ? 0 : 1;
    return from.value == sender && to.value == 2 ? one_second : 0;
  };
  const Bound bound = lower_bound(schedule, load);
  EXPECT_EQ(bound.seconds.value, 2);
  EXPECT_TRUE(bound.binding.starts_with("port ")) << bound.binding;
  EXPECT_TRUE(bound.binding.ends_with(" in")) << bound.binding;
  EXPECT_EQ(simulate(schedule, load, any_order).makespan().value, 2);
}

TEST(Bound, EndsASumOnAllMembersWithItsSlowest) {
  // The sum moves a second's bytes from rank 0 to rank 1; the step of rank 2 waits as well.
  const std::string program = "A'0.0 sum0 norm step";
  const Schedule schedule = schedule_of({program, program, program});
  TableLoad load = on_three_nodes();
  load.seconds_of = [](RankId rank, const Op& op) {
    return rank.value == 2 && op.work == Work::step ? 4.0 : 0.0;
  };
  load.bytes_of = [](const Op& op, RankId from, RankId to) {
    return op.work == Work::reduce_shared && from.value == 0 && to.value == 1 ? one_second : 0;
  };
  expect_bound(schedule, load, 5, "data path");
}

TEST(Bound, EndsATokenExchangePerMember) {
  // Rank 2 receives nothing and goes on at once.
  const Schedule schedule = schedule_of({"D0.0", "D0.0", "D0.0 E0.0"});
  TableLoad load = on_three_nodes();
  load.latency_s = 0.5;
  load.seconds_of = [](RankId, const Op&) { return 4.0; };
  load.bytes_of = [](const Op&, RankId from, RankId to) {
    return from.value == 0 && to.value == 1 ? one_second : 0;
  };
  expect_bound(schedule, load, 4, "data path");
}

TEST(Bound, WaitsForTheSlowestMemberToLaunch) {
  const Schedule schedule = schedule_of({"A0.0 D0.0", "D0.0 E0.0"});
  TableLoad load = on_three_nodes();
  load.seconds_of = [](RankId rank, const Op&) { return rank.value == 0 ? 3.0 : 2.0; };
  expect_bound(schedule, load, 5, "data path");
}

RandomLoad random_load(const Case& c) {
  const auto seed = *rc::gen::arbitrary<std::uint64_t>();
  return {c.schedule, c.scenario, seed, *rc::gen::element(0.0, 0.1, 1.0, 5.0)};
}

/// Zebra, expert parallelism and stages.
const Case& random_case() {
  static const std::vector<Case> cases = [] {
    std::vector<Case> out = testing::small_cases();
    out.push_back(testing::two_stages());
    return out;
  }();
  return cases[*rc::gen::inRange<std::size_t>(0, cases.size())];
}

RC_GTEST_PROP(Bound, IsNeverBeaten, ()) {
  const Case& c = random_case();
  const RandomLoad load = random_load(c);
  const double bound = lower_bound(c.schedule, load).seconds.value;
  RC_ASSERT(simulate(c.schedule, load).makespan().value >= bound * (1 - 1e-12));
  RC_ASSERT(simulate(c.schedule, load, any_order).makespan().value >= bound * (1 - 1e-12));
}

RC_GTEST_PROP(Bound, DoesNotDependOnTheOrderOfTheOps, ()) {
  const Case& c = random_case();
  const RandomLoad load = random_load(c);
  const Schedule other = list_by_start(c.schedule, simulate(c.schedule, load, any_order));
  const double bound = lower_bound(c.schedule, load).seconds.value;
  RC_ASSERT(std::abs(lower_bound(other, load).seconds.value - bound) <= 1e-12 * bound);
}

RC_GTEST_PROP(Bound, IsMetByASingleRank, ()) {
  Case c{testing::make_scenario({.layers = *rc::gen::inRange(1, 4), .cluster = "1xA40"}), {}};
  ExpertParallelShape shape;
  shape.groups = with_both_roles({{{0}}});
  shape.microbatches = static_cast<std::uint32_t>(*rc::gen::inRange(1, 4));
  shape.chunks = static_cast<std::uint32_t>(*rc::gen::inRange(1, 4));
  c.schedule = expert_parallel_schedule(c.scenario, shape);
  const RandomLoad load = random_load(c);
  const double makespan = simulate(c.schedule, load).makespan().value;
  RC_ASSERT(std::abs(lower_bound(c.schedule, load).seconds.value - makespan) <= 1e-12 * makespan);
}

}  // namespace
}  // namespace zebroid
