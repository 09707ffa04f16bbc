#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <vector>

#include "schedule/order.hpp"
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
  }
}

}  // namespace
}  // namespace zebroid
