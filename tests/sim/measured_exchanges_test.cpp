#include <gtest/gtest.h>

#include <cmath>

#include "schedule/predicted_load.hpp"
#include "sim/simulate.hpp"
#include "tests/support/scenarios.hpp"
#include "tests/support/schedules.hpp"

namespace zebroid {
namespace {

using testing::make_scenario;
using testing::ops;
using testing::small_ep;

/// One group of four A40, which do the same.
class FourRanks : public ::testing::Test {
 protected:
  FourRanks() : scenario_(make_scenario({.cluster = "4xA40"})), schedule_(small_ep(scenario_, 1)) {}

  Op op(const std::string& name) const { return ops(name, schedule_.layers).front(); }
  /// As nccl-tests prints it.
  double size_of(const std::string& name) const {
    const PredictedLoad load(schedule_, scenario_);
    double sent = 0;
    for (std::uint32_t to = 1; to < 4; ++to) sent += load.bytes({0}, op(name), {0}, {to}).value;
    return sent * 4 / 3;
  }
  void measure(const std::string& name, double time_us, std::uint32_t ranks_per_node = 1) {
    const double ranks = 4;
    const double per_node = ranks_per_node;
    GpuCalibration& known = scenario_.calibration.gpus["A40"];
    known.collectives = {
        {MeasuredOp::all_to_all, 4, ranks_per_node, {{0, 20, 5}}, Evidence::interpolated, "s"}};
    known.tables = {MeasuredTable({MeasuredOp::all_to_all, "", "", false}, {"s"},
                                  {{{std::round(size_of(name)), ranks, per_node}, time_us, 0, 1}})};
  }
  double seconds_of(const std::string& name, Engine engine) const {
    const Timeline timeline =
        simulate(schedule_, PredictedLoad(schedule_, scenario_), {.engine = engine});
    const Program& program = schedule_.program_of({0});
    for (std::size_t i = 0; i < program.size(); ++i) {
      if (key_of(program[i]) != key_of(op(name))) continue;
      return (timeline.ranks[0][i].ended - timeline.ranks[0][i].started).value;
    }
    throw std::invalid_argument(name);
  }

  Scenario scenario_;
  Schedule schedule_;
};

TEST_F(FourRanks, AnExchangeAloneOnItsPortsTakesTheMeasuredTime) {
  measure("D0.0", 700);
  for (const Engine engine : {Engine::fast, Engine::simgrid}) {
    EXPECT_NEAR(seconds_of("D0.0", engine), 700e-6, 700e-6 * 1e-9);
  }
  const PredictedLoad load(schedule_, scenario_);
  EXPECT_EQ(load.evidence({0}, op("D0.0")), Evidence::measured);
}

TEST_F(FourRanks, AMeasuredTimeThatItsBytesExceedLeavesNoLatency) {
  measure("D0.0", 1);
  const PredictedLoad load(schedule_, scenario_);
  EXPECT_EQ(load.latency({0}, op("D0.0")).value, 0);
  EXPECT_GT(seconds_of("D0.0", Engine::fast), 1e-6);
  EXPECT_EQ(load.evidence({0}, op("D0.0")), Evidence::extrapolated);  // the shipped links'
}

TEST_F(FourRanks, AGroupOfAnotherShapeHasTheLatencyOfTheCluster) {
  measure("D0.0", 700, 2);
  const PredictedLoad load(schedule_, scenario_);
  EXPECT_EQ(load.latency({0}, op("D0.0")), scenario_.cluster.latency);
}

TEST_F(FourRanks, OtherCollectivesKeepTheLatencyOfTheCluster) {
  measure("D0.0", 700);
  const PredictedLoad load(schedule_, scenario_);
  EXPECT_EQ(load.latency({0}, op("norm")), scenario_.cluster.latency);
  EXPECT_EQ(load.network().latency().value, 0);
}

}  // namespace
}  // namespace zebroid
