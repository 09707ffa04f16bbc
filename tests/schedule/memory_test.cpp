#include "schedule/memory.hpp"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "planner/expert_parallel.hpp"
#include "planner/listing.hpp"
#include "planner/zebra.hpp"
#include "schedule/verify.hpp"
#include "tests/support/scenarios.hpp"
#include "tests/support/schedules.hpp"

namespace zebroid {
namespace {

using testing::Case;
using testing::make_scenario;
using testing::ops;

std::vector<MemoryUse> memory_of(const Case& c) {
  return peak_memory(c.schedule, c.scenario, PredictedLoad(c.schedule, c.scenario));
}

/// One layer with four experts, top-2: an A40 runs attention of 512 tokens in one microbatch, a
/// V100 holds the experts.
Case one_layer(const std::string& attention_program, const std::string& expert_program) {
  Case out{make_scenario({.layers = 1, .cluster = "1xA40,1xV100-16GB"}), {}};
  Schedule& schedule = out.schedule;
  schedule.layers = schedule.microbatches = schedule.chunks = 1;
  schedule.experts = 4;
  schedule.programs = {ops(attention_program, 1), ops(expert_program, 1)};
  schedule.replicas = {{{{{1}, {1}, {1}, {1}}}}};
  schedule.ranks = {{{0}, 0, 0, 4, {{0}}}, {{1}, 1, 0, 0, {{0}}}};
  schedule.groups = {{{0}, {1}}};
  EXPECT_TRUE(verify(schedule).empty());
  return out;
}

constexpr double tokens = 512;
constexpr double hidden = tokens * 256 * 2;  // bytes of a hidden state of all tokens
constexpr double rows = 2 * hidden;          // two copies of each token
// Attention: normed inputs twice, queries and outputs of 4 heads of 64, keys and values of 2; a
// float for each head's softmax, logits and probabilities of 4 experts.
constexpr double attention_internals =
    tokens * ((2 * 256 + 4 * (64 + 64) + 2 * (64 + 64)) * 2 + (4 + 2 * 4) * 4);
constexpr double expert_internals = 2 * tokens * 3 * 512 * 2;  // gate, up and product of each copy
constexpr double logits = tokens * 1000 * (2 + 4);             // half and single precision
constexpr double routing = 2 * tokens * (4 + 3 * 4);  // of each copy a weight and three indices
constexpr double weights = 2 * tokens * 4;            // of each copy, or their gradients

constexpr const char* attention_by_module =
    "A0.0 D0.0 C0.0 H0 H'0 A*0.0 D'0.0 C'0.0 A'0.0 norm step";
constexpr const char* expert_by_module = "D0.0 E0.0 C0.0 E*0.0 D'0.0 E'0.0 C'0.0 norm step";
constexpr const char* attention_none = "A0.0 D0.0 C0.0 H0 H'0 D'0.0 C'0.0 A'0.0 norm step";
constexpr const char* expert_none = "D0.0 E0.0 C0.0 D'0.0 E'0.0 C'0.0 norm step";
constexpr const char* attention_by_layer =
    "A0.0 D0.0 C0.0 H0 H'0 A*0.0 D*0.0 D'0.0 C'0.0 A'0.0 norm step";
constexpr const char* expert_by_layer = "D0.0 E0.0 C0.0 D*0.0 E*0.0 D'0.0 E'0.0 C'0.0 norm step";

TEST(Memory, OfAnAttentionGpuPeaksAtTheHeadWhenTheVocabularyIsLarge) {
  const MemoryUse use = memory_of(one_layer(attention_by_module, expert_by_module))[0];
  // The layer's input and choice of experts, the residual that the expert outputs are added to, the
  // head's input; while it runs logits and the norm of its input.
  EXPECT_EQ(use.activations.value, 3 * hidden + routing + logits + hidden);
  EXPECT_EQ(use.receive_buffers.value, rows);  // expert outputs
}

TEST(Memory, OfAnAttentionGpuPeaksInBackwardWhenTheVocabularyIsSmall) {
  Case c = one_layer(attention_by_module, expert_by_module);
  c.scenario.model.vocabulary = 1;
  const MemoryUse use = memory_of(c)[0];
  // The layer's input and choice of experts, the gradients of its output and input; what was
  // recomputed and its gradients.
  EXPECT_EQ(use.activations.value, 3 * hidden + routing + 2 * attention_internals);
  EXPECT_EQ(use.receive_buffers.value, rows + weights);  // gradients of what was dispatched
}

TEST(Memory, OfAnAttentionGpuWithoutRecomputationKeepsInternalsUntilBackward) {
  const MemoryUse use = memory_of(one_layer(attention_none, expert_none))[0];
  EXPECT_EQ(use.activations.value, 3 * hidden + routing + attention_internals + logits + hidden);
  EXPECT_EQ(use.receive_buffers.value, rows);
}

TEST(Memory, OfAnExpertGpuPeaksInBackward) {
  const MemoryUse use = memory_of(one_layer(attention_by_module, expert_by_module))[1];
  // Received rows and their weights, recomputed internals (the outputs nobody needs), gradients of
  // internals, inputs and weights.
  EXPECT_EQ(use.activations.value, 2 * (rows + weights) + 2 * expert_internals);
  EXPECT_EQ(use.receive_buffers.value, rows);  // gradients of the outputs
}

TEST(Memory, OfAnExpertGpuWithoutRecomputationKeepsInternalsUntilBackward) {
  const MemoryUse use = memory_of(one_layer(attention_none, expert_none))[1];
  EXPECT_EQ(use.activations.value, 2 * (rows + weights) + 2 * expert_internals);
  EXPECT_EQ(use.receive_buffers.value, rows);
}

TEST(Memory, OfAnExpertGpuThatIsSentItsRowsAgainKeepsNone) {
  const MemoryUse use = memory_of(one_layer(attention_by_layer, expert_by_layer))[1];
  // Internals, gradients of internals, inputs and weights.
  EXPECT_EQ(use.activations.value, rows + weights + 2 * expert_internals);
  EXPECT_EQ(use.receive_buffers.value, 2 * rows + weights);  // rows with weights, gradients
}

TEST(Memory, HoldsTheGradientOfALayersOutputWhileItsExpertsRun) {
  // Layer 1 is dense: nothing but the residual connects layer 0's backward with the gradient.
  Case c{make_scenario({.layers = 2, .cluster = "1xA40"}), {}};
  c.scenario.model.vocabulary = 1;
  c.schedule.layers = 2;
  c.schedule.experts = 4;
  c.schedule.microbatches = c.schedule.chunks = 1;
  c.schedule.programs = {
      ops("A0.0 D0.0 E0.0 C0.0 A1.0 H0 H'0 A'1.0 D'0.0 E'0.0 C'0.0 A'0.0 sum1 sum0 norm step", 2)};
  c.schedule.replicas = {{{{{0}, {0}, {0}, {0}}, {}}}};
  c.schedule.ranks = {{{0}, 0, 0, 4, {{0}}}};
  c.schedule.groups = {{{0}}};
  const MemoryUse use = memory_of(c)[0];
  // While experts run backward: layer 0's input, choice of experts and internals, the gradient of
  // its output; rows, internals twice and input gradients of the experts, weights and theirs.
  EXPECT_EQ(use.activations.value, 2 * hidden + routing + attention_internals +
                                       2 * (rows + weights) + 2 * expert_internals);
  EXPECT_EQ(use.receive_buffers.value, rows);
}

TEST(Memory, OfTheHeadIsThatOfASliceOfTokens) {
  Case c = one_layer(attention_by_module, expert_by_module);
  c.scenario.training.sequence_length = 4096;
  c.scenario.model.vocabulary = 100'000;
  const double all = 4 * 4096;
  EXPECT_EQ(memory_of(c)[0].activations.value,
            3 * all * 256 * 2 + all * 2 * 16 + 4096.0 * (100'000 * 6 + 256 * 2));
}

TEST(Memory, OfParametersIsTwoTwoAndTwelveBytesWithAdamW) {
  const Case c = one_layer(attention_by_module, expert_by_module);
  const double parameters = 4.0 * 3 * 256 * 512;
  const MemoryUse use = memory_of(c)[1];
  EXPECT_EQ(use.weights.value, 2 * parameters);
  EXPECT_EQ(use.gradients.value, 2 * parameters);
  EXPECT_EQ(use.optimizer.value, 12 * parameters);
  EXPECT_EQ(use.runtime.value, 1024.0 * 1024 * 1024);
  EXPECT_EQ(use.total().value, 16 * parameters + use.activations.value + use.receive_buffers.value +
                                   use.runtime.value);
  EXPECT_EQ(bytes_per_parameter(Optimizer::adamw), 16);
  const double shared = total_parameters(c.scenario.model) - parameters;
  EXPECT_EQ(memory_of(c)[0].optimizer.value, 12 * shared);
}

TEST(Memory, OfOptimizerStatesHalvesWithEightBitMoments) {
  Case c = one_layer(attention_by_module, expert_by_module);
  c.scenario.training.optimizer = Optimizer::adamw_8bit;
  EXPECT_EQ(memory_of(c)[1].optimizer.value, 6 * 4.0 * 3 * 256 * 512);
  EXPECT_EQ(bytes_per_parameter(Optimizer::adamw_8bit), 10);
}

TEST(Memory, OfOptimizerStatesIsDividedWhereTheyAreSharded) {
  Scenario scenario = make_scenario({.cluster = "4xA40"});
  const double whole = memory_of({scenario, testing::small_ep(scenario, 1)})[0].optimizer.value;
  const PredictedLoad load(testing::small_ep(scenario, 1), scenario);
  const double shared = load.shared_parameters({0});
  scenario.training.optimizer_sharding = true;
  EXPECT_EQ(memory_of({scenario, testing::small_ep(scenario, 1)})[0].optimizer.value,
            whole - 12 * shared * 3 / 4);
}

/// Peak activations and receive buffers of each rank.
std::vector<double> values_alive(Scenario scenario, Recompute recompute, bool zebra) {
  scenario.training.recompute = recompute;
  Schedule schedule = zebra ? testing::small_zebra(scenario, 1, 1) : testing::small_ep(scenario, 2);
  std::vector<double> out;
  for (const MemoryUse& use : memory_of({std::move(scenario), std::move(schedule)})) {
    out.push_back((use.activations + use.receive_buffers).value);
  }
  return out;
}

TEST(Memory, OfExpertParallelismFallsWithMoreRecomputation) {
  for (const char* cluster : {"3xA40", "2xA40,1xV100-16GB"}) {
    const Scenario scenario = make_scenario({.layers = 24, .cluster = cluster, .batch = 12});
    const std::vector<double> none = values_alive(scenario, Recompute::none, false);
    const std::vector<double> module = values_alive(scenario, Recompute::module, false);
    const std::vector<double> layer = values_alive(scenario, Recompute::layer, false);
    for (std::size_t r = 0; r < none.size(); ++r) {
      EXPECT_GT(none[r], module[r]) << "rank " << r << " of " << cluster;
      EXPECT_GT(module[r], layer[r]) << "rank " << r << " of " << cluster;
    }
  }
}

/// With whole layers, all microbatches of a layer are recomputed before the first goes backward: an
/// attention GPU, which keeps no more of a layer than its input anyway, then needs more.
TEST(Memory, OfZebraFallsWithMoreRecomputationOnExpertGpus) {
  for (const char* cluster : {"2xA40,1xV100-16GB", "1xA40,2xV100-16GB"}) {
    const Scenario scenario = make_scenario({.layers = 24, .cluster = cluster, .batch = 12});
    const std::vector<double> none = values_alive(scenario, Recompute::none, true);
    const std::vector<double> module = values_alive(scenario, Recompute::module, true);
    const std::vector<double> layer = values_alive(scenario, Recompute::layer, true);
    for (std::size_t r = 0; r < none.size(); ++r) {
      EXPECT_GT(none[r], module[r]) << "rank " << r << " of " << cluster;
    }
    EXPECT_GT(module.back(), layer.back()) << cluster;
  }
}

}  // namespace
}  // namespace zebroid
