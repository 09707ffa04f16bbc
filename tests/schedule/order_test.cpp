#include "schedule/order.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <stdexcept>
#include <string>
#include <vector>

#include "schedule/verify.hpp"
#include "tests/support/scenarios.hpp"
#include "tests/support/schedules.hpp"

namespace zebroid {
namespace {

using testing::ops;

/// One layer with two experts: ranks 0 to `attention` - 1 run attention, the last one its experts.
class OneLayer {
 public:
  OneLayer(std::uint32_t attention, const std::string& attention_program,
           const std::string& expert_program) {
    schedule_.layers = schedule_.chunks = 1;
    schedule_.experts = schedule_.microbatches = 2;
    schedule_.programs = {ops(attention_program, 1), ops(expert_program, 1)};
    schedule_.replicas = {{{{{attention}, {attention}}}}};
    schedule_.groups.resize(2);  // all ranks; those with attention
    for (std::uint32_t r = 0; r <= attention; ++r) {
      const bool holds_experts = r == attention;
      schedule_.groups[0].push_back({r});
      if (!holds_experts) schedule_.groups[1].push_back({r});
      schedule_.ranks.push_back({{r}, 0, 0, 2, {{0}, {1}}});
      if (holds_experts) schedule_.ranks.back() = {{r}, 1, 0, 0, {{0}}};
    }
    EXPECT_EQ(verify(schedule_).size(), 0);
    orders_ = local_orders(schedule_);
  }

  /// The ops that have surely ended on a rank when one of it starts.
  std::vector<std::string> before(std::uint32_t rank, const std::string& name) const {
    const Program& program = schedule_.program_of({rank});
    const auto at = std::find(program.begin(), program.end(), ops(name, 1).front());
    if (at == program.end()) throw std::invalid_argument("not listed: " + name);
    const LocalOrder& order = orders_[rank];
    const StreamClock& clock = order.at_start[static_cast<std::size_t>(at - program.begin())];
    std::vector<std::string> out;
    for (std::size_t i = 0; i < program.size(); ++i) {
      if (order.position[i] < clock.at(static_cast<std::size_t>(stream_of(program[i])))) {
        out.push_back(name_of(program[i]));
      }
    }
    return out;
  }

 private:
  Schedule schedule_;
  std::vector<LocalOrder> orders_;
};

using Names = std::vector<std::string>;

// Both dispatches before the first combine.
constexpr const char* attention_eager =
    "A0.0 D0.0 A0.1 D0.1 C0.0 C0.1 H0 H'0 D'0.0 H1 H'1 D'0.1 C'0.0 A'0.0 C'0.1 A'0.1 norm step";
constexpr const char* experts_eager =
    "D0.0 D0.1 E0.0 C0.0 E0.1 C0.1 D'0.0 E'0.0 D'0.1 C'0.0 E'0.1 C'0.1 norm step";
// One microbatch after the other.
const std::string attention_in_turn =
    "A0.0 D0.0 C0.0 H0 H'0 A0.1 D0.1 C0.1 H1 H'1 D'0.0 C'0.0 A'0.0 D'0.1 C'0.1 A'0.1 ";
const std::string experts_in_turn =
    "D0.0 E0.0 C0.0 D0.1 E0.1 C0.1 D'0.0 E'0.0 C'0.0 D'0.1 E'0.1 C'0.1 norm step";

TEST(LocalOrder, KnowsWhatAnOpReadsAndWhatIsAheadOnItsStream) {
  const OneLayer step(1, attention_eager, experts_eager);
  EXPECT_EQ(step.before(0, "A0.0"), Names{});
  EXPECT_EQ(step.before(0, "D0.0"), (Names{"attention 0.0"}));
  EXPECT_EQ(step.before(0, "A0.1"), (Names{"attention 0.0"}));
  EXPECT_EQ(step.before(0, "D0.1"), (Names{"attention 0.0", "dispatch 0.0", "attention 0.1"}));
  EXPECT_EQ(step.before(1, "E0.1"), (Names{"dispatch 0.0", "dispatch 0.1", "expert 0.0"}));
}

TEST(LocalOrder, OfALaunchKnowsWhatTheLaunchBeforeKnew) {
  const OneLayer step(1, attention_eager, experts_eager);
  // It reads nothing on this rank.
  EXPECT_EQ(step.before(0, "C0.0"), (Names{"attention 0.0", "dispatch 0.0", "attention 0.1"}));
}

TEST(LocalOrder, OfWhatComesBackKnowsThatWhatWasSentHasArrived) {
  const OneLayer step(1, attention_in_turn + "norm step", experts_in_turn);
  // The experts launch their combine when they have all rows of the dispatch.
  EXPECT_EQ(step.before(0, "C0.0"), (Names{"attention 0.0"}));
  EXPECT_EQ(step.before(0, "H0"), (Names{"attention 0.0", "dispatch 0.0", "combine 0.0"}));
}

TEST(LocalOrder, DoesNotKnowWhatOthersOfManyHaveReceived) {
  const OneLayer step(2, attention_in_turn + "sum0@2 norm step", experts_in_turn);
  // Rank 1 may still wait for what rank 0 dispatched to it.
  EXPECT_EQ(step.before(0, "H0"), (Names{"attention 0.0", "combine 0.0"}));
}

}  // namespace
}  // namespace zebroid
