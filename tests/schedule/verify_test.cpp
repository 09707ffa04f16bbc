#include "schedule/verify.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "tests/support/brute_force.hpp"
#include "tests/support/schedules.hpp"

namespace zebroid {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::ops;
using ::testing::SizeIs;

std::vector<std::string> faults_of(const Schedule& schedule) {
  std::vector<std::string> out;
  for (const Fault& fault : verify(schedule)) out.push_back(fault.message);
  return out;
}

/// Three ranks with all of a dense layer; how each ends its step after the layer's gradients. Group
/// @1 is all ranks, @2 ranks 0 and 1 (on rank 2 ranks 0 and 2), @3 on rank 0 ranks 0 and 2.
Schedule three_holders(const std::array<std::string, 3>& ends) {
  Schedule out;
  out.layers = out.microbatches = out.chunks = 1;
  for (const std::string& end : ends) out.programs.push_back(ops("A0.0 H0 H'0 A'0.0 " + end, 1));
  out.replicas = {{{{}}}};
  out.groups = {{{0}, {1}, {2}}, {{0}, {1}}, {{0}, {2}}};
  out.ranks = {
      {{0}, 0, 0, 1, {{0}, {1}, {2}}}, {{1}, 1, 0, 1, {{0}, {1}}}, {{2}, 2, 0, 1, {{0}, {2}}}};
  return out;
}

TEST(VerifyOfSums, AcceptsOneRingAndThreePhases) {
  const std::string ring = "sum0 norm step";
  EXPECT_THAT(faults_of(three_holders({ring, ring, ring})), IsEmpty());
  EXPECT_THAT(faults_of(three_holders({"sum0.0.0@2 sum0.0.1@3 sum0.0.2@2 norm step",
                                       "sum0.0.0@2 sum0.0.2@2 norm step", "sum0.0.1@2 norm step"})),
              IsEmpty());
}

TEST(VerifyOfSums, RefusesOneWhoseResultDoesNotReachARank) {
  const Schedule schedule = three_holders(
      {"sum0.0.0@2 sum0.0.1@3 norm step", "sum0.0.0@2 norm step", "sum0.0.1@2 norm step"});
  EXPECT_THAT(faults_of(schedule),
              ElementsAre("reduce_shared of layer 0 ends on rank 1 without what rank 2 adds"));
}

TEST(VerifyOfSums, RefusesOneThatLeavesOutWhatARankAdds) {
  const Schedule schedule = three_holders(
      {"sum0.0.1@3 sum0.0.2@2 norm step", "sum0.0.2@2 norm step", "sum0.0.1@2 norm step"});
  EXPECT_THAT(faults_of(schedule),
              ElementsAre("reduce_shared of layer 0 ends on rank 0 without what rank 1 adds"));
}

TEST(VerifyOfSums, RefusesOneThatCountsARankTwice) {
  const Schedule schedule = three_holders(
      {"sum0.0.0@2 sum0.0.1 norm step", "sum0.0.0@2 sum0.0.1 norm step", "sum0.0.1 norm step"});
  EXPECT_THAT(
      faults_of(schedule),
      ElementsAre("reduce_shared of layer 0 ends on rank 0 with more than once what rank 0 adds"));
}

TEST(VerifyOfSums, RefusesPhasesThatComeInAnotherOrder) {
  const Schedule schedule =
      three_holders({"sum0.0.1@3 sum0.0.0@2 sum0.0.2@2 norm step",
                     "sum0.0.0@2 sum0.0.2@2 norm step", "sum0.0.1@2 norm step"});
  EXPECT_THAT(faults_of(schedule), ElementsAre(HasSubstr("deadlock: ")));
  EXPECT_FALSE(testing::runs_to_the_end(schedule));
}

Schedule two_stages_with(const std::string& gathers) {
  Schedule out = testing::two_stages().schedule;
  for (const Op& op : ops(gathers, out.layers)) out.programs[0].push_back(op);
  return out;
}

TEST(VerifyOfGathers, AcceptsThoseOfTheLayersThatRanksShare) {
  EXPECT_THAT(faults_of(two_stages_with("gather0")), IsEmpty());
}

TEST(VerifyOfGathers, RefusesALayerThatIsNotGatheredWhereAnotherIs) {
  Schedule schedule = testing::small_cases().back().schedule;  // with a sharded optimizer
  for (Program& program : schedule.programs) {
    std::erase_if(program, [](const Op& op) { return op.work == Work::gather && op.layer == 1; });
  }
  EXPECT_THAT(faults_of(schedule),
              ElementsAre("rank 0 lacks gather' 1.0: it gathers another layer",
                          "rank 1 lacks gather' 1.0: it gathers another layer"));
}

TEST(VerifyOfGathers, RefusesALayerThatTheRanksDoNotHold) {
  const std::vector<std::string> faults = faults_of(two_stages_with("gather0 gather1"));
  ASSERT_THAT(faults, SizeIs(2));
  EXPECT_EQ(faults[0], "rank 0 lists gather' 1.0, but it runs no attention of that layer");
}

// --- ops without a purpose ---

TEST(VerifyOfPurpose, RefusesAHeadWithoutTheAttentionOfItsLayer) {
  Schedule schedule = testing::two_stages().schedule;
  ASSERT_THAT(faults_of(schedule), IsEmpty());
  const auto last = static_cast<std::uint16_t>(schedule.layers - 1);
  Program& below = schedule.programs[schedule.ranks[0].program];
  below.push_back({Work::head, Pass::forward, 0, last, 0, 0});
  EXPECT_THAT(faults_of(schedule),
              Contains("rank 0 lists head 1.0, but it runs no attention of that layer"));
}

TEST(VerifyOfPurpose, RefusesARecomputedDispatchOfWhatIsNotComputedAgain) {
  const auto recomputes = [](Work work) {
    return [work](const Op& op) { return op.work == work && op.pass == Pass::recompute; };
  };
  for (testing::Case& c : testing::small_cases()) {
    Program& program = c.schedule.programs.front();
    const auto dispatch = std::find_if(program.begin(), program.end(), recomputes(Work::dispatch));
    if (dispatch == program.end()) continue;
    const std::string name = name_of(*dispatch);
    std::erase_if(program, recomputes(Work::attention));
    EXPECT_THAT(faults_of(c.schedule), Contains(EndsWith(": " + name + " sends it")));
    return;
  }
  FAIL() << "no case recomputes a dispatch";
}

}  // namespace
}  // namespace zebroid
