#include "sim/fold.hpp"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <cmath>

#include "planner/expert_parallel.hpp"
#include "planner/listing.hpp"
#include "planner/zebra.hpp"
#include "schedule/predicted_load.hpp"
#include "schedule/what_if.hpp"
#include "sim/fast.hpp"
#include "tests/support/random_schedules.hpp"
#include "tests/support/scenarios.hpp"
#include "tests/support/schedules.hpp"

namespace zebroid {
namespace {

using testing::Case;
using testing::make_scenario;
using testing::Nodes;
using testing::small_ep;
using testing::small_zebra;

std::size_t classes(const Schedule& schedule, const Load& load) {
  return FastSimulation(schedule, load, {.verified = true}).rank_classes();
}

TEST(Fold, TakesTheGpusOfARoleTogether) {
  const Scenario scenario =
      make_scenario({.experts = 12, .cluster = "6xA40,3xV100-16GB", .batch = 12});
  const Schedule schedule = small_zebra(scenario, 1, 0);
  EXPECT_EQ(classes(schedule, PredictedLoad(schedule, scenario)), 2U);
}

TEST(Fold, TakesGroupsThatAreAlikeTogether) {
  const Scenario scenario = make_scenario({.cluster = "8xA40,8xV100-16GB", .batch = 16});
  const Schedule schedule = small_zebra(scenario, 4, 0);
  EXPECT_EQ(classes(schedule, PredictedLoad(schedule, scenario)), 2U);
}

TEST(Fold, TellsRanksApartThatHoldOtherExperts) {
  // 5 experts on 4 GPUs: one has two, another one in each layer; in 2 layers that makes 3 kinds.
  const Scenario scenario =
      make_scenario({.experts = 5, .cluster = "4xA40,4xV100-16GB", .batch = 8});
  const Schedule schedule = small_zebra(scenario, 1, 0);
  EXPECT_EQ(classes(schedule, PredictedLoad(schedule, scenario)), 1U + 3U);
}

TEST(Fold, TellsRanksApartThatAreSlow) {
  const Scenario scenario = make_scenario({.cluster = "4xA40,4xV100-16GB", .batch = 8});
  const Schedule schedule = small_zebra(scenario, 1, 0);
  const PredictedLoad load(schedule, scenario);
  // The ring of the sums then tells all attention ranks apart.
  EXPECT_EQ(classes(schedule, WhatIf(load, schedule, {{RankId{1}, "", 0.5}})), 5U);
  EXPECT_EQ(classes(schedule, WhatIf(load, schedule, {{std::nullopt, "node1 nic in", 0.5}})), 5U);
  EXPECT_EQ(classes(schedule, WhatIf(load, schedule, {{RankId{5}, "", 0.5}})), 3U);
}

TEST(Fold, TellsRanksOfAKindApartByTheNodesThatTheyShare) {
  // Two nodes of two A40, and one A40 alone: its bytes to each other A40 cross NICs.
  const Scenario scenario = make_scenario({.experts = 5, .cluster = "2x2xA40,1xA40", .batch = 10});
  const Schedule schedule = small_ep(scenario, 1);
  EXPECT_EQ(classes(schedule, PredictedLoad(schedule, scenario)), 5U);  // a ring tells all apart
}

TEST(Fold, TellsTheRanksOfAChainApart) {
  // Sums over two kinds end with a chain from each kind's first rank to its others.
  const Scenario scenario =
      make_scenario({.experts = 6, .cluster = "3xA40,3xV100-16GB", .batch = 6});
  const Schedule schedule = small_ep(scenario, 1);
  EXPECT_EQ(classes(schedule, PredictedLoad(schedule, scenario)), 6U);
}

/// Largest difference of any time, in shares of the makespan; all bytes and rows are equal.
double difference(const Timeline& a, const Timeline& b) {
  double out = 0;
  const double makespan = std::max(a.makespan().value, 1e-300);
  for (std::size_t r = 0; r < a.ranks.size(); ++r) {
    for (std::size_t i = 0; i < a.ranks[r].size(); ++i) {
      const OpTimes& x = a.ranks[r][i];
      const OpTimes& y = b.ranks[r][i];
      RC_ASSERT(x.sent == y.sent);
      RC_ASSERT(x.rows == y.rows);
      for (const auto time : {&OpTimes::ready, &OpTimes::started, &OpTimes::ended}) {
        out = std::max(out, std::abs((x.*time - y.*time).value) / makespan);
      }
    }
  }
  return out;
}

Timeline run(const Case& c, const Load& load, SimulateOptions options) {
  options.verified = true;
  return simulate(c.schedule, load, options);
}

RC_GTEST_PROP(Fold, ChangesNoTimeOfAnyOp, ()) {
  const Case c = testing::random_case(*rc::gen::element(Nodes::of_one, Nodes::of_several));
  const PredictedLoad load(c.schedule, c.scenario);
  const SimulateOptions free{.launch_rule = false, .fidelity = Fidelity::pair};
  const SimulateOptions ruled{.fidelity = Fidelity::pair};
  const SimulateOptions out_of_order{
      .launch_rule = false, .compute_in_order = false, .fidelity = Fidelity::pair};
  for (SimulateOptions options : {free, ruled, out_of_order}) {
    const Timeline whole = run(c, load, options);
    options.fold = false;
    RC_ASSERT(difference(whole, run(c, load, options)) <= 1e-12);
  }
}

RC_GTEST_PROP(Fold, ChangesNothingOnClustersOfEqualGpusWithEqualShares, ()) {
  const auto attention = *rc::gen::inRange(1, 5);
  const auto experts = *rc::gen::inRange(1, 5);
  Case c{make_scenario({.layers = *rc::gen::inRange(1, 6),
                        .experts = 12,
                        .cluster = std::to_string(attention) + "xA40," + std::to_string(experts) +
                                   "xV100-16GB",
                        .sequence_length = *rc::gen::element(128U, 4096U),
                        .batch = 12 * static_cast<std::uint64_t>(attention)}),
         {}};
  const Cluster& cluster = c.scenario.cluster;
  ZebraShape shape = zebra_shape({{gpus_of_kinds(cluster, {0}), gpus_of_kinds(cluster, {1})}},
                                 *rc::gen::element(1U, 2U, 3U, 4U, 5U));
  shape.chunks = *rc::gen::inRange(1U, 4U);
  std::vector<std::uint32_t> offload;
  for (std::size_t l = 0; l < c.scenario.model.layers.size(); ++l) {
    offload.push_back(*rc::gen::inRange(0U, 3U));
  }
  place_evenly(c.scenario.model, offload, shape);
  const Schedule free = zebra_schedule(c.scenario, shape);
  c.schedule = testing::listed(free, c.scenario);
  const PredictedLoad load(c.schedule, c.scenario);
  RC_ASSERT(difference(run(c, load, {.fidelity = Fidelity::pair}),
                       run(c, load, {.fidelity = Fidelity::pair, .fold = false})) <= 1e-12);
}

/// Three ranks of one program, a dispatch between all and a norm in which `sender` alone sends, to
/// the next rank. Were the ranks one class, the norm's messages would be taken for equal.
Timeline norm_beside_dispatch(std::uint32_t sender) {
  Schedule schedule;
  schedule.layers = schedule.experts = schedule.microbatches = schedule.chunks = 1;
  schedule.replicas.push_back({{{{0}}}});
  const Op norm{Work::reduce_norm, Pass::backward, 1, 0, 0, 0};
  const Op dispatch{Work::dispatch, Pass::forward, 1, 0, 0, 0};
  schedule.programs.push_back({dispatch, norm});
  for (std::uint32_t r = 0; r < 3; ++r) schedule.ranks.push_back({{r}, 0, 0, 1, {{0}}});
  schedule.groups.push_back({{0}, {1}, {2}});
  class Uneven final : public Load {
   public:
    explicit Uneven(std::uint32_t sender)
        : sender_(sender), network_(load_cluster("3xA40", parse_bandwidth("100Gbps"))) {}
    Seconds seconds(RankId /*rank*/, const Op& /*op*/) const override { return {}; }
    Bytes bytes(GroupId /*group*/, const Op& op, RankId from, RankId to) const override {
      if (op.work == Work::dispatch) return {12.5e9};
      return {from.value == sender_ && to.value == (sender_ + 1) % 3 ? 25e9 : 0};
    }
    Seconds latency(GroupId /*group*/, const Op& /*op*/) const override { return {}; }
    double rows(RankId /*rank*/, const Op& /*op*/) const override { return 0; }
    double sm_share(RankId /*rank*/) const override { return 0; }
    RankId like(RankId /*rank*/) const override { return {0}; }
    const Network& network() const override { return network_; }

   private:
    std::uint32_t sender_;
    Network network_;
  };
  return simulate(schedule, Uneven(sender), {.verified = true});
}

TEST(Fold, StartsAgainWhenTheNormSharesAPort) {
  // Out of the sender: two flows of 12.5 GB and one of 25 GB at a third of 12.5 GB/s each, then the
  // rest of the one: 3 s and 1 s.
  for (const std::uint32_t sender : {0U, 1U, 2U}) {
    const Timeline timeline = norm_beside_dispatch(sender);
    for (std::uint32_t r = 0; r < 3; ++r) {
      EXPECT_DOUBLE_EQ(timeline.ranks[r][1].ended.value, 4);
      EXPECT_EQ(timeline.ranks[r][1].sent.value, r == sender ? 25e9 : 0);
    }
    EXPECT_DOUBLE_EQ(timeline.ranks[sender][0].ended.value, 3);
  }
}

}  // namespace
}  // namespace zebroid
