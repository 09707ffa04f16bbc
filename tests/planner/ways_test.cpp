#include "planner/ways.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <stdexcept>
#include <utility>

#include "planner/verdict.hpp"
#include "tests/support/scenarios.hpp"

namespace zebroid {
namespace {

using testing::fast_scorer;
using ::testing::HasSubstr;
using testing::make_scenario;
using testing::SmallScenario;

WaysRequest all_strategies() {
  WaysRequest out;
  for (const Strategy strategy :
       {Strategy::zebra, Strategy::expert_parallel, Strategy::dist_ep, Strategy::pipeline}) {
    out.strategies.push_back({.strategy = strategy});
  }
  return out;
}

std::vector<Way> ranked_ways(const Scenario& scenario) {
  std::vector<Way> out;
  find_ways(scenario, all_strategies(), fast_scorer(), {}, out);
  rank_ways(out);
  return out;
}

/// Best tokens per second of each use and strategy.
std::map<std::string, double> rates(const Scenario& scenario) {
  std::map<std::string, double> out;
  for (const Way& way : ranked_ways(scenario)) {
    double& rate = out[use_of(way, scenario) + ": " + name_of(way.request.strategy)];
    rate = std::max(rate, way.tokens_per_s());
  }
  return out;
}

TEST(Ways, AreEachStrategyOnAllGpusOnEachKindAndOneJobForEachKind) {
  const Scenario scenario =
      make_scenario({.layers = 4, .cluster = "2xA40,2xV100-16GB", .batch = 8});
  std::vector<std::string> names;
  for (const auto& [name, rate] : rates(scenario)) names.push_back(name);
  EXPECT_THAT(names, ::testing::UnorderedElementsAre(
                         "all GPUs: zebra", "all GPUs: ep", "all GPUs: dist-ep", "all GPUs: pp",
                         "A40 only: ep", "A40 only: pp", "V100-16GB only: ep", "V100-16GB only: pp",
                         ::testing::StartsWith("one job per GPU kind: ")));
}

TEST(Ways, KeepTheirRatesWhenTheGpusAreNamedInAnotherOrder) {
  const SmallScenario first{
      .layers = 4, .experts = 12, .cluster = "2xA40,4xV100-16GB", .batch = 24};
  SmallScenario second = first;
  second.cluster = "4xV100-16GB,2xA40";
  const auto here = rates(make_scenario(first));
  for (const auto& [name, rate] : rates(make_scenario(second))) {
    ASSERT_TRUE(here.contains(name)) << name;
    EXPECT_NEAR(rate / here.at(name), 1, 1e-9) << name;
  }
}

TEST(Ways, OfOneJobPerKindTakeAsManyGroupsAsTheyDoAlone) {
  const Scenario scenario = make_scenario(
      {.layers = 4, .cluster = "4xA100-80GB,4xA40", .sequence_length = 4096, .batch = 16});
  double apart = 0;
  double best_alone = 0;
  for (const Way& way : ranked_ways(scenario)) {
    if (way.use == Use::apart) apart = way.tokens_per_s();
    if (way.use == Use::some_kinds) best_alone = std::max(best_alone, way.tokens_per_s());
  }
  EXPECT_GT(apart, best_alone);
}

TEST(Ways, OfThreeKindsGiveEachARoleOrLeaveItOut) {
  const Scenario scenario = make_scenario(
      {.layers = 2, .experts = 6, .cluster = "1xA100-40GB,1xA40,1xV100-16GB", .batch = 12});
  std::size_t uses = 0;
  bool all_have_roles = false;
  for (const Way& way : ranked_ways(scenario)) {
    if (way.request.strategy != Strategy::zebra || !way.obstacle.empty()) continue;
    ++uses;
    all_have_roles = all_have_roles || way.kinds.size() == 3;
    EXPECT_FALSE(way.request.attention_kinds.empty());
    EXPECT_LT(way.request.attention_kinds.size(), way.kinds.size());
  }
  EXPECT_TRUE(all_have_roles);
  EXPECT_GE(uses, 4U);  // all three, and each pair
}

TEST(Ways, FoundBeforeTheScorerThrowsAreThere) {
  const Scenario scenario = make_scenario({.cluster = "2xA40,2xV100-16GB", .batch = 8});
  const Scorer score = fast_scorer();
  int calls = 0;
  int most = 1'000'000;
  const Scorer interrupted = [&](const Schedule& schedule, const Load& load,
                                 const RunRules& rules) {
    if (calls++ == most) throw std::runtime_error("interrupted");
    return score(schedule, load, rules);
  };
  std::vector<Way> all;
  find_ways(scenario, all_strategies(), interrupted, {}, all);
  most = std::exchange(calls, 0) - 1;
  std::vector<Way> ways;
  EXPECT_THROW(find_ways(scenario, all_strategies(), interrupted, {}, ways), std::runtime_error);
  ASSERT_FALSE(ways.empty());
  EXPECT_EQ(ways.front().tokens_per_s(), all.front().tokens_per_s());
}

TEST(Ways, ThatCannotFitNameRankComponentAndBytesBeforeAnythingIsSimulated) {
  Scenario scenario = make_scenario({.cluster = "2xA40,2xV100-16GB", .batch = 8});
  for (GpuSpec& kind : scenario.cluster.kinds) kind.memory = gibibytes(1);
  const Scorer never = [](const Schedule&, const Load&, const RunRules&) -> Timeline {
    throw std::logic_error("simulated");
  };
  std::vector<Way> ways;
  WaysRequest request;
  request.strategies = {{.strategy = Strategy::expert_parallel}};
  find_ways(scenario, request, never, {}, ways);
  ASSERT_FALSE(ways.empty());
  EXPECT_TRUE(ways.front().lacks_memory);
  EXPECT_THAT(ways.front().obstacle, HasSubstr("rank 0 (A40, all) lacks "));
  EXPECT_THAT(ways.front().obstacle, HasSubstr("bytes: it needs at least "));
  EXPECT_THAT(ways.front().obstacle, HasSubstr("optimizer "));
}

TEST(Verdict, SpreadInterpolatesBetweenDraws) {
  const Spread spread = spread_of({4, 1, 3, 2, 5});
  EXPECT_DOUBLE_EQ(spread.p5, 1.2);
  EXPECT_DOUBLE_EQ(spread.p50, 3);
  EXPECT_DOUBLE_EQ(spread.p95, 4.8);
  EXPECT_DOUBLE_EQ(spread_of({7}).p95, 7);
}

TEST(Verdict, AssumesEachKernelClassOfEachKindAndTheNetworkBothWays) {
  const Scenario scenario = make_scenario({.cluster = "1xA40,1xV100-16GB"});
  const std::vector<Assumption> assumptions = assumptions_of(scenario);
  // Grouped products without rows of their own go by those of dense ones.
  EXPECT_EQ(assumptions.size(), 2U * (2 * (kernel_class_count - 1) + 1));
  EXPECT_THAT(name_of(assumptions[0]), ::testing::MatchesRegex("gemm on A40 [0-9]+ % slower"));
  EXPECT_EQ(name_of(assumptions.back()), "the network 25 % faster");
}

TEST(Verdict, AssumesAsMuchOfTheNetworkAsItsWorstLinkLeavesOpen) {
  Scenario scenario = make_scenario({.cluster = "1xA40,1xV100-16GB"});
  scenario.calibration.links = {{Link::nic, 100, 0.9, Evidence::measured, ""}};
  EXPECT_EQ(assumptions_of(scenario).back().evidence, Evidence::measured);
  scenario.calibration.links.clear();
  EXPECT_EQ(assumptions_of(scenario).back().evidence, Evidence::roofline);
}

TEST(Verdict, AssumesLessOfKernelsOfWhichSomeWereMeasured) {
  Scenario scenario = make_scenario({.cluster = "1xA40,1xV100-16GB"});
  scenario.calibration.gpus["V100-16GB"].tables = {
      MeasuredTable({MeasuredOp::gemm, "", "", false}, {"s"}, {{{64, 64, 64}, 9, 0, 1}})};
  for (const Assumption& assumption : assumptions_of(scenario)) {
    if (assumption.gpu != "V100-16GB" || assumption.kernel != KernelClass::gemm) continue;
    EXPECT_EQ(assumption.evidence, Evidence::interpolated);
  }
}

TEST(Verdict, MovesTheNetworkByWhatItsLinksReach) {
  const Scenario scenario = make_scenario({.cluster = "2xA40,2xV100-16GB", .batch = 8});
  Way way;
  way.request.strategy = Strategy::expert_parallel;
  way.jobs = plan_jobs(scenario, way.request, fast_scorer());
  const Assumption slower{"", std::nullopt, Evidence::roofline, 0.25};
  Way over_less = way;
  for (Job& job : over_less.jobs) {
    job.scenario.calibration.links = {{Link::nic, 100, 0.2, Evidence::measured, ""}};
  }
  Way at_a_quarter = over_less;
  for (Job& job : at_a_quarter.jobs) job.scenario.calibration.links.front().efficiency = 0.05;
  const Assumption same{"", std::nullopt, Evidence::roofline, 1};
  EXPECT_NEAR(tokens_per_s(over_less, slower, fast_scorer()),
              tokens_per_s(at_a_quarter, same, fast_scorer()), 1e-6);
  EXPECT_LT(tokens_per_s(way, slower, fast_scorer()), tokens_per_s(way, same, fast_scorer()));
}

TEST(Verdict, MovesNothingButWhatTheAssumptionSays) {
  const Scenario scenario = make_scenario({.cluster = "2xA40,2xV100-16GB", .batch = 8});
  Way way;
  way.request.strategy = Strategy::expert_parallel;
  way.jobs = plan_jobs(scenario, way.request, fast_scorer());
  const double rate = way.tokens_per_s();
  Assumption slower{"V100-16GB", KernelClass::gemm, Evidence::measured, 0.5};
  EXPECT_LT(tokens_per_s(way, slower, fast_scorer()), rate);
  slower.rate = 1;
  EXPECT_DOUBLE_EQ(tokens_per_s(way, slower, fast_scorer()), rate);
  slower.gpu = "T4";  // there is none
  slower.rate = 0.5;
  EXPECT_DOUBLE_EQ(tokens_per_s(way, slower, fast_scorer()), rate);
}

TEST(Verdict, CallsALeadWithinTheErrorATieAndNamesWhatTurnsIt) {
  const Scenario scenario = make_scenario({.layers = 4, .cluster = "2xA40,2xA40", .batch = 8});
  std::vector<Way> ways(2);
  for (Way& way : ways) way.request.strategy = Strategy::expert_parallel;
  ways[1].request.chunks = 4;
  for (Way& way : ways) way.jobs = plan_jobs(scenario, way.request, fast_scorer());
  ways[1].use = Use::some_kinds;
  rank_ways(ways);
  const Verdict verdict = judge_ways(scenario, ways, {}, fast_scorer());
  ASSERT_EQ(verdict.rivals.size(), 1U);
  const Comparison& rival = verdict.rivals.front();
  EXPECT_GE(rival.speedup, 1);
  EXPECT_LE(rival.least, rival.speedup);
  EXPECT_GE(rival.most, rival.speedup);
  EXPECT_EQ(rival.is_tie(), rival.least <= 1 || rival.speedup < 1.02 || rival.under_skew.p50 < 1);
}

TEST(Verdict, SaysWhatOneMoreGpuOfEachKindBrings) {
  const Scenario scenario = make_scenario(
      {.layers = 4, .cluster = "2xA40,2xV100-16GB", .sequence_length = 4096, .batch = 8});
  const std::vector<Way> ways = ranked_ways(scenario);
  const std::vector<Gain> gains =
      marginal_gains(scenario, ways.front(), all_strategies(), fast_scorer());
  ASSERT_EQ(gains.size(), 2U);
  for (const Gain& gain : gains) {
    EXPECT_GE(gain.global_batch_sequences, 9U);
    EXPECT_GT(gain.tokens_per_s, 0);
  }
}

TEST(Verdict, FindsTheSmallestChangeThatFits) {
  Scenario scenario = make_scenario({.cluster = "2xA40", .batch = 8});
  const PlanRequest ep{.strategy = Strategy::expert_parallel};
  const Plan roomy = plan(scenario, ep, fast_scorer());
  const MemoryUse& use = roomy.memory.front();
  // 8-bit optimizer states save half of the optimizer's bytes; nothing smaller saves as much.
  scenario.cluster.kinds[0].memory = use.total() - use.optimizer / 3;
  scenario.training.optimizer_sharding = true;
  scenario.training.recompute = Recompute::layer;
  EXPECT_EQ(smallest_change(scenario, ep, fast_scorer()), "--optimizer adamw-8bit");
  scenario.cluster.kinds[0].memory = gibibytes(1);
  EXPECT_EQ(smallest_change(scenario, ep, fast_scorer()), "");
}

}  // namespace
}  // namespace zebroid
