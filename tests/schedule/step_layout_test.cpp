#include "schedule/step_layout.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "schedule/verify.hpp"
#include "tests/support/scenarios.hpp"
#include "tests/support/schedules.hpp"

namespace zebroid {
namespace {

using testing::Case;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using testing::make_scenario;

TEST(ChunkCut, IsContiguousAndRoundsDown) {
  EXPECT_EQ(chunk_cut(10, 0, 3), (Interval{0, 3}));
  EXPECT_EQ(chunk_cut(10, 1, 3), (Interval{3, 6}));
  EXPECT_EQ(chunk_cut(10, 2, 3), (Interval{6, 10}));
  EXPECT_EQ(chunk_cut(1, 0, 2).size(), 0);
}

TEST(ChunkCut, DoesNotOverflow) {
  const std::uint64_t most = UINT64_MAX;
  EXPECT_EQ(chunk_cut(most, 65534, 65535).end, most);
}

TEST(IntervalsInCommon, AreEmptyWhereTheyDoNotMeet) {
  EXPECT_EQ(common({2, 5}, {3, 9}), (Interval{3, 5}));
  EXPECT_EQ(common({2, 5}, {7, 9}).size(), 0);
  EXPECT_EQ(common({7, 9}, {2, 5}).size(), 0);
}

TEST(StepLayout, KnowsWhoRunsALayersAttention) {
  const Case c = testing::two_stages();
  const StepLayout layout(c.schedule);
  EXPECT_THAT(layout.attention_on(0, 0), ElementsAre(RankId{0}, RankId{1}));
  EXPECT_THAT(layout.attention_on(0, 1), ElementsAre(RankId{2}));
}

TEST(StepLayout, KnowsWhoHoldsWhichExperts) {
  const Case c = testing::two_stages();
  const StepLayout layout(c.schedule);
  EXPECT_THAT(layout.experts_of({1}, 0), ElementsAre(1));
  EXPECT_THAT(layout.experts_of({1}, 1), IsEmpty());
  EXPECT_THAT(layout.experts_of({2}, 1), ElementsAre(0, 1));
}

TEST(StepLayout, LaysSequencesOutInTheOrderOfTheRanks) {
  const Case c = testing::two_stages();
  const StepLayout layout(c.schedule);
  EXPECT_EQ(layout.sequences_of({0}, 0, 1), (Interval{0, 1}));
  EXPECT_EQ(layout.sequences_of({1}, 0, 1), (Interval{1, 2}));
  EXPECT_EQ(layout.sequences_of({2}, 1, 1), (Interval{0, 2}));
  EXPECT_EQ(layout.sequences_of({2}, 0, 1).size(), 0);
}

TEST(StepLayout, KnowsWhoSharesOptimizerStates) {
  Scenario scenario = make_scenario({.cluster = "4xA40"});
  scenario.training.optimizer_sharding = true;
  const Schedule schedule = testing::small_ep(scenario, 1);
  const StepLayout layout(schedule);
  ASSERT_FALSE(layout.gathers_of({0}).empty());
  const Op gather = layout.gathers_of({0}).front();
  const GroupId group = schedule.group_of({0}, gather);
  const Shards* shards = layout.find_shards(group, gather.layer);
  ASSERT_NE(shards, nullptr);
  EXPECT_TRUE(shards->all_shared);
  EXPECT_FALSE(shards->experts);
  Op sum = gather;
  EXPECT_TRUE(layout.goes_half_round(group, gather));
  sum.work = Work::reduce_shared;
  EXPECT_TRUE(layout.goes_half_round(group, sum));
  sum.work = Work::reduce_experts;
  EXPECT_FALSE(layout.goes_half_round(group, sum));
}

}  // namespace
}  // namespace zebroid
