// The promise of the host backend: whatever the placement, strategy and order, a run has the bits
// of a single rank.

#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <tuple>
#include <vector>

#include "backend/host/host_run.hpp"
#include "tests/support/training_cases.hpp"

namespace zebroid {
namespace {

using testing::Case;
using testing::make_case;
using testing::pairwise_cases;
using testing::some_text;
using testing::TrainingCase;
using Strategy = TrainingCase::Strategy;

HostRun verified(const Case& c, std::uint32_t steps, Precision precision = Precision::float32) {
  return run_on_host(c.schedule, c.scenario, some_text(),
                     {.steps = steps, .precision = precision, .verify = true});
}

class EveryNumberOfGpus
    : public ::testing::TestWithParam<std::tuple<std::uint32_t, std::uint32_t>> {};

TEST_P(EveryNumberOfGpus, GivesTheBitsOfASingleRankWithAnyOffloadAndMicrobatches) {
  const auto [attention, experts] = GetParam();
  for (const std::uint32_t offload : {0U, 1U, 2U, 3U}) {
    for (const std::uint32_t microbatches : {1U, 2U, 3U, 5U}) {
      const TrainingCase wanted{.attention = attention,
                                .experts = experts,
                                .offload = offload,
                                .microbatches = microbatches};
      EXPECT_NO_THROW(verified(make_case(wanted), 1)) << wanted.name();
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Zebra, EveryNumberOfGpus,
                         ::testing::Combine(::testing::Range(1U, 5U), ::testing::Range(1U, 5U)));

class Pairwise : public ::testing::TestWithParam<TrainingCase> {};

TEST_P(Pairwise, HasTheBitsOfASingleRankForFiftySteps) {
  const HostRun run = verified(make_case(GetParam()), 50);
  EXPECT_LT(run.steps.back().loss, run.steps.front().loss);
}

INSTANTIATE_TEST_SUITE_P(Cover, Pairwise, ::testing::ValuesIn(pairwise_cases()),
                         [](const auto& of) { return of.param.name(); });

TEST(BitIdentity, HoldsForEveryPlacementOfOneTraining) {
  // The same shards, microbatches and chunks: whoever holds the experts, the bits are the same.
  const TrainingCase wanted{.attention = 2, .experts = 3, .microbatches = 2, .chunks = 2};
  std::vector<double> losses;
  for (const std::uint32_t offload : {0U, 1U, 2U}) {
    TrainingCase other = wanted;
    other.offload = offload;
    for (const Recompute recompute : {Recompute::none, Recompute::module, Recompute::layer}) {
      other.recompute = recompute;
      losses.push_back(verified(make_case(other), 4).steps.back().loss);
    }
  }
  for (const double loss : losses) EXPECT_EQ(loss, losses.front());
}

TEST(BitIdentity, HoldsToAMillionthAcrossMicrobatchesAndReplicas) {
  const auto loss_of = [](const TrainingCase& wanted, std::uint32_t batch) {
    Case c = make_case(wanted, batch);
    return verified(c, 3, Precision::float64).steps.back().loss;
  };
  const double expected = loss_of({.microbatches = 1}, 12);
  for (const std::uint32_t microbatches : {2U, 3U, 6U}) {
    const double loss = loss_of({.microbatches = microbatches}, 12);
    // The order of sequences differs, their set does not.
    EXPECT_NEAR(loss, expected, 1e-6 * expected) << microbatches;
  }
  EXPECT_NEAR(loss_of({.microbatches = 1, .groups = 2}, 12), expected, 1e-6 * expected);
}

TEST(BitIdentity, HoldsWhateverEndsFirst) {
  const Case c = make_case({.offload = 1, .microbatches = 3, .chunks = 2});
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    EXPECT_NO_THROW(run_on_host(c.schedule, c.scenario, some_text(),
                                {.steps = 2, .verify = true, .delay_seed = seed}))
        << seed;
  }
}

}  // namespace
}  // namespace zebroid
