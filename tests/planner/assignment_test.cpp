#include "planner/assignment.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace zebroid {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;

/// 12 experts in 4 layers on M = N = 6; experts take 2 s on an expert GPU and 1 s on an attention
/// GPU, attention takes 1 s.
GatherAndSqueeze equal_pools() {
  return {.experts = 12,
          .layers = 4,
          .attention_gpus = 6,
          .expert_gpus = 6,
          .attention = {1},
          .experts_on_expert_gpu = {2},
          .experts_on_attention_gpu = {1},
          .most_offloaded = 8,
          .least_offloaded = 0};
}

/// As above with M = 2, N = 4: each attention GPU takes two experts where each expert GPU gives
/// one.
GatherAndSqueeze unequal_pools() {
  GatherAndSqueeze in = equal_pools();
  in.attention_gpus = 2;
  in.expert_gpus = 4;
  return in;
}

TEST(GatherAndSqueeze, SpendsAGapOfOneOnChunksOfOneAndAHalf) {
  // T_squeeze = 6/12 * (1*2 + 1*1) = 1.5; gathered 1, 2 -> 0.5, 1.5 -> 0, 1.
  EXPECT_THAT(gather_and_squeeze(equal_pools()).per_layer, ElementsAre(0, 1, 1, 0));
}

TEST(GatherAndSqueeze, CountsTheExpertsThatLeaveWithTheExpertGpuInItsProseForm) {
  // n1 = 2, n2 = 1: 4/12 * (1*2 + 2*1) = 4/3; gathered 1, 2 -> 2/3, 5/3 -> 1/3, 4/3 -> 0, an exact
  // tie that counts.
  EXPECT_THAT(gather_and_squeeze(unequal_pools()).per_layer, ElementsAre(0, 1, 1, 1));
}

TEST(GatherAndSqueeze, SwapsTheCountsInItsPrintedForm) {
  // 4/12 * (2*2 + 1*1) = 5/3; gathered 1, 2 -> 1/3, 4/3, 7/3 -> 2/3.
  GatherAndSqueeze in = unequal_pools();
  in.form = SqueezeForm::printed;
  EXPECT_THAT(gather_and_squeeze(in).per_layer, ElementsAre(0, 1, 0, 1));
}

TEST(GatherAndSqueeze, GivesBothFormsTheSameVectorOnEqualPools) {
  GatherAndSqueeze in = equal_pools();
  in.form = SqueezeForm::printed;
  EXPECT_EQ(gather_and_squeeze(in).per_layer, gather_and_squeeze(equal_pools()).per_layer);
}

TEST(GatherAndSqueeze, MovesTwoExpertsAtATimeWhenThereAreTwiceAsManyAttentionGpus) {
  GatherAndSqueeze in = equal_pools();
  in.attention_gpus = 4;
  in.expert_gpus = 2;  // n1 = 1, n2 = 2: 2/12 * (2*2 + 1*1) = 5/6; gathered 1 -> 1/6, 7/6 -> 1/3,
                       // 4/3 -> 1/2, 3/2 -> 2/3
  EXPECT_THAT(gather_and_squeeze(in).per_layer, ElementsAre(2, 2, 2, 2));
}

TEST(GatherAndSqueeze, OffloadsNothingWhereAttentionTakesLonger) {
  GatherAndSqueeze in = equal_pools();
  in.attention = {2.5};
  const Offload offload = gather_and_squeeze(in);
  EXPECT_TRUE(offload.fits);
  EXPECT_THAT(offload.per_layer, Each(0));
}

TEST(GatherAndSqueeze, StopsAtWhatTheAttentionGpusCanHold) {
  GatherAndSqueeze in = unequal_pools();
  in.most_offloaded = 1;  // the gap of 1 is cut to 1 * (4/3) / 4
  EXPECT_THAT(gather_and_squeeze(in).per_layer, ElementsAre(0, 0, 0, 1));
}

TEST(GatherAndSqueeze, OffloadsWhatTheExpertGpusCannotHoldEvenAgainstTheGap) {
  GatherAndSqueeze in = equal_pools();
  in.experts_on_expert_gpu = in.experts_on_attention_gpu = {0.5};
  in.least_offloaded = 2;  // T_squeeze = 0.5; the gap of -0.5 is raised to 2 * 0.5 / 4
  const Offload offload = gather_and_squeeze(in);
  EXPECT_TRUE(offload.fits);
  EXPECT_THAT(offload.per_layer, ElementsAre(0, 1, 0, 1));
}

TEST(GatherAndSqueeze, IsInfeasibleWhenMoreMustLeaveThanFitsElsewhere) {
  GatherAndSqueeze in = equal_pools();
  in.least_offloaded = 9;
  EXPECT_FALSE(gather_and_squeeze(in).fits);
}

TEST(GatherAndSqueeze, HasNoChunkWhereNeitherCountDividesTheOther) {
  GatherAndSqueeze in = equal_pools();
  in.attention_gpus = 4;
  in.expert_gpus = 3;
  EXPECT_TRUE(gather_and_squeeze(in).fits);
  EXPECT_THAT(gather_and_squeeze(in).per_layer, Each(0));
  in.least_offloaded = 1;
  EXPECT_FALSE(gather_and_squeeze(in).fits);
}

TEST(GatherAndSqueeze, NeverGivesAwayMoreExpertsThanALayerHas) {
  GatherAndSqueeze in = equal_pools();
  in.attention = {0};
  in.experts_on_expert_gpu = {100};
  in.experts_on_attention_gpu = {0.001};
  in.most_offloaded = 1000;
  EXPECT_THAT(gather_and_squeeze(in).per_layer, Each(::testing::Le(2U)));
}

TEST(DealEvenly, GivesContiguousRuns) {
  EXPECT_THAT(deal_evenly(6, 3, 0), ElementsAre(0, 0, 1, 1, 2, 2));
}

TEST(DealEvenly, StartsTheLongerRunsAtTheShift) {
  EXPECT_THAT(deal_evenly(7, 3, 0), ElementsAre(0, 0, 0, 1, 1, 2, 2));
  EXPECT_THAT(deal_evenly(7, 3, 1), ElementsAre(0, 0, 1, 1, 1, 2, 2));
  EXPECT_THAT(deal_evenly(8, 3, 2), ElementsAre(0, 0, 0, 1, 1, 2, 2, 2));
}

}  // namespace
}  // namespace zebroid
