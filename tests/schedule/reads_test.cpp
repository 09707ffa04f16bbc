#include <gtest/gtest.h>

#include <algorithm>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "schedule/schedule.hpp"
#include "schedule/verify.hpp"
#include "tests/support/brute_force.hpp"
#include "tests/support/schedules.hpp"

namespace zebroid {
namespace {

using testing::ops;

/// A program of two layers in the notation of tests/support/schedules.hpp, and what its ops read.
class Listing {
 public:
  explicit Listing(const std::string& text) : program_(ops(text, layers)) {
    Schedule schedule;
    schedule.layers = layers;
    reads_ = reads(schedule, program_);
  }

  /// The ops that `reader` reads, in the order of the program; "lacking" when it finds nothing
  /// although it must.
  std::string of(const std::string& reader) const {
    const Op op = ops(reader, layers).front();
    const auto at = std::find(program_.begin(), program_.end(), op);
    if (at == program_.end()) throw std::invalid_argument("not listed: " + reader);
    const auto i = static_cast<std::uint32_t>(at - program_.begin());
    const auto& lacking = reads_.lacking;
    if (std::find(lacking.begin(), lacking.end(), i) != lacking.end()) return "lacking";
    std::string out;
    for (std::uint32_t k = reads_.first[i]; k < reads_.first[i + 1]; ++k) {
      out += (out.empty() ? "" : ", ") + name_of(program_[reads_.ops[k]]);
    }
    return out;
  }

 private:
  static constexpr std::uint16_t layers = 2;
  Program program_;
  Reads reads_;
};

TEST(Reads, OfAttentionAreTheFirstKindThatLeavesTheLayerBelow) {
  EXPECT_EQ(Listing("A0.0").of("A0.0"), "");
  EXPECT_EQ(Listing("A0.0 D0.0 E0.0 C0.0 S1.0 A1.0").of("A1.0"), "stage 1.0");
  EXPECT_EQ(Listing("A0.0 D0.0 E0.0 C0.0 A1.0").of("A1.0"), "combine 0.0");
  EXPECT_EQ(Listing("A0.0 D0.0 E0.0 A1.0").of("A1.0"), "expert 0.0");
  EXPECT_EQ(Listing("A0.0 A1.0").of("A1.0"), "attention 0.0");
  EXPECT_EQ(Listing("A1.0").of("A1.0"), "lacking");
}

TEST(Reads, StayWithinAMicrobatchAndTakeAllItsChunks) {
  const Listing listing("A0.0 A0.1 E0.0.0 E0.1.0 E0.1.1 C0.0.0 C0.1.0 C0.1.1 A1.0 A1.1");
  EXPECT_EQ(listing.of("A1.0"), "combine 0.0");
  EXPECT_EQ(listing.of("A1.1"), "combine 0.1, combine 0.1.1");
}

TEST(Reads, DoNotDependOnTheOrderOfTheProgram) {
  EXPECT_EQ(Listing("A1.0 C0.0 A0.0").of("A1.0"), "combine 0.0");
}

TEST(Reads, OfRecomputedAttentionAreItsKeptInputIfAny) {
  EXPECT_EQ(Listing("A0.0 C0.0 A1.0 A*1.0").of("A*1.0"), "combine 0.0");
  EXPECT_EQ(Listing("S1.0 A1.0 A*1.0").of("A*1.0"), "stage 1.0");
  EXPECT_EQ(Listing("A0.0 A*0.0").of("A*0.0"), "");
  EXPECT_EQ(Listing("A*1.0").of("A*1.0"), "");
}

TEST(Reads, OfRecomputationAreAlsoTheGradientThatItIsFor) {
  EXPECT_EQ(Listing("A0.0 C0.0 H'0 D'1.0 C'1.0 A*1.0").of("A*1.0"), "combine 0.0, combine' 1.0");
  EXPECT_EQ(Listing("A0.0 A1.0 A'1.0 A*0.0").of("A*0.0"), "attention' 1.0");
  EXPECT_EQ(Listing("D1.0.1 D'1.0.0 D'1.0.1 E*1.0.1").of("E*1.0.1"),
            "dispatch 1.0.1, dispatch' 1.0.1");
}

TEST(Reads, OfAttentionThatIsDispatchedAgainAreNotWhatComesBackFromThere) {
  EXPECT_EQ(Listing("A'1.0 A*0.0 D*0.0 E*0.0 D'0.0 E'0.0 C'0.0 A'0.0").of("A*0.0"),
            "attention' 1.0");
}

TEST(Reads, OfAttentionBackwardAreTheGradientAndWhatWasRecomputed) {
  EXPECT_EQ(Listing("H'0 D'1.0 E'1.0 C'1.0 A'1.0").of("A'1.0"), "combine' 1.0");
  EXPECT_EQ(Listing("H'0 D'1.0 E'1.0 A'1.0").of("A'1.0"), "expert' 1.0");
  EXPECT_EQ(Listing("H'0 A'1.0").of("A'1.0"), "head' 1.0");
  EXPECT_EQ(Listing("S'1.0 A'0.0").of("A'0.0"), "stage' 1.0");
  EXPECT_EQ(Listing("A'1.0 A'0.0").of("A'0.0"), "attention' 1.0");
  EXPECT_EQ(Listing("S'1.0 A'1.0 A'0.0").of("A'0.0"), "stage' 1.0");
  EXPECT_EQ(Listing("C'1.0 A*1.0 A'1.0").of("A'1.0"), "combine' 1.0, attention* 1.0");
  EXPECT_EQ(Listing("A*1.0 A'1.0").of("A'1.0"), "lacking");
}

TEST(Reads, OfDispatchAreAttentionOfItsPassOrTheOutputsGradient) {
  EXPECT_EQ(Listing("A0.0 A*0.0 D0.0").of("D0.0"), "attention 0.0");
  EXPECT_EQ(Listing("A0.0 A*0.0 D*0.0").of("D*0.0"), "attention* 0.0");
  EXPECT_EQ(Listing("H'0 D'1.0").of("D'1.0"), "head' 1.0");
  EXPECT_EQ(Listing("A'1.0 D'0.0").of("D'0.0"), "attention' 1.0");
  EXPECT_EQ(Listing("S'1.0 A'1.0 D'0.0").of("D'0.0"), "stage' 1.0");
}

TEST(Reads, OfAnExchangeThatOnlyReceivesAreNone) {
  const std::string received = "D0.0 D*0.0 D'0.0 C0.0 C'0.0";
  for (const char* op : {"D0.0", "D*0.0", "D'0.0", "C0.0", "C'0.0"}) {
    EXPECT_EQ(Listing(received).of(op), "") << op;
  }
  EXPECT_EQ(Listing("S1.0").of("S1.0"), "");
  EXPECT_EQ(Listing("S'1.0").of("S'1.0"), "");
}

TEST(Reads, OfExpertsAreTheDispatchOfTheirChunkElseTheirOwnAttention) {
  const Listing chunks("A0.0 D0.0.0 D0.0.1 E0.0.0 E0.0.1");
  EXPECT_EQ(chunks.of("E0.0.0"), "dispatch 0.0");
  EXPECT_EQ(chunks.of("E0.0.1"), "dispatch 0.0.1");
  EXPECT_EQ(Listing("A0.0 E0.0").of("E0.0"), "attention 0.0");
  EXPECT_EQ(Listing("D0.0.0 E0.0.1").of("E0.0.1"), "lacking");
}

TEST(Reads, OfRecomputedExpertsAreWhatWasDispatchedAgainElseWhatWasKept) {
  EXPECT_EQ(Listing("A0.0 D0.0 D*0.0 E*0.0").of("E*0.0"), "dispatch* 0.0");
  EXPECT_EQ(Listing("A0.0 D0.0 E*0.0").of("E*0.0"), "dispatch 0.0");
  EXPECT_EQ(Listing("A0.0 D0.0 A*0.0 E*0.0").of("E*0.0"), "dispatch 0.0");
  EXPECT_EQ(Listing("A0.0 A*0.0 E*0.0").of("E*0.0"), "attention* 0.0");
  EXPECT_EQ(Listing("A0.0 E*0.0").of("E*0.0"), "attention 0.0");
  EXPECT_EQ(Listing("E*0.0").of("E*0.0"), "");
}

TEST(Reads, OfExpertsBackwardAreTheGradientOfTheirChunkAndWhatWasRecomputed) {
  const Listing chunks("H'0 D'1.0.0 D'1.0.1 E*1.0.0 E*1.0.1 E'1.0.0 E'1.0.1");
  EXPECT_EQ(chunks.of("E'1.0.0"), "dispatch' 1.0, expert* 1.0");
  EXPECT_EQ(chunks.of("E'1.0.1"), "dispatch' 1.0.1, expert* 1.0.1");
  EXPECT_EQ(Listing("H'0 E'1.0").of("E'1.0"), "head' 1.0");
  EXPECT_EQ(Listing("E*1.0 E'1.0").of("E'1.0"), "lacking");
}

TEST(Reads, OfCombineAreTheExpertsOfItsPassAndChunk) {
  const Listing listing("E0.0.0 E0.0.1 E*0.0.1 E'0.0.1 C0.0.1 C*0.0.1 C'0.0.1");
  EXPECT_EQ(listing.of("C0.0.1"), "expert 0.0.1");
  EXPECT_EQ(listing.of("C*0.0.1"), "expert* 0.0.1");
  EXPECT_EQ(listing.of("C'0.0.1"), "expert' 0.0.1");
}

TEST(Reads, OfAStageAreWhatTheLayerBelowLeavesAndBackwardWhatThisLayerSendsDown) {
  EXPECT_EQ(Listing("A0.0 D0.0 E0.0 C0.0 S1.0").of("S1.0"), "combine 0.0");
  EXPECT_EQ(Listing("A0.0 E0.0 S1.0").of("S1.0"), "expert 0.0");
  EXPECT_EQ(Listing("A0.0 S1.0").of("S1.0"), "attention 0.0");
  EXPECT_EQ(Listing("A'1.0 S'1.0").of("S'1.0"), "attention' 1.0");
}

TEST(Reads, OfTheHeadAreWhatTheLastLayerLeaves) {
  EXPECT_EQ(Listing("A1.0 E1.0 C1.0 H0").of("H0"), "combine 1.0");
  EXPECT_EQ(Listing("A1.0 E1.0 H0").of("H0"), "expert 1.0");
  EXPECT_EQ(Listing("A1.0 A1.1 H1").of("H1"), "attention 1.1");
  EXPECT_EQ(Listing("A0.0 H0").of("H0"), "lacking");
  EXPECT_EQ(Listing("H0 H'0").of("H'0"), "head 1.0");
  EXPECT_EQ(Listing("H'0").of("H'0"), "lacking");
}

TEST(Reads, OfSumsAreAllGradientsOfTheirLayer) {
  const Listing listing(
      "H0 H'0 H'1 E'1.0 A'1.0 E'1.1 A'1.1 A'0.0 A'0.1 sum1 sum0 esum1 norm step gather1");
  EXPECT_EQ(listing.of("sum1"), "head' 1.0, head' 1.1, attention' 1.0, attention' 1.1");
  EXPECT_EQ(listing.of("sum0"), "attention' 0.0, attention' 0.1");
  EXPECT_EQ(listing.of("esum1"), "expert' 1.0, expert' 1.1");
  EXPECT_EQ(listing.of("step"), "reduce_norm' 0.0");
  EXPECT_EQ(listing.of("gather1"), "step' 0.0");
}

TEST(Reads, OfAPhaseOfASumAreTheGradientsOfItsLayerAndThePhasesBefore) {
  const Listing listing("A'0.0 A'0.1 sum0.0.0 sum0.0.1 sum0.0.2");
  EXPECT_EQ(listing.of("sum0.0.0"), "attention' 0.0, attention' 0.1");
  EXPECT_EQ(listing.of("sum0.0.1"), "attention' 0.0, attention' 0.1, reduce_shared' 0.0");
  EXPECT_EQ(listing.of("sum0.0.2"),
            "attention' 0.0, attention' 0.1, reduce_shared' 0.0, reduce_shared' 0.0.1");
  EXPECT_EQ(Listing("E'0.0 esum0.0.0 esum0.0.1").of("esum0.0.1"),
            "expert' 0.0, reduce_experts' 0.0");
  EXPECT_EQ(Listing("norm norm0.0.1").of("norm0.0.1"), "reduce_norm' 0.0");
}

TEST(Reads, OfTheNormAreAllGradientsAndSumsAndNothingWithoutParameters) {
  EXPECT_EQ(Listing("H'0 E'1.0 A'1.0 sum1 esum1 norm").of("norm"),
            "head' 1.0, expert' 1.0, attention' 1.0, reduce_shared' 1.0, reduce_experts' 1.0");
  EXPECT_EQ(Listing("norm").of("norm"), "");
}

TEST(Reads, OfOpsThatSumOrStepWithoutTheirInputAreLacking) {
  EXPECT_EQ(Listing("A'1.0 sum0").of("sum0"), "lacking");
  EXPECT_EQ(Listing("A'0.0 esum0").of("esum0"), "lacking");
  EXPECT_EQ(Listing("step").of("step"), "lacking");
  EXPECT_EQ(Listing("gather0").of("gather0"), "lacking");
}

/// Two attention GPUs, one expert GPU, two layers, two microbatches; attention GPU 0 has an expert
/// of layer 1. Slot 1 is the group of all, slot 2 the attention GPUs.
constexpr const char* attention_program =
    "A0.0 A0.1 D0.0 D0.1 C0.0 C0.1 A1.0 A1.1 D1.0 D1.1 E1.0 E1.1 C1.0 C1.1 H0 H'0 H1 H'1 "
    "D'1.0 D'1.1 E*1.0 E'1.0 E*1.1 E'1.1 C'1.0 C'1.1 A*1.0 A'1.0 A*1.1 A'1.1 D'0.0 D'0.1 "
    "C'0.0 C'0.1 A*0.0 A'0.0 A*0.1 A'0.1 sum1@2 sum0@2 norm step";
constexpr const char* expert_program =
    "D0.0 D0.1 E0.0 E0.1 C0.0 C0.1 D1.0 D1.1 E1.0 E1.1 C1.0 C1.1 D'1.0 D'1.1 "
    "E*1.0 E'1.0 E*1.1 E'1.1 C'1.0 C'1.1 D'0.0 D'0.1 E*0.0 E'0.0 E*0.1 E'0.1 C'0.0 C'0.1 "
    "norm step";

using Rows = std::vector<std::pair<const char*, const char*>>;

void expect_rows(const Listing& listing, const Rows& rows) {
  for (const auto& [op, read] : rows) EXPECT_EQ(listing.of(op), read) << op;
}

TEST(ReadsOfAZebraStep, OnAnAttentionGpuWithAnExpertFollowTheTokens) {
  expect_rows(Listing(attention_program),
              {{"A0.1", ""},
               {"D0.1", "attention 0.1"},
               {"C0.1", ""},  // no expert of layer 0 here: it only receives
               {"A1.1", "combine 0.1"},
               {"D1.1", "attention 1.1"},
               {"E1.1", "dispatch 1.1"},
               {"C1.1", "expert 1.1"},
               {"H1", "combine 1.1"},
               {"H'1", "head 1.1"},
               {"D'1.1", "head' 1.1"},
               {"E*1.1", "dispatch 1.1, dispatch' 1.1"},
               {"E'1.1", "dispatch' 1.1, expert* 1.1"},
               {"C'1.1", "expert' 1.1"},
               {"A*1.1", "combine 0.1, combine' 1.1"},
               {"A'1.1", "combine' 1.1, attention* 1.1"},
               {"D'0.1", "attention' 1.1"},
               {"C'0.1", ""},
               {"A*0.1", "combine' 0.1"},
               {"A'0.1", "combine' 0.1, attention* 0.1"},
               {"sum1@2", "head' 1.0, head' 1.1, attention' 1.0, attention' 1.1"},
               {"sum0@2", "attention' 0.0, attention' 0.1"},
               {"norm",
                "head' 1.0, head' 1.1, expert' 1.0, expert' 1.1, attention' 1.0, attention' 1.1, "
                "attention' 0.0, attention' 0.1, reduce_shared' 1.0, reduce_shared' 0.0"},
               {"step", "reduce_norm' 0.0"}});
}

TEST(ReadsOfAZebraStep, OnAnExpertGpuFollowTheTokens) {
  expect_rows(Listing(expert_program),
              {{"D0.1", ""},
               {"E0.1", "dispatch 0.1"},
               {"C0.1", "expert 0.1"},
               {"D1.1", ""},
               {"E1.1", "dispatch 1.1"},
               {"C1.1", "expert 1.1"},
               {"D'1.1", ""},
               {"E*1.1", "dispatch 1.1, dispatch' 1.1"},
               {"E'1.1", "dispatch' 1.1, expert* 1.1"},
               {"C'1.1", "expert' 1.1"},
               {"D'0.1", ""},
               {"E*0.1", "dispatch 0.1, dispatch' 0.1"},
               {"E'0.1", "dispatch' 0.1, expert* 0.1"},
               {"C'0.1", "expert' 0.1"},
               {"norm", "expert' 1.0, expert' 1.1, expert' 0.0, expert' 0.1"},
               {"step", "reduce_norm' 0.0"}});
}

TEST(ReadsOfAZebraStep, LeaveItWithoutFaults) {
  Schedule schedule;
  schedule.layers = schedule.microbatches = 2;
  schedule.experts = 3;
  schedule.chunks = 1;
  schedule.programs = {ops(attention_program, 2), ops(expert_program, 2)};
  schedule.replicas = {{{{{2}, {2}, {2}}, {{2}, {2}, {0}}}}};
  schedule.ranks = {{{0}, 0, 0, 2, {{0}, {1}}}, {{1}, 0, 0, 2, {{0}, {1}}}, {{2}, 1, 0, 0, {{0}}}};
  schedule.groups = {{{0}, {1}, {2}}, {{0}, {1}}};
  const std::vector<Fault> faults = verify(schedule);
  EXPECT_TRUE(faults.empty()) << faults.front().message;
  EXPECT_TRUE(testing::runs_to_the_end(schedule));
}

TEST(ReadsOfTwoStages, LeaveThemWithoutFaults) {
  const Schedule schedule = testing::two_stages().schedule;
  const std::vector<Fault> faults = verify(schedule);
  EXPECT_TRUE(faults.empty()) << faults.front().message;
  EXPECT_TRUE(testing::runs_to_the_end(schedule));
}

}  // namespace
}  // namespace zebroid
