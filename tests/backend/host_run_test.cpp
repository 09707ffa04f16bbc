#include "backend/host/host_run.hpp"

#include <gtest/gtest.h>

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

INSTANTIATE_TEST_SUITE_P(HostRun, EveryCase, ::testing::ValuesIn(training_cases()),
                         [](const auto& of) { return of.param.name(); });

}  // namespace
}  // namespace zebroid
