#include "schedule/values.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <stdexcept>
#include <string>
#include <vector>

#include "tests/support/scenarios.hpp"
#include "tests/support/schedules.hpp"

namespace zebroid {
namespace {

using testing::make_scenario;
using testing::ops;

std::string label(What what) {
  const std::vector<std::string> names = {
      "layer_input",   "residual",      "attention_values", "routing",  "sorted_rows",
      "received_rows", "expert_values", "outputs",          "returned", "hidden_states",
      "head_input",    "gradient",      "early_gradient",   "workspace"};
  return names.at(static_cast<std::size_t>(what));
}

/// The values of a program of two layers with experts, in the notation of
/// tests/support/schedules.hpp.
class Left {
 public:
  explicit Left(const std::string& text)
      : model_(make_scenario({.layers = layers}).model), program_(ops(text, layers)) {
    Schedule schedule;
    schedule.layers = layers;
    schedule.microbatches = 3;
    values_ = values_of(schedule, program_, model_);
  }

  /// What `writer` leaves, each with its readers in the order of the program; receive buffers with
  /// an arrow.
  std::vector<std::string> by(const std::string& writer) const {
    std::vector<std::string> out;
    for (const Value& value : values_.written_by(find(writer))) {
      std::string& text = out.emplace_back(value.pool == Pool::receive_buffers ? ">" : "");
      text += label(value.what) + ":";
      const auto readers = values_.readers_of(value);
      std::vector<std::uint32_t> sorted(readers.begin(), readers.end());
      std::sort(sorted.begin(), sorted.end());
      for (const std::uint32_t reader : sorted) text += " " + name_of(program_[reader]);
    }
    return out;
  }
  /// What `reader` reads, with its writers.
  std::vector<std::string> read_by(const std::string& reader) const {
    std::vector<std::string> out;
    for (const std::uint32_t v : values_.read_by(find(reader))) {
      const Value& value = values_.all[v];
      out.push_back(label(value.what) + " of " + name_of(program_[value.writer]));
    }
    return out;
  }

 private:
  std::uint32_t find(const std::string& name) const {
    const auto at = std::find(program_.begin(), program_.end(), ops(name, layers).front());
    if (at == program_.end()) throw std::invalid_argument("not listed: " + name);
    return static_cast<std::uint32_t>(at - program_.begin());
  }

  static constexpr std::uint16_t layers = 2;
  MoeModel model_;
  Program program_;
  Values values_;
};

using Lines = std::vector<std::string>;

constexpr const char* module_attention =
    "A0.0 D0.0 C0.0 A1.0 D1.0 C1.0 H0 H'0 A*1.0 D'1.0 C'1.0 A'1.0 A*0.0 D'0.0 C'0.0 A'0.0";
constexpr const char* module_experts =
    "D0.0.0 D0.0.1 E0.0.0 C0.0.0 E0.0.1 C0.0.1 E*0.0.0 D'0.0.0 D'0.0.1 E'0.0.0 C'0.0.0 E*0.0.1 "
    "E'0.0.1 C'0.0.1";

TEST(Values, OfAttentionThatIsRecomputedAreItsInputAndWhatTheLayerAddsTo) {
  const Left left(module_attention);
  EXPECT_EQ(
      left.by("A0.0"),
      (Lines{"layer_input: attention* 0.0 attention' 0.0", "residual: attention 1.0", "workspace:",
             "routing: dispatch 0.0 combine 0.0 attention 1.0 attention* 0.0 dispatch' 0.0 "
             "combine' 0.0 attention' 0.0",
             "sorted_rows: dispatch 0.0"}));
  EXPECT_EQ(left.by("A*0.0"), (Lines{"attention_values: attention' 0.0"}));
}

TEST(Values, OfTheLastLayerGoToTheHead) {
  const Left left(module_attention);
  EXPECT_EQ(left.by("A1.0").at(1), "residual: head 1.0");
  EXPECT_EQ(left.by("C1.0"), (Lines{">returned: head 1.0"}));
  EXPECT_EQ(left.by("H0"), (Lines{"head_input: head' 1.0", "workspace:"}));
  EXPECT_EQ(left.by("H'0"), (Lines{"gradient: dispatch' 1.0 attention' 1.0", "workspace:"}));
}

TEST(Values, OfBackwardAttentionGoBelow) {
  const Left left(module_attention);
  EXPECT_EQ(left.by("A'1.0"), (Lines{"gradient: dispatch' 0.0 attention' 0.0", "workspace:"}));
  EXPECT_EQ(left.by("A'0.0"), (Lines{"gradient:", "workspace:"}));
  EXPECT_EQ(left.by("C'0.0"), (Lines{">returned: attention' 0.0"}));
}

TEST(Values, OfAttentionWithoutRecomputationAreKept) {
  const Left left("A0.0 D0.0 C0.0 D'0.0 C'0.0 A'0.0");
  EXPECT_EQ(left.by("A0.0").at(0), "layer_input: attention' 0.0");
  EXPECT_EQ(left.by("A0.0").at(2), "attention_values: attention' 0.0");
}

TEST(Values, OfExpertsAreThoseOfTheirChunk) {
  const Left left(module_experts);
  EXPECT_EQ(left.by("D0.0.1"), (Lines{"received_rows: expert 0.0.1 expert* 0.0.1 expert' 0.0.1"}));
  EXPECT_EQ(left.by("E0.0.1"), (Lines{"workspace:", "outputs: combine 0.0.1"}));
  EXPECT_EQ(left.by("E*0.0.1"), (Lines{"expert_values: expert' 0.0.1"}));
  EXPECT_EQ(left.by("D'0.0.1"), (Lines{">received_rows: expert' 0.0.1"}));
  EXPECT_EQ(left.by("E'0.0.1"), (Lines{"workspace:", "outputs: combine' 0.0.1"}));
  EXPECT_EQ(left.by("C0.0.1"), Lines{});  // its members hold no tokens
}

TEST(Values, SentAgainAreNotKept) {
  const Left left("D0.0 E0.0 C0.0 D*0.0 E*0.0 D'0.0 E'0.0 C'0.0");
  EXPECT_EQ(left.by("D0.0"), (Lines{">received_rows: expert 0.0"}));
  EXPECT_EQ(left.by("D*0.0"), (Lines{">received_rows: expert* 0.0 expert' 0.0"}));
}

TEST(Values, OfExpertsBesideAttentionAreReadWhereTheyWereSorted) {
  const Left kept("A0.0 E0.0 A1.0 E1.0 H0 H'0 E'1.0 A'1.0 E'0.0 A'0.0");
  EXPECT_EQ(kept.by("A0.0").at(4), "sorted_rows: expert 0.0 expert' 0.0");
  EXPECT_EQ(kept.by("E0.0"), (Lines{"expert_values: expert' 0.0", "outputs: attention 1.0"}));
  EXPECT_EQ(kept.by("E'0.0"), (Lines{"workspace:", "outputs: attention' 0.0", "gradient:"}));
  EXPECT_EQ(kept.by("A'1.0").at(0), "gradient: expert' 0.0 attention' 0.0");
  const Left again("A0.0 E0.0 A*0.0 E*0.0 E'0.0 A'0.0");
  EXPECT_EQ(again.by("A0.0").at(4), "sorted_rows: expert 0.0");
  EXPECT_EQ(again.by("A*0.0"),
            (Lines{"attention_values: attention' 0.0", "sorted_rows: expert* 0.0 expert' 0.0"}));
}

TEST(Values, OfStagesAreOnThoseWhoReceive) {
  const Left upper("S1.0 A1.0 E1.0 H0 H'0 E'1.0 A'1.0 S'1.0");
  EXPECT_EQ(upper.by("S1.0"), (Lines{">hidden_states: attention 1.0"}));
  EXPECT_EQ(upper.by("A'1.0").at(0), "gradient: stage' 1.0");
  EXPECT_EQ(upper.by("S'1.0"), Lines{});
  const Left lower("A0.0 D0.0 E0.0 C0.0 S1.0 S'1.0 D'0.0 E'0.0 C'0.0 A'0.0");
  EXPECT_EQ(lower.by("S1.0"), Lines{});
  EXPECT_EQ(lower.by("C0.0"), (Lines{">returned: stage 1.0"}));
  EXPECT_EQ(lower.by("S'1.0"), (Lines{">hidden_states: dispatch' 0.0 attention' 0.0"}));
}

TEST(Values, OfSumsAndSteps) {
  const Left left("A0.0 A'0.0 sum0 norm step gather0");
  for (const char* op : {"sum0", "norm", "step", "gather0"}) EXPECT_EQ(left.by(op), Lines{});
}

TEST(Values, OfGradientsBeforeTheirTurnWaitForTheLastOfThoseBefore) {
  const Left left("A0.0 A0.1 A0.2 A'0.2 A'0.0 A'0.1");
  EXPECT_EQ(left.by("A'0.2").back(), "early_gradient: attention' 0.1");
  EXPECT_EQ(left.by("A'0.0").back(), "workspace:");
  EXPECT_EQ(left.by("A'0.1").back(), "workspace:");
  const Left chunks("E0.0.0 E0.0.1 E0.1.0 E0.1.1 E'0.0.1 E'0.1.0 E'0.0.0 E'0.1.1");
  EXPECT_EQ(chunks.by("E'0.0.1").back(), "early_gradient: expert' 0.0");
  EXPECT_EQ(chunks.by("E'0.1.0").back(), "early_gradient: expert' 0.0");
  EXPECT_EQ(chunks.by("E'0.1.1").back(), "gradient:");
}

TEST(Values, AreListedForTheirReaders) {
  const Left left(module_attention);
  EXPECT_EQ(left.read_by("D'0.0"),
            (Lines{"routing of attention 0.0", "gradient of attention' 1.0"}));
  EXPECT_EQ(left.read_by("A'0.0"),
            (Lines{"layer_input of attention 0.0", "routing of attention 0.0",
                   "gradient of attention' 1.0", "attention_values of attention* 0.0",
                   "returned of combine' 0.0"}));
}

TEST(ElementsOf, CountsWhatTheModelSays) {
  const MoeModel model = make_scenario({}).model;  // hidden 256, top-2, experts of 512
  const auto of = [&](const char* writer, What what) {
    return elements_of(model, ops(writer, 2).front(), what,
                       {.tokens = 10, .rows = 30, .experts = 3});
  };
  EXPECT_EQ(of("A0.0", What::layer_input).half, 10 * 256);
  EXPECT_EQ(of("A0.0", What::routing).single, 2 * 10);
  EXPECT_EQ(of("A0.0", What::routing).index, 3 * 2 * 10);
  EXPECT_EQ(of("A0.0", What::sorted_rows).half, 2 * 10 * 256);
  EXPECT_EQ(of("D0.0", What::received_rows).half, 30 * 256);
  EXPECT_EQ(of("D0.0", What::received_rows).single, 30);
  EXPECT_EQ(of("D'0.0", What::received_rows).single, 0);
  EXPECT_EQ(of("E0.0", What::expert_values).half, 30 * 3 * 512);
  EXPECT_EQ(of("E'0.0", What::workspace).half, 30 * 3 * 512);
  EXPECT_EQ(of("E'0.0", What::gradient).half, 30 * 256);
  EXPECT_EQ(of("E'0.0", What::outputs).single, 30);
  EXPECT_EQ(of("C'0.0", What::returned).single, 2 * 10);
  EXPECT_EQ(of("H0", What::workspace).half, 10 * (1000 + 256));
  EXPECT_EQ(of("H0", What::workspace).single, 10 * 1000);
  EXPECT_EQ(of("E'0.0", What::early_gradient).half, 3 * 3 * 256 * 512);
  EXPECT_EQ(of("A'0.0", What::early_gradient).half, shared_parameters(model, 0));
}

}  // namespace
}  // namespace zebroid
