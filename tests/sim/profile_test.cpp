#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <cmath>

#include "core/error.hpp"
#include "planner/zebra.hpp"
#include "schedule/predicted_load.hpp"
#include "sim/fast.hpp"
#include "tests/support/random_schedules.hpp"
#include "tests/support/scenarios.hpp"
#include "tests/support/schedules.hpp"

namespace zebroid {
namespace {

using testing::Case;
using testing::make_scenario;
using testing::random_case;
using testing::random_load;
using testing::small_ep;
using testing::small_zebra;
using testing::TableLoad;

const SimulateOptions by_pair{.verified = true, .fidelity = Fidelity::pair};
const SimulateOptions by_profile{.verified = true, .fidelity = Fidelity::profile};

/// Of the makespan by profile, in shares of the exact one.
double error(const Schedule& schedule, const Load& load) {
  const double exact = simulate(schedule, load, by_pair).makespan().value;
  return exact > 0 ? simulate(schedule, load, by_profile).makespan().value / exact - 1 : 0;
}

/// Zebra without experts on attention GPUs, a GPU per node: dispatch and combine use opposite
/// ports.
TEST(Profile, EqualsPairOnBalancedLoadsWithoutSharedPorts) {
  for (const std::string cluster :
       {"4xA40,2xV100-16GB", "3xA40,3xV100-16GB", "2xA40,4xV100-16GB"}) {
    const Scenario scenario =
        make_scenario({.experts = 12, .cluster = cluster, .sequence_length = 4096, .batch = 24});
    const Schedule schedule = testing::listed(small_zebra(scenario, 1, 0), scenario);
    const PredictedLoad predicted(schedule, scenario);
    TableLoad without_sums(scenario);
    without_sums.latency_s = 1e-5;
    without_sums.seconds_of = [&](RankId rank, const Op& op) {
      return predicted.seconds(rank, op).value;
    };
    without_sums.bytes_of = [&](const Op& op, RankId from, RankId to) {
      return is_sum(op.work) ? 0 : predicted.bytes({0}, op, from, to).value;
    };
    EXPECT_LE(std::abs(error(schedule, without_sums)), 1e-9) << cluster;
  }
}

/// Expert parallelism on equal GPUs: dispatch and combine of different chunks share all ports
/// evenly.
TEST(Profile, EqualsPairWhereEqualExchangesShareAllPortsEvenly) {
  const Scenario scenario =
      make_scenario({.experts = 12, .cluster = "4xA40", .sequence_length = 4096, .batch = 8});
  TableLoad load(scenario);
  load.seconds_of = [](RankId, const Op&) { return 1e-3; };
  load.bytes_of = [](const Op& op, RankId, RankId) {
    return op.work == Work::dispatch || op.work == Work::combine ? 12.5e6 : 0;
  };
  EXPECT_LE(std::abs(error(small_ep(scenario, 4), load)), 1e-9);
}

TEST(Profile, ProgressesTwoExchangesAtTheRatesThatTheirCommonPortAllows) {
  // Two groups of two; both send through the NIC of node 0. The first one's 12.5 GB alone take 1 s,
  // the second one's 25 GB take 2 s: at half speed each, they end after 2 s and 3 s.
  Schedule schedule;
  schedule.layers = schedule.experts = schedule.microbatches = schedule.chunks = 1;
  schedule.replicas.push_back({{{{0}}}});
  schedule.programs.push_back({{Work::dispatch, Pass::forward, 1, 0, 0, 0}});
  for (const std::uint32_t r : {0U, 1U, 2U, 3U}) {
    schedule.ranks.push_back({{r}, 0, 0, 1, {{r % 2}}});
  }
  schedule.groups = {{{0}, {2}}, {{1}, {3}}};
  TableLoad load(Network(load_cluster("1x2xA40,2xA40", parse_bandwidth("100Gbps"))));
  load.bytes_of = [](const Op&, RankId from, RankId) {
    return from.value == 0 ? 12.5e9 : from.value == 1 ? 25e9 : 0;
  };
  const Timeline timeline = simulate(schedule, load, by_profile);
  EXPECT_DOUBLE_EQ(timeline.ranks[2][0].ended.value, 2);
  EXPECT_DOUBLE_EQ(timeline.ranks[3][0].ended.value, 3);
  EXPECT_EQ(timeline.origin, "simulated by fast (profile)");
  EXPECT_DOUBLE_EQ(*timeline.overlap_fraction, 4.0 / 5);
}

/// Of 24,000 such draws p90 was 0.7 % and the worst 14.6 %.
TEST(Profile, StaysNearPair) {
  std::vector<double> errors;
  const bool ok = rc::check("profile against pair", [&] {
    for (int i = 0; i < 3; ++i) {
      const Case c = random_case();
      errors.push_back(std::abs(error(c.schedule, random_load(c))));
    }
  });
  EXPECT_TRUE(ok);
  std::sort(errors.begin(), errors.end());
  const double p90 = errors[errors.size() * 9 / 10];
  RecordProperty("median", std::to_string(errors[errors.size() / 2]));
  RecordProperty("p90", std::to_string(p90));
  RecordProperty("worst", std::to_string(errors.back()));
  EXPECT_LE(p90, 0.03);
  EXPECT_LE(errors.back(), 0.16);
}

TEST(Profile, IsTakenByItselfWhereMoreThanSixteenUnequalRanksSharePorts) {
  for (const auto& [gpus, expected] : {std::pair{8, Fidelity::pair}, {9, Fidelity::profile}}) {
    const std::string count = std::to_string(gpus);
    const Scenario scenario = make_scenario({.experts = 2 * gpus,
                                             .cluster = count + "xA40," + count + "xV100-16GB",
                                             .batch = static_cast<std::uint64_t>(2 * gpus)});
    const Schedule schedule = small_ep(scenario, 2);
    const FastSimulation simulation(schedule, PredictedLoad(schedule, scenario),
                                    {.verified = true});
    EXPECT_EQ(simulation.fidelity(), expected) << gpus;
  }
}

TEST(Profile, IsNotNeededForManyRanksThatAreAlike) {
  const Scenario scenario =
      make_scenario({.experts = 24, .cluster = "24xA40,24xV100-16GB", .batch = 48});
  const Schedule schedule = small_zebra(scenario, 1, 0);
  const PredictedLoad load(schedule, scenario);
  const FastSimulation simulation(schedule, load, {.verified = true});
  EXPECT_EQ(simulation.fidelity(), Fidelity::pair);
  EXPECT_EQ(simulation.rank_classes(), 2U);
}

TEST(Profile, IsRefusedBySimGridAndPortByTheFastEngine) {
  const Scenario scenario = make_scenario({});
  const Schedule schedule = small_ep(scenario, 1);
  const TableLoad load(scenario);
  EXPECT_THROW(simulate(schedule, load, {.fidelity = Fidelity::port}), Error);
  EXPECT_THROW(simulate(schedule, load, {.engine = Engine::simgrid, .fidelity = Fidelity::profile}),
               Error);
}

}  // namespace
}  // namespace zebroid
