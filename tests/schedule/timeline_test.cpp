#include "schedule/timeline.hpp"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "sim/simulate.hpp"
#include "tests/support/random_load.hpp"
#include "tests/support/schedules.hpp"

namespace zebroid {
namespace {

using testing::Case;
using testing::ops;

/// One rank's program of two layers with hand-made times (ready, started, ended) of its ops.
struct ByHand {
  std::string program;
  std::vector<OpTimes> times;
};

Utilization of(const ByHand& hand) {
  Schedule schedule;
  schedule.layers = 2;
  schedule.programs = {ops(hand.program, 2)};
  schedule.ranks.resize(1);
  EXPECT_EQ(schedule.programs[0].size(), hand.times.size());
  return utilization(schedule, {"by hand", {hand.times}}).front();
}

void expect_shares(const Utilization& use, double busy, double exposed, double bubble) {
  EXPECT_DOUBLE_EQ(use.busy, busy);
  EXPECT_DOUBLE_EQ(use.exposed, exposed);
  EXPECT_DOUBLE_EQ(use.bubble, bubble);
}

OpTimes compute(double from, double to) { return {{from}, {from}, {to}, {}, 0}; }
OpTimes exchange(double ready, double started, double ended) {
  return {{ready}, {started}, {ended}, {}, 0};
}

TEST(Makespan, IsTheEndOfTheLastOp) {
  EXPECT_EQ((Timeline{"", {{compute(0, 2)}, {exchange(1, 2, 5), compute(2, 3)}}}.makespan().value),
            5);
  EXPECT_EQ((Timeline{"", {{}, {}}}.makespan().value), 0);
}

TEST(Utilization, OfAnEmptyIterationIsAllBubble) {
  expect_shares(of({"", {}}), 0, 0, 1);
  expect_shares(of({"A0.0", {compute(0, 0)}}), 0, 0, 1);
}

TEST(Utilization, CountsRecomputationAsBusyButNotAsEffective) {
  const Utilization use = of({"A0.0 A*0.0 A'0.0", {compute(0, 1), compute(1, 2), compute(2, 4)}});
  expect_shares(use, 1, 0, 0);
  EXPECT_DOUBLE_EQ(use.effective, 0.75);
}

TEST(Utilization, CallsAGapExposedOnlyWhileTheTransferRunsThatItWaitsFor) {
  // Attention until 2; dispatch from 3 to 5; combine, which the head waits for, from 7 to 9.
  expect_shares(of({"A1.0 D1.0 C1.0 H0",
                    {compute(0, 2), exchange(2, 3, 5), exchange(2, 7, 9), compute(9, 10)}}),
                0.3, 0.2, 0.5);
}

TEST(Utilization, CallsATransferHiddenWhileComputeRuns) {
  // Of combine's transfer from 1 to 4 the last second lies in the gap.
  expect_shares(
      of({"A1.0 A1.1 C1.0 H0", {compute(0, 1), compute(1, 3), exchange(0, 1, 4), compute(4, 5)}}),
      0.8, 0.2, 0);
}

TEST(Utilization, CallsTheTimeAfterTheLastComputeOpBubble) {
  expect_shares(of({"A0.0 D0.0", {compute(0, 1), exchange(1, 1, 4)}}), 0.25, 0, 0.75);
}

TEST(Utilization, CallsAGapWithoutAnyTransferBubble) {
  // The head starts two seconds after what it reads has ended.
  expect_shares(of({"A1.0 H0", {compute(0, 1), compute(3, 4)}}), 0.5, 0, 0.5);
}

TEST(Utilization, FollowsTheNormToTheSumThatItWaitedFor) {
  // Norm from 4 to 5, before it the sum from 2.5 to 4, which waited for a peer from 2 on.
  expect_shares(of({"A'0.0 sum0 norm step",
                    {compute(0, 2), exchange(2, 2.5, 4), exchange(4, 4, 5), compute(5, 6)}}),
                0.5, 2.5 / 6, 0.5 / 6);
}

TEST(Utilization, FollowsAnExchangeToTheOneBeforeItOnItsStream) {
  // Experts of microbatch 1 wait for its rows, which waited for those of microbatch 0.
  expect_shares(of({"D0.0 D0.1 E0.1", {exchange(0, 1, 3), exchange(3, 3, 5), compute(5, 10)}}), 0.5,
                0.4, 0.1);
}

TEST(Utilization, DoesNotFollowAnExchangeThatWasReadyBeforeTheGap) {
  // Combine was launched while attention ran; then it waited for its peers alone.
  expect_shares(of({"C0.0 A1.1 C1.1 H1",
                    {exchange(0, 0, 1), compute(0, 4), exchange(1, 6, 8), compute(8, 10)}}),
                0.6, 0.2, 0.2);
}

TEST(Utilization, DoesNotCountATransferTwiceThatOverlapsTheNext) {
  // The transfers before the head overlap (hand-made: a measured timeline may say so).
  expect_shares(of({"C1.0.0 C1.0.1 H0", {exchange(0, 0, 3), exchange(1, 2, 4), compute(4, 8)}}),
                0.5, 0.5, 0);
}

TEST(Utilization, IsGivenForEachRank) {
  Schedule schedule;
  schedule.layers = 1;
  schedule.programs = {ops("A0.0 D0.0", 1), ops("D0.0 E0.0", 1)};
  schedule.ranks = {{{0}, 0, 0, 1, {}}, {{1}, 1, 0, 0, {}}};
  const Timeline timeline{"by hand",
                          {{compute(0, 1), exchange(1, 1, 2)}, {exchange(0, 1, 2), compute(2, 4)}}};
  const std::vector<Utilization> use = utilization(schedule, timeline);
  expect_shares(use.at(0), 0.25, 0, 0.75);
  expect_shares(use.at(1), 0.5, 0.25, 0.25);
}

RC_GTEST_PROP(Utilization, SplitsTheWholeIteration, ()) {
  static const std::vector<Case> cases = [] {
    std::vector<Case> out = testing::small_cases();
    out.push_back(testing::two_stages());
    return out;
  }();
  const Case& c = cases[*rc::gen::inRange<std::size_t>(0, cases.size())];
  const testing::RandomLoad load(c.schedule, c.scenario, *rc::gen::arbitrary<std::uint64_t>(),
                                 *rc::gen::element(0.0, 0.1, 1.0, 5.0));
  const Timeline timeline = simulate(c.schedule, load, {.verified = true});
  for (const Utilization& use : utilization(c.schedule, timeline)) {
    RC_ASSERT(use.effective >= 0 && use.effective <= use.busy && use.exposed >= 0 &&
              use.bubble >= 0);
    RC_ASSERT(std::abs(use.busy + use.exposed + use.bubble - 1) < 1e-12);
  }
}

}  // namespace
}  // namespace zebroid
