#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "core/error.hpp"
#include "planner/expert_parallel.hpp"
#include "planner/listing.hpp"
#include "planner/zebra.hpp"
#include "schedule/what_if.hpp"
#include "sim/agreement.hpp"
#include "sim/simulate.hpp"
#include "tests/support/random_load.hpp"
#include "tests/support/random_schedules.hpp"
#include "tests/support/scenarios.hpp"

namespace zebroid {
namespace {

using testing::Case;
using ::testing::HasSubstr;
using testing::make_scenario;
using testing::random_case;
using testing::RandomLoad;
using testing::TableLoad;

const SimulateOptions fast = {.verified = true};
const SimulateOptions by_pair = {
    .verified = true, .engine = Engine::simgrid, .fidelity = Fidelity::pair};
const SimulateOptions by_port = {
    .verified = true, .engine = Engine::simgrid, .fidelity = Fidelity::port};

/// The largest difference of two timelines in any time of any op, over the makespan.
double difference(const Timeline& a, const Timeline& b) {
  double worst = 0;
  for (std::size_t r = 0; r < a.ranks.size(); ++r) {
    for (std::size_t i = 0; i < a.ranks[r].size(); ++i) {
      const OpTimes& x = a.ranks[r][i];
      const OpTimes& y = b.ranks[r][i];
      worst = std::max({worst, std::abs(x.ready.value - y.ready.value),
                        std::abs(x.started.value - y.started.value),
                        std::abs(x.ended.value - y.ended.value)});
    }
  }
  return a.makespan().value > 0 ? worst / a.makespan().value : worst;
}

/// Nodes get NICs of their own speed and number, host bridges and two racks.
void make_uneven(Cluster& cluster) {
  cluster.racks = {{"r", {*rc::gen::element(5e9, 20e9)}}, {"s", {*rc::gen::element(5e9, 20e9)}}};
  for (NodeGroup& row : cluster.rows) {
    row.nic = BytesPerSecond{*rc::gen::element(3e9, 12.5e9, 25e9)};
    row.nics = static_cast<std::uint32_t>(*rc::gen::inRange(1, 3));
    if (*rc::gen::arbitrary<bool>()) row.host_bridge = BytesPerSecond{*rc::gen::element(4e9, 2e10)};
    row.rack = *rc::gen::element<std::string>("", "r", "s");
  }
}

struct LoadedCase {
  Case c;
  std::uint64_t seed;
  double message_s;
  std::vector<Slowdown> slowdowns;
};

/// A schedule of any strategy on a cluster that shares what can be shared, with a straggler and a
/// degraded port at times.
LoadedCase random_loaded_case() {
  LoadedCase out{random_case(),
                 *rc::gen::arbitrary<std::uint64_t>(),
                 *rc::gen::element(0.0, 0.1, 1.0, 5.0),
                 {}};
  if (*rc::gen::arbitrary<bool>()) make_uneven(out.c.scenario.cluster);
  if (*rc::gen::arbitrary<bool>()) {
    const auto ranks = static_cast<int>(out.c.schedule.ranks.size());
    out.slowdowns.push_back({RankId{static_cast<std::uint32_t>(*rc::gen::inRange(0, ranks))}, "",
                             *rc::gen::element(0.3, 0.8)});
    const Network network(out.c.scenario.cluster);
    if (!network.ports().empty()) {
      const auto port = *rc::gen::inRange<std::size_t>(0, network.ports().size());
      out.slowdowns.push_back({std::nullopt, network.ports()[port].name, 0.5});
    }
  }
  return out;
}

class SimGrid : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!has_simgrid()) GTEST_SKIP() << "built without SimGrid";
  }
};

TEST_F(SimGrid, EqualsTheFastEngineOpByOpWhateverIsShared) {
  const bool ok = rc::check("pair of both engines", [] {
    for (int i = 0; i < 3; ++i) {  // rapidcheck tries this 100 times
      const LoadedCase drawn = random_loaded_case();
      const RandomLoad random(drawn.c.schedule, drawn.c.scenario, drawn.seed, drawn.message_s);
      const WhatIf load(random, drawn.c.schedule, drawn.slowdowns);
      const Timeline grid = simulate(drawn.c.schedule, load, by_pair);
      RC_ASSERT(grid.origin == "simulated by simgrid (pair)");
      RC_ASSERT(difference(simulate(drawn.c.schedule, load, fast), grid) <= 1e-9);
    }
  });
  EXPECT_TRUE(ok);
}

TEST_F(SimGrid, ByPortStaysNearPair) {
  std::vector<double> makespans;
  const bool ok = rc::check("port against pair", [&] {
    const LoadedCase drawn = random_loaded_case();
    const RandomLoad load(drawn.c.schedule, drawn.c.scenario, drawn.seed, drawn.message_s);
    const Timeline exact = simulate(drawn.c.schedule, load, fast);
    const Timeline port = simulate(drawn.c.schedule, load, by_port);
    if (exact.makespan().value <= 0) return;
    makespans.push_back(std::abs(port.makespan() / exact.makespan() - 1));
  });
  EXPECT_TRUE(ok);
  std::sort(makespans.begin(), makespans.end());
  const double p90 = makespans[makespans.size() * 9 / 10];
  RecordProperty("median", std::to_string(makespans[makespans.size() / 2]));
  RecordProperty("p90", std::to_string(p90));
  RecordProperty("worst", std::to_string(makespans.back()));
  EXPECT_LE(p90, 0.06);
  EXPECT_LE(makespans.back(), 0.12);
}

/// Zebra without experts on attention GPUs, routed evenly, a GPU per node on equal NICs: each
/// exchange has its ports for itself and equal messages, as long as no sum is under way.
TEST_F(SimGrid, ByPortEqualsPairOnBalancedLoadsWithoutSharedPorts) {
  for (const int experts : {4, 8}) {
    const Scenario scenario = make_scenario(
        {.layers = 3, .experts = experts, .cluster = "4xA40,2xV100-16GB", .batch = 16});
    ZebraShape shape = zebra_shape(
        {{gpus_of_kinds(scenario.cluster, {0}), gpus_of_kinds(scenario.cluster, {1})}}, 4);
    place_evenly(scenario.model, {0, 0, 0}, shape);
    const Schedule schedule = zebra_schedule(scenario, shape);
    TableLoad load(scenario);
    load.latency_s = 1e-5;
    load.seconds_of = [](RankId, const Op& op) { return op.pass == Pass::backward ? 2e-3 : 1e-3; };
    load.bytes_of = [](const Op& op, RankId from, RankId to) {
      const bool up = from.value < 4 && to.value >= 4 && op.work == Work::dispatch;
      const bool down = from.value >= 4 && to.value < 4 && op.work == Work::combine;
      return up || down ? 4e6 : 0.0;
    };
    EXPECT_LE(difference(simulate(schedule, load, fast), simulate(schedule, load, by_port)), 1e-9);
  }
}

/// Ranks that only exchange once: rank r lists one dispatch over a group of all. For engines alone;
/// verify would miss the rest of a training step.
Schedule one_exchange(std::uint32_t ranks) {
  Schedule out;
  out.layers = out.microbatches = out.chunks = 1;
  out.programs = {{{Work::dispatch, Pass::forward, 1, 0, 0, 0}}};
  out.groups.resize(1);
  for (std::uint32_t r = 0; r < ranks; ++r) {
    out.groups[0].push_back({r});
    out.ranks.push_back({.gpu = {r}, .groups = {GroupId{0}}});
  }
  return out;
}

/// Two senders with ports of 2 GB/s, two receivers with 1 GB/s, 1 GB for each pair: SimGrid's
/// default solver lets two of these four flows have 1 GB/s each, on the port of 1 GB/s that they
/// share.
TEST_F(SimGrid, SharesThePortsOfTheReceiversToo) {
  for (const double latency_s : {0.0, 1e-6}) {
    std::vector<std::vector<PortId>> paths(16);
    for (std::uint32_t from = 0; from < 2; ++from) {
      for (std::uint32_t to = 2; to < 4; ++to)
        paths[from * 4 + to] = paths[to * 4 + from] = {{from}, {to}};
    }
    paths[0 * 4 + 1] = paths[1 * 4 + 0] = {{0}, {1}};
    paths[2 * 4 + 3] = paths[3 * 4 + 2] = {{2}, {3}};
    TableLoad load(
        Network({{"out0", {2e9}}, {"out1", {2e9}}, {"in0", {1e9}}, {"in1", {1e9}}}, paths, 4, {}));
    load.latency_s = latency_s;
    load.bytes_of = [](const Op&, RankId from, RankId to) {
      return from.value < 2 && to.value >= 2 ? 1e9 : 0.0;
    };
    for (const SimulateOptions& options : {fast, by_pair, by_port}) {
      const Timeline timeline = simulate(one_exchange(4), load, options);
      for (const auto& ops : timeline.ranks) EXPECT_NEAR(ops[0].ended.value, 2 + latency_s, 1e-9);
    }
  }
}

/// Two attention ops of 10 and 2 ms on rank 0, between them 1 MB over 1 GB/s and 10 us to rank 1,
/// whose experts take 3 ms.
TEST_F(SimGrid, MeetsTheChainThatIsWorkedOutByHand) {
  Schedule schedule;
  schedule.layers = schedule.chunks = 1;
  schedule.microbatches = 2;
  const Op dispatch{Work::dispatch, Pass::forward, 1, 0, 0, 0};
  schedule.programs = {{{Work::attention, Pass::forward, 0, 0, 0, 0},
                        dispatch,
                        {Work::attention, Pass::forward, 0, 0, 1, 0}},
                       {dispatch, {Work::expert, Pass::forward, 0, 0, 0, 0}}};
  schedule.groups = {{{0}, {1}}};
  for (std::uint16_t r = 0; r < 2; ++r) {
    schedule.ranks.push_back({.gpu = {r}, .program = r, .groups = {GroupId{0}}});
  }
  TableLoad load(Network({{"out", {1e9}}, {"in", {1e9}}}, {{}, {{0}, {1}}, {{1}, {0}}, {}}, 2, {}));
  load.latency_s = 10e-6;
  load.seconds_of = [](RankId, const Op& op) {
    return op.work == Work::expert ? 3e-3 : op.microbatch == 0 ? 10e-3 : 2e-3;
  };
  load.bytes_of = [](const Op&, RankId from, RankId) { return from.value == 0 ? 1e6 : 0.0; };
  for (const SimulateOptions& options : {fast, by_pair, by_port}) {
    const Timeline t = simulate(schedule, load, options);
    EXPECT_NEAR(t.ranks[0][0].ended.value, 0.010, 1e-15);
    EXPECT_NEAR(t.ranks[0][1].ended.value, 0.011010, 1e-15);
    EXPECT_NEAR(t.ranks[0][2].ended.value, 0.012, 1e-15);
    EXPECT_NEAR(t.ranks[1][1].ended.value, 0.014010, 1e-15);
  }
  load.share = 0.5;  // of the compute rate, while the transfer of 1.01 ms runs
  for (const SimulateOptions& options : {fast, by_pair, by_port}) {
    EXPECT_NEAR(simulate(schedule, load, options).ranks[0][2].ended.value, 0.012 + 0.505e-3, 1e-12);
  }
}

/// Ends of the flows of one exchange by progressive filling: all rates rise together, a port that
/// is full stops its flows; at the next end it starts again.
std::vector<double> reference_ends(const std::vector<Port>& ports, const std::vector<Path>& paths,
                                   std::vector<double> left) {
  std::vector<double> ends(paths.size(), 0);
  double now = 0;
  for (std::size_t open = paths.size(); open > 0;) {
    std::vector<double> rate(paths.size(), 0);
    std::vector<bool> fixed(paths.size());
    for (std::size_t f = 0; f < paths.size(); ++f) fixed[f] = left[f] <= 0;
    while (std::find(fixed.begin(), fixed.end(), false) != fixed.end()) {
      double least = std::numeric_limits<double>::infinity();
      std::uint32_t tightest = 0;
      for (std::uint32_t p = 0; p < ports.size(); ++p) {
        double room = ports[p].bandwidth.value;
        int rising = 0;
        for (std::size_t f = 0; f < paths.size(); ++f) {
          if (std::find(paths[f].begin(), paths[f].end(), PortId{p}) == paths[f].end()) continue;
          if (left[f] > 0 && fixed[f]) room -= rate[f];
          if (!fixed[f]) ++rising;
        }
        if (rising > 0 && room / rising < least) {
          least = room / rising;
          tightest = p;
        }
      }
      for (std::size_t f = 0; f < paths.size(); ++f) {
        if (fixed[f] ||
            std::find(paths[f].begin(), paths[f].end(), PortId{tightest}) == paths[f].end()) {
          continue;
        }
        rate[f] = least;
        fixed[f] = true;
      }
    }
    double step = std::numeric_limits<double>::infinity();
    for (std::size_t f = 0; f < paths.size(); ++f) {
      if (left[f] > 0) step = std::min(step, left[f] / rate[f]);
    }
    now += step;
    for (std::size_t f = 0; f < paths.size(); ++f) {
      if (left[f] <= 0) continue;
      left[f] -= rate[f] * step;
      if (left[f] > 1e-3) continue;  // a thousandth of a byte: rounding
      left[f] = 0;
      ends[f] = now;
      --open;
    }
  }
  return ends;
}

TEST_F(SimGrid, AndTheFastEngineMeetAReferenceOnRandomPlatforms) {
  const bool ok = rc::check("flows of one exchange", [] {
    Cluster cluster = load_cluster(testing::random_cluster(3, testing::Nodes::of_several),
                                   parse_bandwidth("100Gbps"));
    make_uneven(cluster);
    const auto ranks = static_cast<std::uint32_t>(gpus_of(cluster).size());
    std::vector<double> bytes(ranks * ranks);
    for (double& b : bytes) b = 1e6 * *rc::gen::inRange(0, 100);
    TableLoad load{Network(cluster)};
    load.bytes_of = [&](const Op&, RankId from, RankId to) {
      return bytes[from.value * ranks + to.value];
    };
    std::vector<Path> paths;
    std::vector<double> sizes;
    std::vector<std::pair<std::uint32_t, std::uint32_t>> ends_of;
    for (std::uint32_t a = 0; a < ranks; ++a) {
      for (std::uint32_t b = 0; b < ranks; ++b) {
        if (a == b || bytes[a * ranks + b] == 0) continue;
        paths.push_back(load.network().path({a}, {b}));
        sizes.push_back(bytes[a * ranks + b]);
        ends_of.emplace_back(a, b);
      }
    }
    const std::vector<double> ends = reference_ends(load.network().ports(), paths, sizes);
    std::vector<double> expected(ranks, 0);
    for (std::size_t f = 0; f < ends.size(); ++f) {
      for (const std::uint32_t r : {ends_of[f].first, ends_of[f].second}) {
        expected[r] = std::max(expected[r], ends[f]);
      }
    }
    for (const SimulateOptions& options : {fast, by_pair}) {
      const Timeline timeline = simulate(one_exchange(ranks), load, options);
      for (std::uint32_t r = 0; r < ranks; ++r) {
        RC_ASSERT(std::abs(timeline.ranks[r][0].ended.value - expected[r]) <=
                  1e-9 * (1 + expected[r]));
      }
    }
  });
  EXPECT_TRUE(ok);
}

TEST_F(SimGrid, RunsAgainAndAgainWithTheSameBits) {
  const Case c = testing::small_cases().front();
  const RandomLoad load(c.schedule, c.scenario, 7, 1.0);
  const Timeline first = simulate(c.schedule, load, by_pair);
  EXPECT_EQ(simulate(c.schedule, load, by_pair), first);
  simulate(c.schedule, load, by_port);
  EXPECT_EQ(simulate(c.schedule, load, by_pair), first);
}

std::string message_of(const Schedule& schedule, const Load& load, const SimulateOptions& options) {
  try {
    simulate(schedule, load, options);
    return "";
  } catch (const Error& error) {
    return error.what();
  }
}

/// Two ranks list two exchanges in opposite orders.
TEST_F(SimGrid, NamesTheOpThatNeverRuns) {
  Schedule schedule = one_exchange(2);
  const Op forward{Work::dispatch, Pass::forward, 1, 0, 0, 0};
  const Op backward{Work::dispatch, Pass::backward, 1, 0, 0, 0};
  schedule.programs = {{backward, forward}, {forward, backward}};
  schedule.ranks[1].program = 1;
  const TableLoad load(Network({{"p", {1e9}}}, {{}, {{0}}, {{0}}, {}}, 2, {}));
  for (const SimulateOptions& options : {fast, by_pair, by_port}) {
    EXPECT_THAT(message_of(schedule, load, options), HasSubstr("rank 0 never gets to run op"));
  }
}

TEST(Simulate, RefusesANetworkThatCannotCarryTheExchanges) {
  const std::vector<std::vector<PortId>> both = {{}, {{0}}, {{1}}, {}};
  const auto refused = [&](std::vector<Port> ports, const std::vector<std::vector<PortId>>& paths) {
    const TableLoad load(Network(std::move(ports), paths, 2, {}));
    return message_of(one_exchange(2), load, {.verified = true, .engine = Engine::simgrid});
  };
  EXPECT_THAT(refused({{"a", {1e9}}, {"a", {1e9}}}, both), HasSubstr("two ports are called 'a'"));
  EXPECT_THAT(refused({{"a", {0}}, {"b", {1e9}}}, both),
              HasSubstr("port 'a': expected a bandwidth above 0 bytes/s, got 0"));
  EXPECT_THAT(refused({{"a", {std::nan("")}}, {"b", {1e9}}}, both), HasSubstr("got nan"));
  EXPECT_THAT(refused({{"a", {1e9}}, {"b", {1e9}}}, {{}, {{0}}, {}, {}}),
              HasSubstr("no port lies between gpu1 and gpu0"));
}

TEST(Simulate, RefusesAFidelityThatTheEngineHasNot) {
  const TableLoad load(Network({{"a", {1e9}}}, {{}}, 1, {}));
  EXPECT_THAT(message_of(one_exchange(1), load, {.verified = true, .fidelity = Fidelity::port}),
              HasSubstr("auto, pair and profile"));
}

TEST_F(SimGrid, RanksStrategiesAsTheFastEngineDoes) {
  for (const char* const cluster : {"2xA40,2xV100-16GB", "1xA40,3xV100-16GB", "2xA100-80GB,2xT4"}) {
    for (const std::uint32_t length : {256U, 8192U}) {
      const Scenario scenario = make_scenario(
          {.layers = 4, .experts = 8, .cluster = cluster, .sequence_length = length, .batch = 12});
      const Plan zebra = plan(scenario, {.strategy = Strategy::zebra}, testing::fast_scorer());
      const Plan ep =
          plan(scenario, {.strategy = Strategy::expert_parallel}, testing::fast_scorer());
      const bool zebra_first = zebra.timeline.makespan() < ep.timeline.makespan();
      for (const SimulateOptions& options : {by_pair, by_port}) {
        const auto iteration = [&](const Plan& plan) {
          return simulate(plan.schedule, PredictedLoad(plan.schedule, scenario), options)
              .makespan();
        };
        EXPECT_EQ(iteration(zebra) < iteration(ep), zebra_first) << cluster << " " << length;
      }
    }
  }
}

TEST_F(SimGrid, DiffersFromPairByPortWhereAnExchangeSharesAPort) {
  const Scenario scenario =
      make_scenario({.layers = 3, .cluster = "2xA40,2xV100-16GB", .batch = 8});
  const Plan plan = zebroid::plan(scenario, {.microbatches = 4}, testing::fast_scorer());
  TableLoad load(scenario);
  load.seconds_of = [](RankId, const Op&) { return 1e-3; };
  load.bytes_of = [](const Op& op, RankId from, RankId to) {
    const bool tokens = op.work == Work::dispatch ? from.value < 2 && to.value >= 2
                                                  : from.value >= 2 && to.value < 2;
    return is_sum(op.work) ? 8e7 : tokens ? 4e6 : 0.0;
  };
  const Agreement agreement = compare(plan.schedule, load, simulate(plan.schedule, load, fast),
                                      simulate(plan.schedule, load, by_port));
  ASSERT_TRUE(agreement.parting.has_value());
  EXPECT_GT(agreement.worst, 1e-9);
  EXPECT_GE(agreement.worst, agreement.p90);
  EXPECT_TRUE(is_exchange(agreement.parting->op.work));
  EXPECT_THAT(agreement.parting->port, HasSubstr("nic"));
  EXPECT_FALSE(agreement.parting->shared_with.empty());
}

}  // namespace
}  // namespace zebroid
