#include "schedule/exchange_times.hpp"

#include <gtest/gtest.h>

#include "schedule/predicted_load.hpp"
#include "tests/support/scenarios.hpp"
#include "tests/support/schedules.hpp"

namespace zebroid {
namespace {

using testing::Case;
using testing::make_scenario;
using testing::ops;

constexpr double rate = 1e9;  // of every fit here, far below the ports'

CollectiveFit fit_of(MeasuredOp op, std::uint32_t ranks, std::uint32_t ranks_per_node) {
  return {op, ranks, ranks_per_node, {{0, 0, rate / 1e9}}, Evidence::interpolated, "s"};
}

/// On stated rates, so that a port of a node of one A40 carries 12.5 GB/s.
Scenario plain(const std::string& cluster) {
  Scenario out = make_scenario({.cluster = cluster, .batch = 12});
  out.calibration.links.clear();
  return out;
}

GroupId group_of(const Schedule& schedule, const std::vector<RankId>& members) {
  const auto found = std::find(schedule.groups.begin(), schedule.groups.end(), members);
  return {static_cast<std::uint32_t>(found - schedule.groups.begin())};
}

TEST(ExchangeTimes, ASumIsAnAllReduceOfTheBytesOnEachMember) {
  Scenario scenario = plain("4xA40");
  scenario.calibration.gpus["A40"].collectives = {fit_of(MeasuredOp::all_reduce, 4, 1)};
  const Schedule schedule = testing::small_ep(scenario, 1);
  const PredictedLoad load(schedule, scenario);
  const Op sum = ops("sum1", schedule.layers).front();
  const GroupId all = group_of(schedule, {{0}, {1}, {2}, {3}});
  const double sent = load.bytes(all, sum, {0}, {1}).value;  // 2 * 3 / 4 of the bytes
  EXPECT_NEAR(load.latency(all, sum).value, sent * 4 / 6 / rate - sent / 12.5e9, 1e-12);
  EXPECT_EQ(load.evidence(all, sum), Evidence::interpolated);
  EXPECT_EQ(load.evidence(all, ops("D0.0", schedule.layers).front()), Evidence::roofline);
}

TEST(ExchangeTimes, AStageIsASendOfEachMessageBetweenItsTwoGpus) {
  Case c = testing::two_stages();
  c.scenario.calibration.links.clear();
  const PredictedLoad before(c.schedule, c.scenario);
  const Op stage = ops("S1.0", c.schedule.layers).front();
  const GroupId group = group_of(c.schedule, {{0}, {1}, {2}});
  ASSERT_LT(group.value, c.schedule.groups.size());
  EXPECT_EQ(before.latency(group, stage), c.scenario.cluster.latency);
  const std::vector<Gpu> gpus = gpus_of(c.scenario.cluster);
  for (const std::uint32_t sender : {0U, 1U}) {
    const auto& kinds = c.scenario.cluster.kinds;
    const std::string name =
        name_of_group({kinds[gpus[sender].kind].name, kinds[gpus[2].kind].name});
    c.scenario.calibration.gpus[name].collectives = {fit_of(MeasuredOp::send_recv, 2, 1),
                                                     fit_of(MeasuredOp::send_recv, 2, 2)};
  }
  const PredictedLoad load(c.schedule, c.scenario);
  const double sent = load.bytes(group, stage, {0}, {2}).value;
  ASSERT_EQ(sent, load.bytes(group, stage, {1}, {2}).value);
  double slowest = 0;
  for (const PortId port : load.network().path({0}, {2})) {
    slowest = std::max(slowest, sent / load.network().ports()[port.value].bandwidth.value);
  }
  EXPECT_NEAR(load.latency(group, stage).value, sent / rate - slowest, 1e-12);
}

TEST(ExchangeTimes, AGroupOfSeveralKindsTakesWhatWasMeasuredOverAllOfThem) {
  Scenario scenario = plain("2xA40,2xV100-16GB");
  const Schedule schedule = testing::small_ep(scenario, 1);
  const Op dispatch = ops("D0.0", schedule.layers).front();
  const GroupId all = group_of(schedule, {{0}, {1}, {2}, {3}});
  const auto latency_with = [&](const std::string& name) {
    Scenario own = scenario;
    own.calibration.gpus[name].collectives = {fit_of(MeasuredOp::all_to_all, 4, 1)};
    return PredictedLoad(schedule, own).latency(all, dispatch);
  };
  EXPECT_NE(latency_with("A40+V100-16GB"), scenario.cluster.latency);
  EXPECT_EQ(latency_with("A40"), scenario.cluster.latency);
  EXPECT_EQ(latency_with("A40+T4"), scenario.cluster.latency);
}

TEST(ExchangeTimes, NodesWithUnequallyManyMembersFitNoMeasurement) {
  Scenario scenario = plain("1x3xA40,1xA40");
  for (std::uint32_t per_node = 1; per_node <= 4; ++per_node) {
    scenario.calibration.gpus["A40"].collectives.push_back(
        fit_of(MeasuredOp::all_to_all, 4, per_node));
  }
  const Schedule schedule = testing::small_ep(scenario, 1);
  const PredictedLoad load(schedule, scenario);
  EXPECT_EQ(
      load.latency(group_of(schedule, {{0}, {1}, {2}, {3}}), ops("D0.0", schedule.layers).front()),
      scenario.cluster.latency);
}

TEST(ExchangeTimes, WithoutMeasurementsTheWorstLinkCrossedGivesTheGrade) {
  Scenario scenario = plain("2x2xA100-80GB");
  scenario.calibration.links = {{Link::nvlink, 0, 0.7, Evidence::measured, ""},
                                {Link::nic, 100, 0.9, Evidence::extrapolated, ""}};
  const Schedule schedule = testing::small_ep(scenario, 1);
  const PredictedLoad load(schedule, scenario);
  EXPECT_EQ(
      load.evidence(group_of(schedule, {{0}, {1}, {2}, {3}}), ops("D0.0", schedule.layers).front()),
      Evidence::extrapolated);
}

}  // namespace
}  // namespace zebroid
