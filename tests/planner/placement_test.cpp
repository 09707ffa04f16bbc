#include "planner/placement.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <numeric>
#include <vector>

#include "tests/support/scenarios.hpp"

namespace zebroid {
namespace {

using ::testing::ElementsAre;
using testing::make_scenario;

std::vector<std::uint32_t> counts_of(const std::vector<std::uint32_t>& holders, std::size_t gpus) {
  std::vector<std::uint32_t> out(gpus, 0);
  for (const std::uint32_t holder : holders) ++out[holder];
  return out;
}

TEST(LongestFirst, IsEvenPlacementWhereNoneMovesAndAllAreAlike) {
  const Scenario scenario = make_scenario({.layers = 5, .experts = 8});
  const std::vector<std::uint32_t> none(5, 0);
  EXPECT_EQ(longest_first_placement(scenario, std::vector<Holder>(5), 3, none),
            even_placement(scenario.model, 3, 2, none));
}

TEST(LongestFirst, MovesAnyNumberAndLevelsLongerRunsOverTheLayers) {
  const Scenario scenario = make_scenario({.layers = 3, .experts = 12});
  const Placement placement =
      longest_first_placement(scenario, std::vector<Holder>(7), 3, {4, 5, 2});
  EXPECT_THAT(counts_of(placement[0], 7), ElementsAre(3, 3, 2, 1, 1, 1, 1));
  EXPECT_THAT(counts_of(placement[1], 7), ElementsAre(2, 2, 3, 2, 1, 1, 1));
  EXPECT_THAT(counts_of(placement[2], 7), ElementsAre(4, 3, 3, 0, 1, 1, 0));
}

/// Expert GPUs 0 and 1, attention GPU 2, which shall get a sixth of the load. What both sides lack:
///   0.4   0.83 | 0.17   stays, on GPU 0        0.1   0.08 | 0.17   moves
///   0.2   0.43 | 0.17   stays, on GPU 1        0.1   0.08 | 0.07   stays, on GPU 1 (0.45 < 0.5)
///   0.15  0.23 | 0.17   stays, on GPU 1        0.05  none | 0.07   moves
/// Of the equal ones the first stays.
TEST(LongestFirst, GivesEachExpertToTheSideThatLacksMostAndThereToTheGpuDoneFirst) {
  LongestFirst rule(std::vector<Holder>(3), 2);
  EXPECT_THAT(rule.place({0.05, 0.4, 0.1, 0.2, 0.15, 0.1}, 1), ElementsAre(2, 0, 1, 1, 1, 2));
}

TEST(LongestFirst, GivesAGpuTwiceAsFastTwiceAsMany) {
  LongestFirst rule({{.seconds = 2}, {.seconds = 1}, {.seconds = 1}}, 2);
  EXPECT_THAT(counts_of(rule.place(std::vector<double>(8, 0.125), 2), 3), ElementsAre(2, 4, 2));
}

TEST(LongestFirst, PassesOverGpusAndSidesWithoutRoom) {
  LongestFirst rule({{.room = 1}, {.room = 4}, {.room = 9}}, 2);
  const std::vector<double> shares(4, 0.25);
  EXPECT_THAT(counts_of(rule.place(shares, 0), 3), ElementsAre(1, 3, 0));
  EXPECT_THAT(counts_of(rule.place(shares, 0), 3), ElementsAre(0, 1, 3));
}

RC_GTEST_PROP(LongestFirst, MovesExactlyAsManyAsAskedWhenExpertsGetEqualLoads, ()) {
  const auto experts = *rc::gen::inRange(1U, 40U);
  const auto expert_gpus = *rc::gen::inRange(1U, 6U);
  const auto attention_gpus = *rc::gen::inRange(1U, 6U);
  LongestFirst rule(std::vector<Holder>(expert_gpus + attention_gpus), expert_gpus);
  for (int layer = 0; layer < 3; ++layer) {
    const auto moved = *rc::gen::inRange(0U, experts + 1);
    const auto holders = rule.place(std::vector<double>(experts, 1.0 / experts), moved);
    const auto counts = counts_of(holders, expert_gpus + attention_gpus);
    const auto middle = counts.begin() + expert_gpus;
    RC_ASSERT(std::accumulate(middle, counts.end(), 0U) == moved);
    RC_ASSERT(
        *std::max_element(counts.begin(), middle) - *std::min_element(counts.begin(), middle) <= 1);
    RC_ASSERT(*std::max_element(middle, counts.end()) - *std::min_element(middle, counts.end()) <=
              1);
  }
}

RC_GTEST_PROP(LongestFirst, LeavesEachSideItsPartUpToTheLargestLoad, ()) {
  const auto expert_gpus = *rc::gen::inRange(1U, 4U);
  LongestFirst rule(std::vector<Holder>(expert_gpus + 2), expert_gpus);
  std::vector<double> shares = *rc::gen::container<std::vector<double>>(
      *rc::gen::inRange<std::size_t>(1, 20),
      rc::gen::map(rc::gen::inRange(0, 1000), [](int i) { return i + 1.0; }));
  const double sum = std::accumulate(shares.begin(), shares.end(), 0.0);
  for (double& share : shares) share /= sum;
  const auto moved = *rc::gen::inRange(0U, static_cast<std::uint32_t>(shares.size() + 1));
  const auto holders = rule.place(shares, moved);
  double on_attention = 0;
  for (std::size_t e = 0; e < shares.size(); ++e) {
    if (holders[e] >= expert_gpus) on_attention += shares[e];
  }
  const double target = static_cast<double>(moved) / static_cast<double>(shares.size());
  const double largest = *std::max_element(shares.begin(), shares.end());
  RC_ASSERT(std::abs(on_attention - target) <= largest + 1e-9);
}

}  // namespace
}  // namespace zebroid
