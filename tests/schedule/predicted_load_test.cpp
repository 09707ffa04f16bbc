#include "schedule/predicted_load.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <utility>

#include "planner/expert_parallel.hpp"
#include "planner/pools.hpp"
#include "planner/zebra.hpp"
#include "tests/support/scenarios.hpp"
#include "tests/support/schedules.hpp"

namespace zebroid {
namespace {

using testing::Case;
using testing::make_scenario;
using testing::ops;

constexpr double hidden_bytes = 256 * 2;  // of one token, in half precision
constexpr double expert_parameters = 3 * 256 * 512;
constexpr double sequence = 128;  // tokens

/// A schedule with its load; asked in the notation of tests/support/schedules.hpp.
class Asked {
 public:
  explicit Asked(Case c) : case_(std::move(c)), load_(case_.schedule, case_.scenario) {}
  Asked(const Asked&) = delete;
  Asked& operator=(const Asked&) = delete;

  Op op(const std::string& name) const { return ops(name, case_.schedule.layers).front(); }
  double tokens(std::uint32_t rank, const std::string& name) const {
    return load_.tokens({rank}, op(name));
  }
  double rows(std::uint32_t rank, const std::string& name) const {
    return load_.rows({rank}, op(name));
  }
  double flops(std::uint32_t rank, const std::string& name) const {
    return load_.flops({rank}, op(name)).value;
  }
  double seconds(std::uint32_t rank, const std::string& name) const {
    return load_.seconds({rank}, op(name)).value;
  }
  /// Over the group that holds exactly these ranks, else over the first one.
  double bytes(const std::string& name, std::uint32_t from, std::uint32_t to,
               const std::vector<RankId>& members = {}) const {
    std::uint32_t group = 0;
    for (std::uint32_t g = 0; g < case_.schedule.groups.size(); ++g) {
      if (case_.schedule.groups[g] == members) group = g;
    }
    return load_.bytes({group}, op(name), {from}, {to}).value;
  }
  const PredictedLoad& load() const { return load_; }
  const Scenario& scenario() const { return case_.scenario; }
  const Schedule& schedule() const { return case_.schedule; }

 private:
  Case case_;
  PredictedLoad load_;
};

/// Ranks 0 and 1 run attention of 3 and 2 sequences, rank 2 holds the experts, two microbatches;
/// the last of the four experts of layer 1 is on rank 0.
Case zebra(Scenario scenario = make_scenario({.batch = 5})) {
  Schedule schedule = testing::small_zebra(scenario, 1, 1);
  return {std::move(scenario), std::move(schedule)};
}

Case expert_parallel(Scenario scenario, std::uint32_t groups, std::uint32_t chunks) {
  ExpertParallelShape shape;
  GpuList all;
  for (std::uint32_t g = 0; g < gpus_of(scenario.cluster).size(); ++g) all.push_back({g});
  shape.groups = with_both_roles(cut_into_groups(scenario.cluster, all, groups));
  shape.chunks = chunks;
  Schedule schedule = expert_parallel_schedule(scenario, shape);
  return {std::move(scenario), std::move(schedule)};
}

TEST(PredictedLoad, NeverSplitsASequenceBetweenMicrobatches) {
  const Asked zebra_step(zebra());
  EXPECT_EQ(zebra_step.tokens(0, "A0.0"), 1 * sequence);
  EXPECT_EQ(zebra_step.tokens(0, "A0.1"), 2 * sequence);
  EXPECT_EQ(zebra_step.tokens(1, "A0.0"), 1 * sequence);
  EXPECT_EQ(zebra_step.tokens(1, "A'1.1"), 1 * sequence);
  EXPECT_EQ(zebra_step.tokens(0, "H1"), 2 * sequence);
  EXPECT_EQ(zebra_step.tokens(2, "A0.0"), 0);
}

TEST(PredictedLoad, CutsAMicrobatchIntoChunksOfWholeTokens) {
  const Asked step(expert_parallel(make_scenario({.cluster = "4xA40"}), 1, 3));
  EXPECT_EQ(step.tokens(0, "D0.0.0"), 42);
  EXPECT_EQ(step.tokens(0, "E0.0.1"), 43);
  EXPECT_EQ(step.tokens(0, "C0.0.2"), 43);
  EXPECT_EQ(step.tokens(0, "A0.0"), sequence);
}

TEST(PredictedLoad, SendsEachExpertItsShareOfTheCopies) {
  const Asked step(zebra());  // top-2 of 4 experts, all alike
  EXPECT_EQ(step.rows(2, "E0.0"), 2 * sequence * 2);
  EXPECT_EQ(step.rows(2, "E0.1"), 3 * sequence * 2);
  EXPECT_EQ(step.rows(2, "E1.1"), 3 * sequence * 2 * 3 / 4);
  EXPECT_EQ(step.rows(0, "E'1.1"), 3 * sequence * 2 / 4);
  EXPECT_EQ(step.rows(0, "E0.0"), 0);
  EXPECT_EQ(step.rows(1, "E1.0"), 0);
  EXPECT_EQ(step.rows(0, "A0.0"), 0);
}

TEST(PredictedLoad, FollowsTheRouting) {
  Scenario scenario = make_scenario({.batch = 5});
  scenario.shares = {{0.5, 0.25, 0.25, 0}, {0.5, 0.125, 0, 0.375}};
  const Asked step(zebra(std::move(scenario)));
  EXPECT_EQ(step.rows(2, "E0.0"), 2 * sequence * 2);
  EXPECT_EQ(step.rows(2, "E1.0"), 2 * sequence * 2 * 0.625);
  EXPECT_EQ(step.rows(0, "E1.0"), 2 * sequence * 2 * 0.375);
  // Experts without rows are not computed: three of layer 0, two of layer 1.
  const CostModel costs = cost_models(step.scenario())[1];
  EXPECT_EQ(step.seconds(2, "E0.0"), costs.expert(Direction::forward, 512, 3).total().value);
  EXPECT_EQ(step.seconds(2, "E'1.0"), costs.expert(Direction::backward, 320, 2).total().value);
}

TEST(PredictedLoad, SendsRoutingWeightsOutAndTheirGradientsBack) {
  const Asked step(zebra());
  const double copies = 2 * sequence * 2;  // of rank 0's microbatch 1
  EXPECT_EQ(step.bytes("D0.1", 0, 2), copies * (hidden_bytes + 4));
  EXPECT_EQ(step.bytes("C0.1", 2, 0), copies * hidden_bytes);
  EXPECT_EQ(step.bytes("D'0.1", 0, 2), copies * hidden_bytes);
  EXPECT_EQ(step.bytes("C'0.1", 2, 0), copies * (hidden_bytes + 4));
  EXPECT_EQ(step.bytes("D*0.1", 0, 2), copies * (hidden_bytes + 4));
}

TEST(PredictedLoad, SendsTokensOnlyToWhereExpertsAre) {
  const Asked step(zebra());
  EXPECT_EQ(step.bytes("D1.1", 0, 2), 2 * sequence * 2 * 3 / 4 * (hidden_bytes + 4));
  EXPECT_EQ(step.bytes("D1.1", 1, 0), 1 * sequence * 2 / 4 * (hidden_bytes + 4));
  EXPECT_EQ(step.bytes("C1.1", 0, 1), 1 * sequence * 2 / 4 * hidden_bytes);
  EXPECT_EQ(step.bytes("D1.1", 0, 1), 0);
  EXPECT_EQ(step.bytes("D0.1", 1, 0), 0);
  EXPECT_EQ(step.bytes("D0.1", 2, 0), 0);
  EXPECT_EQ(step.bytes("C0.1", 0, 2), 0);
}

TEST(PredictedLoad, SendsWholeBytes) {
  const Asked step(
      expert_parallel(make_scenario({.experts = 3, .cluster = "3xA40", .batch = 3}), 1, 1));
  EXPECT_EQ(step.bytes("D0.0", 0, 1), std::round(sequence * 2 / 3 * (hidden_bytes + 4)));
}

TEST(PredictedLoad, SendsNoTokensBetweenReplicas) {
  const Asked step(expert_parallel(make_scenario({.cluster = "4xA40"}), 2, 1));
  EXPECT_GT(step.bytes("D0.0", 0, 1), 0);
  EXPECT_EQ(step.bytes("D0.0", 0, 2), 0);
  EXPECT_EQ(step.bytes("C0.0", 3, 0), 0);
}

TEST(PredictedLoad, CountsBackwardAsTwoForwardsAndItsCoreAsTwoAndAHalf) {
  const Asked step(zebra());
  const ForwardFlops forward = attention_flops(step.scenario().model, 1, 2, sequence);
  EXPECT_EQ(step.flops(0, "A1.1"), forward.total().value);
  EXPECT_EQ(step.flops(0, "A*1.1"), forward.total().value);
  EXPECT_EQ(step.flops(0, "A'1.1"),
            2 * (forward.total() - forward.core).value + 2.5 * forward.core.value);
  EXPECT_EQ(step.flops(2, "E0.0"), 512 * 2 * expert_parameters);
  EXPECT_EQ(step.flops(2, "E'0.0"), 512 * 4 * expert_parameters);
  EXPECT_EQ(step.flops(1, "H0"), sequence * 2 * 256 * 1000);
  EXPECT_EQ(step.flops(1, "H'0"), sequence * 4 * 256 * 1000);
  EXPECT_EQ(step.flops(1, "D0.0"), 0);
}

TEST(PredictedLoad, TakesNoTimeWhereARankHasNothingToDo) {
  const Asked step(zebra());
  EXPECT_EQ(step.seconds(1, "E1.0"), 0);
  EXPECT_EQ(step.seconds(2, "A0.0"), 0);
  EXPECT_EQ(step.seconds(0, "D0.0"), 0);
  EXPECT_GT(step.seconds(0, "E1.0"), 0);
}

/// Parameters of a layer's sum; the model is that of make_scenario with two layers.
double layer_bytes(const Scenario& scenario, std::uint32_t layer) {
  const double ends = layer == 0 ? 1000 * 256 : 1000 * 256 + 256;  // embedding; LM head, final norm
  return 2 * (layer_parameters(scenario.model, layer).without_experts() + ends);
}

TEST(PredictedLoad, SumsInARingOfThoseWhoHoldTheParameters) {
  const Asked step([] {
    Scenario scenario = make_scenario({.cluster = "3xA40,1xV100-16GB", .batch = 6});
    Schedule schedule = testing::small_zebra(scenario, 1, 0);
    return Case{std::move(scenario), std::move(schedule)};
  }());
  const std::vector<RankId> ring = {{0}, {1}, {2}};
  for (const std::uint32_t layer : {0U, 1U}) {
    const std::string sum = "sum" + std::to_string(layer);
    const double sent = std::round(4.0 / 3 * layer_bytes(step.scenario(), layer));
    EXPECT_EQ(step.bytes(sum, 0, 1, ring), sent);
    EXPECT_EQ(step.bytes(sum, 1, 2, ring), sent);
    EXPECT_EQ(step.bytes(sum, 2, 0, ring), sent);
    EXPECT_EQ(step.bytes(sum, 0, 2, ring), 0);
    EXPECT_EQ(step.bytes(sum, 1, 0, ring), 0);
  }
}

TEST(PredictedLoad, SumsOverTwoKindsInRingsThenLeadersThenAChain) {
  const Asked step(
      expert_parallel(make_scenario({.cluster = "3xA40,2xV100-16GB", .batch = 5}), 1, 1));
  const double all = layer_bytes(step.scenario(), 0);
  const std::vector<RankId> newer = {{0}, {1}, {2}};
  const std::vector<RankId> older = {{3}, {4}};
  const std::vector<RankId> leaders = {{0}, {3}};
  EXPECT_EQ(step.bytes("sum0.0.0", 2, 0, newer), std::round(4.0 / 3 * all));
  EXPECT_EQ(step.bytes("sum0.0.0", 3, 4, older), all);
  EXPECT_EQ(step.bytes("sum0.0.0", 4, 3, older), all);
  EXPECT_EQ(step.bytes("sum0.0.1", 0, 3, leaders), all);
  EXPECT_EQ(step.bytes("sum0.0.1", 3, 0, leaders), all);
  EXPECT_EQ(step.bytes("sum0.0.2", 0, 1, newer), all);
  EXPECT_EQ(step.bytes("sum0.0.2", 1, 2, newer), all);
  EXPECT_EQ(step.bytes("sum0.0.2", 2, 0, newer), 0);
  EXPECT_EQ(step.bytes("sum0.0.2", 1, 0, newer), 0);
  // The norm goes the same way with 72 bytes.
  EXPECT_EQ(step.bytes("norm", 0, 1, newer), std::round(4.0 / 3 * 72));
  EXPECT_EQ(step.bytes("norm0.0.1", 0, 3, leaders), 72);
  EXPECT_EQ(step.bytes("norm0.0.2", 3, 4, older), 72);
}

TEST(PredictedLoad, SumsEachExpertOverItsHoldersInTheOrderOfTheReplicas) {
  // Six experts: two on each of ranks 0 to 2, three on each of ranks 3 and 4.
  const Asked step(
      expert_parallel(make_scenario({.experts = 6, .cluster = "5xA40", .batch = 5}), 2, 1));
  const double one = 2 * expert_parameters;  // 2 (n - 1) / n of it, for n = 2 replicas
  EXPECT_EQ(step.bytes("esum0", 0, 3), 2 * one);
  EXPECT_EQ(step.bytes("esum0", 0, 4), 0);
  EXPECT_EQ(step.bytes("esum0", 1, 3), one);
  EXPECT_EQ(step.bytes("esum0", 1, 4), one);
  EXPECT_EQ(step.bytes("esum0", 2, 4), 2 * one);
  EXPECT_EQ(step.bytes("esum0", 3, 0), 2 * one);
  EXPECT_EQ(step.bytes("esum0", 4, 1), one);
  EXPECT_EQ(step.bytes("esum0", 0, 1), 0);
}

TEST(PredictedLoad, KeepsAShardOfTheOptimizerAndGathersTheRest) {
  Scenario scenario = make_scenario({.cluster = "4xA40"});
  scenario.training.optimizer_sharding = true;
  const Asked step(expert_parallel(std::move(scenario), 1, 1));
  const PredictedLoad& load = step.load();
  EXPECT_EQ(load.shared_parameters({0}),
            (layer_bytes(step.scenario(), 0) + layer_bytes(step.scenario(), 1)) / 2);
  EXPECT_EQ(load.expert_parameters({0}), 2 * expert_parameters);  // one of each of two layers
  EXPECT_EQ(load.optimizer_parameters({0}),
            load.shared_parameters({0}) / 4 + 2 * expert_parameters);
  EXPECT_EQ(step.bytes("gather1", 3, 0), std::round(layer_bytes(step.scenario(), 1) * 3 / 4));
  EXPECT_EQ(
      step.seconds(0, "step"),
      cost_models(step.scenario()).front().step(load.optimizer_parameters({0})).total().value);
}

TEST(PredictedLoad, HoldsWhatARoleNeeds) {
  const Asked step(zebra());
  const PredictedLoad& load = step.load();
  const double shared = (layer_bytes(step.scenario(), 0) + layer_bytes(step.scenario(), 1)) / 2;
  EXPECT_EQ(load.shared_parameters({0}), shared);
  EXPECT_EQ(load.shared_parameters({1}), shared);
  EXPECT_EQ(load.shared_parameters({2}), 0);
  EXPECT_EQ(load.expert_parameters({0}), expert_parameters);
  EXPECT_EQ(load.expert_parameters({1}), 0);
  EXPECT_EQ(load.expert_parameters({2}), 7 * expert_parameters);
}

TEST(PredictedLoad, HandsASequenceToTheRankThatHoldsItInTheNextStage) {
  // Four sequences: 3 and 1 on ranks 0 and 1, then 2 and 2 on ranks 2 and 3.
  Case c{make_scenario({.cluster = "4xA40"}), {}};
  c.schedule.layers = 2;
  c.schedule.experts = 4;
  c.schedule.microbatches = c.schedule.chunks = 1;
  c.schedule.programs = {ops("A0.0 S1.0", 2), ops("S1.0 A1.0", 2)};
  c.schedule.replicas = {{{{{0}, {0}, {0}, {0}}, {{2}, {2}, {2}, {2}}}}};
  c.schedule.ranks = {
      {{0}, 0, 0, 3, {{0}}}, {{1}, 0, 0, 1, {{0}}}, {{2}, 1, 0, 2, {{0}}}, {{3}, 1, 0, 2, {{0}}}};
  c.schedule.groups = {{{0}, {1}, {2}, {3}}};
  const Asked step(std::move(c));
  const double one = sequence * hidden_bytes;
  EXPECT_EQ(step.bytes("S1.0", 0, 2), 2 * one);
  EXPECT_EQ(step.bytes("S1.0", 0, 3), 1 * one);
  EXPECT_EQ(step.bytes("S1.0", 1, 2), 0);
  EXPECT_EQ(step.bytes("S1.0", 1, 3), 1 * one);
  EXPECT_EQ(step.bytes("S1.0", 2, 0), 0);
  EXPECT_EQ(step.bytes("S'1.0", 2, 0), 2 * one);
  EXPECT_EQ(step.bytes("S'1.0", 3, 0), 1 * one);
  EXPECT_EQ(step.bytes("S'1.0", 3, 1), 1 * one);
  EXPECT_EQ(step.bytes("S'1.0", 0, 3), 0);
  EXPECT_EQ(step.bytes("S1.0", 0, 1), 0);
}

TEST(PredictedLoad, TakesLatencyAndSmShareFromTheCluster) {
  Scenario scenario = make_scenario({.batch = 5});
  scenario.cluster.latency = {25e-6};
  scenario.cluster.kinds[1].sm_share_of_exchanges = 0.125;
  const Asked step(zebra(std::move(scenario)));
  EXPECT_EQ(step.load().latency({0}, step.op("D0.0")).value, 25e-6);
  EXPECT_EQ(step.load().sm_share({0}), 0);
  EXPECT_EQ(step.load().sm_share({2}), 0.125);
}

}  // namespace
}  // namespace zebroid
