#include "backend/host/host_run.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "core/error.hpp"
#include "schedule/exchanges.hpp"
#include "schedule/verify.hpp"
#include "tests/support/training_cases.hpp"

namespace zebroid {
namespace {

using testing::Case;
using testing::make_case;
using testing::some_text;
using testing::training_cases;
using testing::TrainingCase;
using Strategy = TrainingCase::Strategy;

HostRun run(const Case& c, HostOptions options) {
  return run_on_host(c.schedule, c.scenario, some_text(), options);
}

class EveryCase : public ::testing::TestWithParam<TrainingCase> {};

TEST_P(EveryCase, TrainsWithTheBitsOfASingleRank) {
  const Case c = make_case(GetParam());
  for (const Precision precision : {Precision::float32, Precision::float64}) {
    const HostRun out =
        run(c, {.steps = 3, .precision = precision, .verify = true, .checksums = true});
    EXPECT_EQ(out.steps.size(), 3U);
  }
}

TEST_P(EveryCase, NeedsThePredictedMemory) {
  const HostRun out = run(make_case(GetParam()), {.steps = 2});
  for (const RankMemoryUse& use : out.memory) {
    EXPECT_EQ(use.needed_bytes, use.predicted_bytes);
    EXPECT_LE(use.peak_bytes, use.predicted_bytes);
  }
}

TEST(HostRun, RefusesAHeadWithoutTheAttentionOfItsLayer) {
  Case c = make_case({});
  Op head{Work::head, Pass::forward, 0, static_cast<std::uint16_t>(c.schedule.layers - 1), 0, 0};
  for (Program& program : c.schedule.programs) {
    const bool owns = std::any_of(program.begin(), program.end(),
                                  [](const Op& op) { return op.work == Work::attention; });
    for (std::size_t i = 0; !owns && i < program.size(); ++i) {
      const Op& op = program[i];
      if (op.work != Work::combine || op.pass != Pass::forward || op.layer != head.layer) continue;
      head.microbatch = op.microbatch;
      program.insert(program.begin() + static_cast<std::ptrdiff_t>(i) + 1, head);
    }
  }
  ASSERT_TRUE(verify(c.schedule).empty());
  try {
    run(c, {});
    FAIL() << "ran";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::input);
    EXPECT_NE(std::string(error.what()).find("head"), std::string::npos) << error.what();
  }
}

INSTANTIATE_TEST_SUITE_P(HostRun, EveryCase, ::testing::ValuesIn(training_cases()),
                         [](const auto& of) { return of.param.name(); });

}  // namespace
}  // namespace zebroid
