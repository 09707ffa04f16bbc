// Whatever takes how long: the wall clock shows every order that the schedule promises.

#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "backend/host/host_run.hpp"
#include "schedule/exchanges.hpp"
#include "tests/support/training_cases.hpp"

namespace zebroid {
namespace {

using testing::Case;
using testing::make_case;
using testing::some_text;
using testing::training_cases;

/// Checks one rank's times; the first edge that does not hold, or "".
class Edges {
 public:
  Edges(const Schedule& schedule, const Timeline& timeline)
      : schedule_(schedule), timeline_(timeline), exchanges_(match_exchanges(schedule)) {}

  std::string broken() {
    for (std::uint32_t r = 0; r < schedule_.ranks.size(); ++r) check_rank({r});
    for (const Exchange& exchange : exchanges_.all) check_exchange(exchange);
    return broken_;
  }
  std::size_t checked() const { return checked_; }

 private:
  void require(Seconds before, Seconds after, const std::string& what) {
    ++checked_;
    if (before > after && broken_.empty()) broken_ = what;
  }
  void check_rank(RankId rank) {
    const Program& program = schedule_.program_of(rank);
    const auto& times = timeline_.ranks[rank.value];
    const Reads reads = zebroid::reads(schedule_, program);
    std::vector<std::uint32_t> last(stream_count, UINT32_MAX);
    std::uint32_t last_exchange = UINT32_MAX;
    for (std::uint32_t i = 0; i < program.size(); ++i) {
      const std::string name = "rank " + std::to_string(rank.value) + " " + name_of(program[i]);
      for (std::uint32_t k = reads.first[i]; k < reads.first[i + 1]; ++k) {
        require(times[reads.ops[k]].ended, times[i].ready, name + " reads");
      }
      std::uint32_t& before = last[static_cast<std::size_t>(stream_of(program[i]))];
      if (before != UINT32_MAX) require(times[before].ended, times[i].ready, name + " stream");
      before = i;
      require(times[i].ready, times[i].started, name + " starts");
      require(times[i].started, times[i].ended, name + " ends");
      if (!is_exchange(program[i].work)) continue;
      if (last_exchange != UINT32_MAX) {
        require(times[last_exchange].ready, times[i].ready, name + " launch");
      }
      last_exchange = i;
    }
  }
  void check_exchange(const Exchange& exchange) {
    for (const Exchange::Member& a : exchange.members) {
      for (const Exchange::Member& b : exchange.members) {
        require(timeline_.ranks[a.rank.value][a.op].ready,
                timeline_.ranks[b.rank.value][b.op].started, name_of(exchange.op) + " meets");
      }
    }
  }

  const Schedule& schedule_;
  const Timeline& timeline_;
  Exchanges exchanges_;
  std::string broken_;
  std::size_t checked_ = 0;
};

TEST(HappensBefore, HoldsInAThousandRunsWithRandomDelays) {
  const auto wanted = training_cases();
  constexpr std::uint32_t runs_each = 30;  // times all cases
  std::size_t runs = 0;
  for (const auto& one : wanted) {
    const Case c = make_case(one);
    for (std::uint32_t i = 0; i < runs_each; ++i, ++runs) {
      const HostRun run =
          run_on_host(c.schedule, c.scenario, some_text(), {.steps = 1, .delay_seed = runs + 1});
      Edges edges(c.schedule, run.timeline);
      EXPECT_EQ(edges.broken(), "") << one.name() << " delays " << runs + 1;
      EXPECT_GT(edges.checked(), 100U);
    }
  }
  EXPECT_GE(runs, 1000U);
}

}  // namespace
}  // namespace zebroid
