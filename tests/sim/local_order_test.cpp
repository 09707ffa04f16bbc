#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "schedule/memory.hpp"
#include "schedule/order.hpp"
#include "schedule/predicted_load.hpp"
#include "sim/simulate.hpp"
#include "tests/support/random_schedules.hpp"
#include "tests/support/scenarios.hpp"

namespace zebroid {
namespace {

using testing::Case;
using testing::random_case;
using testing::random_load;
using testing::RandomLoad;

constexpr double tolerance = 1e-9;

/// As another one, but ops take hardly any time and few messages nearly all: so much that whoever
/// takes no part in them is far ahead.
class FewLongMessages final : public Load {
 public:
  explicit FewLongMessages(const Load& load) : load_(load) {}

  Seconds seconds(RankId rank, const Op& op) const override {
    return load_.seconds(rank, op) * 0.001;
  }
  Bytes bytes(GroupId group, const Op& op, RankId from, RankId to) const override {
    constexpr double usual = 1e9;
    return {std::round(usual * std::pow(load_.bytes(group, op, from, to).value / usual, 4))};
  }
  Seconds latency(GroupId group, const Op& op) const override { return load_.latency(group, op); }
  double rows(RankId rank, const Op& op) const override { return load_.rows(rank, op); }
  double sm_share(RankId rank) const override { return load_.sm_share(rank); }
  const Network& network() const override { return load_.network(); }

 private:
  const Load& load_;
};

std::size_t stream_index(const Op& op) { return static_cast<std::size_t>(stream_of(op)); }

/// The latest end of the first ops of each stream of one rank: [streams][how many].
std::vector<std::vector<double>> ends_of(const Program& program,
                                         const std::vector<OpTimes>& times) {
  std::vector<std::vector<double>> out(stream_count, {0});
  for (std::size_t i = 0; i < program.size(); ++i) {
    auto& ends = out[stream_index(program[i])];
    ends.push_back(std::max(ends.back(), times[i].ended.value));
  }
  return out;
}

/// How much later something ends that has surely ended, over all ops; not above 0 but for rounding.
double worst_surprise(const Schedule& schedule, const Timeline& timeline,
                      const std::vector<LocalOrder>& orders) {
  double worst = 0;
  for (std::uint32_t r = 0; r < schedule.ranks.size(); ++r) {
    const Program& program = schedule.program_of({r});
    const auto ends = ends_of(program, timeline.ranks[r]);
    for (std::size_t i = 0; i < program.size(); ++i) {
      const OpTimes& times = timeline.ranks[r][i];
      for (std::size_t s = 0; s < stream_count; ++s) {
        const double sure_at_start = ends[s][orders[r].at_start[i].at(s)];
        const double sure_at_end = ends[s][orders[r].at_end[i].at(s)];
        worst =
            std::max({worst, sure_at_start - times.ready.value, sure_at_end - times.ended.value});
      }
    }
  }
  return worst;
}

TEST(LocalOrder, HoldsInAnyTimingOfSmallSchedules) {
  for (const Case& c : testing::small_cases()) {
    const std::vector<LocalOrder> orders = local_orders(c.schedule);
    for (std::uint64_t seed = 0; seed < 20; ++seed) {
      const RandomLoad load(c.schedule, c.scenario, seed, seed % 2 == 0 ? 0.1 : 5);
      const Timeline timeline = simulate(c.schedule, load, {});
      EXPECT_LE(worst_surprise(c.schedule, timeline, orders), tolerance);
      const Timeline uneven = simulate(c.schedule, FewLongMessages(load), {});
      EXPECT_LE(worst_surprise(c.schedule, uneven, orders), tolerance * uneven.makespan().value);
    }
  }
}

RC_GTEST_PROP(LocalOrder, HoldsInAnyTiming, ()) {
  const Case c = random_case();
  const std::vector<LocalOrder> orders = local_orders(c.schedule);
  for (int run = 0; run < 3; ++run) {
    const RandomLoad load = random_load(c);
    const Timeline timeline = simulate(c.schedule, load, {});
    RC_ASSERT(worst_surprise(c.schedule, timeline, orders) <= tolerance);
    const Timeline uneven = simulate(c.schedule, FewLongMessages(load), {});
    RC_ASSERT(worst_surprise(c.schedule, uneven, orders) <= tolerance * uneven.makespan().value);
  }
}

/// The most bytes of one rank's values that are in use at once in this timeline.
double peak_in(const Timeline& timeline, std::uint32_t rank, const Values& values,
               const std::vector<double>& bytes) {
  const double rounding = tolerance * std::max(1.0, timeline.makespan().value);
  const auto& times = timeline.ranks[rank];
  std::vector<std::pair<double, double>> changes;  // when, by how much
  for (std::size_t v = 0; v < bytes.size(); ++v) {
    const Value& value = values.all[v];
    double end = times[value.writer].ended.value;
    for (const std::uint32_t reader : values.readers_of(value)) {
      end = std::max(end, times[reader].ended.value);
    }
    changes.emplace_back(times[value.writer].ready.value, bytes[v]);
    changes.emplace_back(std::max(times[value.writer].ready.value, end - rounding), -bytes[v]);
  }
  std::sort(changes.begin(), changes.end());
  double now = 0;
  double peak = 0;
  for (const auto& [when, change] : changes) peak = std::max(peak, now += change);
  return peak;
}

bool is_at_least(double a, double b) { return a >= b * (1 - tolerance); }

RC_GTEST_PROP(PeakMemoryInAnyOrder, IsThatOfNoTimingExceeded, ()) {
  const Case c = random_case();
  const PredictedLoad amounts(c.schedule, c.scenario);
  const Widths widths = gpu_widths(c.scenario);
  const auto most = peak_memory_in_any_order(c.schedule, c.scenario, amounts, widths);
  const auto in_program_order = peak_memory(c.schedule, c.scenario, amounts);
  const RandomLoad load = random_load(c);
  const Timeline timeline = *rc::gen::arbitrary<bool>()
                                ? simulate(c.schedule, load, {})
                                : simulate(c.schedule, FewLongMessages(load), {});
  for (std::uint32_t r = 0; r < c.schedule.ranks.size(); ++r) {
    RC_ASSERT(is_at_least(most[r].total().value, in_program_order[r].total().value));
    const Values values = values_of(c.schedule, c.schedule.program_of({r}), c.scenario.model);
    const auto bytes = value_bytes(c.schedule, {r}, values, {c.scenario.model, amounts, widths});
    RC_ASSERT(is_at_least((most[r].activations + most[r].receive_buffers).value,
                          peak_in(timeline, r, values, bytes)));
  }
}

/// Every value and op by themselves.
Peak naive_peak(const Program& program, const Values& values, const LocalOrder& order,
                const std::vector<double>& bytes) {
  Peak peak;
  for (std::uint32_t i = 0; i < program.size(); ++i) {
    const auto has_ended = [&](std::uint32_t op) {
      return order.position[op] < order.at_start[i].at(stream_index(program[op]));
    };
    double alive = 0;
    for (std::size_t v = 0; v < values.all.size(); ++v) {
      const Value& value = values.all[v];
      const auto readers = values.readers_of(value);
      const bool is_free =
          has_ended(value.writer) && std::all_of(readers.begin(), readers.end(), has_ended);
      if (value.writer <= i && !is_free) alive += bytes[v];
    }
    if (alive > peak.bytes) peak = {alive, i};
  }
  return peak;
}

RC_GTEST_PROP(PeakMemoryInAnyOrder, IsThatOfCountingEachValueAtEachOp, ()) {
  const Case c = random_case();
  const std::vector<LocalOrder> orders = local_orders(c.schedule);
  for (std::uint32_t r = 0; r < c.schedule.ranks.size(); ++r) {
    const Program& program = c.schedule.program_of({r});
    const Values values = values_of(c.schedule, program, c.scenario.model);
    std::vector<double> bytes;  // whole numbers, so that sums are exact
    for (std::size_t v = 0; v < values.all.size(); ++v) {
      bytes.push_back(*rc::gen::inRange(0, 1000));
    }
    const Peak peak = peak_in_any_order(program, values, orders[r], bytes);
    RC_ASSERT(peak.bytes == naive_peak(program, values, orders[r], bytes).bytes);
  }
}

}  // namespace
}  // namespace zebroid
