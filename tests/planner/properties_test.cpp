#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <map>

#include "planner/expert_parallel.hpp"
#include "planner/listing.hpp"
#include "planner/zebra.hpp"
#include "schedule/verify.hpp"
#include "sim/bound.hpp"
#include "sim/simulate.hpp"
#include "tests/support/random_load.hpp"
#include "tests/support/scenarios.hpp"

namespace zebroid {
namespace {

using testing::make_scenario;
using testing::RandomLoad;

struct Case {
  Scenario scenario;
  Schedule schedule;
};

Case random_zebra() {
  const int m = *rc::gen::inRange(1, 4);
  const int n = *rc::gen::inRange(1, 4);
  const int layers = *rc::gen::inRange(1, 5);
  const auto microbatches = static_cast<std::uint32_t>(*rc::gen::inRange(1, 5));
  Case out{make_scenario({.layers = layers,
                          .experts = 6,
                          .dense_layers = *rc::gen::inRange(0, layers),
                          .cluster = std::to_string(m) + "xA40," + std::to_string(n) + "xV100-16GB",
                          .batch = 12}),
           {}};
  ZebraShape shape;
  shape.groups.push_back(
      {gpus_of_kinds(out.scenario.cluster, {0}), gpus_of_kinds(out.scenario.cluster, {1})});
  shape.microbatches = microbatches;
  for (int l = 0; l < layers; ++l) {
    shape.offload.push_back(static_cast<std::uint32_t>(*rc::gen::inRange(0, 3)));
  }
  out.schedule = zebra_schedule(out.scenario, shape);
  return out;
}

Case random_ep() {
  const int gpus = *rc::gen::inRange(1, 6);
  Case out{make_scenario({.layers = *rc::gen::inRange(1, 4),
                          .experts = 6,
                          .cluster = std::to_string(gpus) + "xA40",
                          .batch = 12}),
           {}};
  ExpertParallelShape shape;
  const auto groups = static_cast<std::uint32_t>(*rc::gen::inRange(1, gpus + 1));
  shape.groups =
      cut_into_groups(out.scenario.cluster, gpus_of_kinds(out.scenario.cluster, {0}), groups);
  shape.chunks = static_cast<std::uint32_t>(*rc::gen::inRange(1, 4));
  shape.microbatches = static_cast<std::uint32_t>(*rc::gen::inRange(1, 3));
  out.schedule = expert_parallel_schedule(out.scenario, shape);
  return out;
}

Case random_case() { return *rc::gen::arbitrary<bool>() ? random_zebra() : random_ep(); }

RandomLoad random_load(const Case& c) {
  const auto seed = *rc::gen::arbitrary<std::uint64_t>();
  const double message_s = *rc::gen::element(0.0, 0.1, 1.0, 5.0);
  return {c.schedule, c.scenario, seed, message_s};
}

constexpr SimulateOptions free_run = {.launch_rule = false, .verified = true};

RC_GTEST_PROP(Planner, MakesSchedulesWithoutFaults, ()) {
  const Case c = random_case();
  RC_ASSERT(verify(c.schedule).empty());
}

RC_GTEST_PROP(FastEngine, NeverBeatsTheLowerBound, ()) {
  const Case c = random_case();
  const RandomLoad load = random_load(c);
  const double bound = lower_bound(c.schedule, load).seconds.value;
  RC_ASSERT(simulate(c.schedule, load).makespan().value >= bound * (1 - 1e-12));
  RC_ASSERT(simulate(c.schedule, load, free_run).makespan().value >= bound * (1 - 1e-12));
}

RC_GTEST_PROP(FastEngine, TakesTwiceAsLongWhenAllCostsDouble, ()) {
  const Case c = random_case();
  RandomLoad load = random_load(c);
  const double once = simulate(c.schedule, load).makespan().value;
  load.scale = 2;
  RC_ASSERT(simulate(c.schedule, load).makespan().value == 2 * once);
}

RC_GTEST_PROP(FastEngine, GivesEqualInputsBitEqualTimelines, ()) {
  const Case c = random_case();
  const RandomLoad load = random_load(c);
  RC_ASSERT(simulate(c.schedule, load) == simulate(c.schedule, load));
}

/// (rank, op) -> times, whatever the listing; `ready` may move.
std::map<std::pair<std::uint32_t, Op>, std::pair<double, double>> transfers(
    const Schedule& schedule, const Timeline& timeline) {
  std::map<std::pair<std::uint32_t, Op>, std::pair<double, double>> out;
  for (std::uint32_t r = 0; r < schedule.ranks.size(); ++r) {
    const Program& program = schedule.program_of({r});
    for (std::size_t i = 0; i < program.size(); ++i) {
      const OpTimes& times = timeline.ranks[r][i];
      out[{r, program[i]}] = {times.started.value, times.ended.value};
    }
  }
  return out;
}

RC_GTEST_PROP(Listing, ByTransferStartMakesTheLaunchRuleFreeToTheBit, ()) {
  const Case c = random_case();
  const RandomLoad load = random_load(c);
  const Timeline unruled = simulate(c.schedule, load, free_run);
  const Schedule listed = list_by_start(c.schedule, unruled);
  RC_ASSERT(verify(listed).empty());
  RC_ASSERT(transfers(listed, simulate(listed, load)) == transfers(c.schedule, unruled));
}

/// Answers for another rank of the same role.
class Permuted final : public Load {
 public:
  Permuted(const Load& load, std::vector<std::uint32_t> to) : load_(load), to_(std::move(to)) {}
  Seconds seconds(RankId rank, const Op& op) const override {
    return load_.seconds({to_[rank.value]}, op);
  }
  Bytes bytes(GroupId group, const Op& op, RankId from, RankId to) const override {
    return load_.bytes(group, op, {to_[from.value]}, {to_[to.value]});
  }
  Seconds latency(GroupId group, const Op& op) const override { return load_.latency(group, op); }
  double rows(RankId, const Op&) const override { return 0; }
  double sm_share(RankId) const override { return 0; }
  const Network& network() const override { return load_.network(); }

 private:
  const Load& load_;
  std::vector<std::uint32_t> to_;
};

RC_GTEST_PROP(FastEngine, KeepsTheMakespanWhenEqualGpusChangePlaces, ()) {
  const Case c = random_case();
  RC_PRE(c.schedule.replicas.size() == 1U);
  const RandomLoad load = random_load(c);
  std::vector<std::uint32_t> to;
  for (std::uint32_t r = 0; r < c.schedule.ranks.size(); ++r) to.push_back(r);
  // Ranks that run the same program on the same kind of GPU are equal; the first two of them change
  // places.
  for (std::uint32_t r = 1; r < to.size(); ++r) {
    if (c.schedule.ranks[r].program == c.schedule.ranks[r - 1].program) {
      std::swap(to[r], to[r - 1]);
      break;
    }
  }
  const double before = simulate(c.schedule, load).makespan().value;
  const double after = simulate(c.schedule, Permuted(load, to)).makespan().value;
  RC_ASSERT(std::abs(after - before) <= 1e-9 * before);
}

}  // namespace
}  // namespace zebroid
