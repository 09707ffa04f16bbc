#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/json.hpp"
#include "tests/support/command.hpp"

namespace zebroid {
namespace {

using ::testing::HasSubstr;
using testing::Ran;
using testing::run_zebroid;
using testing::TemporaryFolder;

constexpr const char* small =
    "--model mixtral-w1 --cluster 2xA40,2xV100-16GB --sequence-length 1024 ";

Json plan_of(const std::string& arguments) {
  const Ran ran = run_zebroid("plan --json " + arguments);
  EXPECT_EQ(ran.exit_code, 0) << ran.err;
  return parse_json(ran.out, "plan").root;
}

TEST(Plan, RanksWhatFitsByTokensPerSecond) {
  const Json document = plan_of(small);
  double last = 1e30;
  bool fits = true;
  for (const Json& result : document["results"]) {
    if (fits && !result["feasible"].get<bool>()) last = 1e30;
    EXPECT_TRUE(fits || !result["feasible"].get<bool>());
    fits = result["feasible"].get<bool>();
    EXPECT_LE(result["tokens_per_s"].get<double>(), last);
    last = result["tokens_per_s"].get<double>();
  }
}

TEST(Plan, SaysOfItsScheduleWhatSimulateSaysOfIt) {
  const TemporaryFolder folder;
  const testing::RunOptions here{.folder = folder.path()};
  const Ran planned = run_zebroid(std::string("plan --json --schedule best.json ") + small, here);
  ASSERT_EQ(planned.exit_code, 0) << planned.err;
  const Json best = parse_json(planned.out, "plan").root["results"][0];
  const Ran simulated = run_zebroid("simulate --json best.json", here);
  ASSERT_EQ(simulated.exit_code, 0) << simulated.err;
  const Json again = parse_json(simulated.out, "simulate").root["results"][0];
  for (const char* key : {"iteration_s", "tokens_per_s", "lower_bound_s", "binding", "pools",
                          "experts_offloaded", "evidence"}) {
    EXPECT_EQ(best[key], again[key]) << key;
  }
}

TEST(Plan, GivesTheSameBytesTwice) {
  const std::string request = std::string("plan --json --explain ") + small;
  EXPECT_EQ(run_zebroid(request).out, run_zebroid(request).out);
}

TEST(Plan, KeepsToTheStrategiesAskedFor) {
  for (const Json& result : plan_of(std::string(small) + "--strategy ep")["results"]) {
    const auto strategy = result["strategy"].get<std::string>();
    EXPECT_TRUE(strategy == "ep" || strategy == "ep-ideal") << strategy;
  }
}

TEST(Plan, WalksACriticalPathFromStartToEnd) {
  const Json best = plan_of(std::string("--explain ") + small)["results"][0];
  double reached = 0;
  for (const Json& step : best["critical_path"]) {
    EXPECT_EQ(step["begin_s"].get<double>(), reached);
    reached = step["end_s"].get<double>();
  }
  EXPECT_EQ(reached, best["iteration_s"].get<double>());
}

TEST(Plan, OfWhatDoesNotFitNamesRankAndBytesAndTheChangeThatFits) {
  const std::string tight = "--model mixtral-w2 --cluster 4xV100-16GB --sequence-length 1024 ";
  const Ran ran = run_zebroid("plan --strategy ep " + tight);
  EXPECT_EQ(ran.exit_code, 3);
  EXPECT_THAT(ran.out, HasSubstr("rank 0 (V100-16GB, all) lacks "));
  EXPECT_THAT(ran.out, HasSubstr("bytes: it needs at least "));
  EXPECT_THAT(ran.out, HasSubstr("Nothing fits as asked; ep on all GPUs would with --optimizer "));
  EXPECT_EQ(run_zebroid("plan --strategy ep --optimizer adamw-8bit " + tight).exit_code, 0);
}

TEST(Plan, RefusesWhatNoMemoryWouldMakePossible) {
  const Ran ran = run_zebroid("plan --model mixtral-w1 --cluster 4xA40 --strategy zebra");
  EXPECT_EQ(ran.exit_code, 2);
  EXPECT_THAT(ran.err, HasSubstr("zebra: zebra needs GPUs of at least two kinds"));
  EXPECT_EQ(run_zebroid("plan --model mixtral-w1 --cluster 4xA40 --global-batch 1 --strategy ep")
                .exit_code,
            2);
}

TEST(Plan, ComparesOneJobPerKindWhereThatIsAsked) {
  const Json document = plan_of(
      "--model mixtral-d1 --cluster 2xA40,4xV100-16GB --sequence-length 1024 --strategy ep-ideal");
  ASSERT_EQ(document["results"].size(), 1U);
  EXPECT_EQ(document["results"][0]["use"], "one job per GPU kind");
  const Json alone = plan_of("--model mixtral-w1 --cluster 4xA40 --strategy ep-ideal");
  EXPECT_EQ(alone["results"][0]["use"], "all GPUs");
}

TEST(Plan, RefusesScheduleFilesAndUnknownFlags) {
  EXPECT_EQ(run_zebroid("plan step.json").exit_code, 2);
  EXPECT_EQ(run_zebroid(std::string("plan --explian ") + small).exit_code, 2);
  EXPECT_EQ(run_zebroid("plan --model mixtral-w1").exit_code, 2);
  EXPECT_EQ(run_zebroid("plan --model mixtral-w1 --cluster 0xA40").exit_code, 2);
}

TEST(Plan, InterruptedReturnsTheBestSoFarAndSaysSo) {
  const Ran ran = testing::run_line(
      "zebroid plan --json --model qwen3-30b-a3b --cluster 16xA100-80GB,16xV100-32GB & p=$!; "
      "sleep 2; kill -INT $p; wait $p");
  EXPECT_EQ(ran.exit_code, 130) << ran.err;
  if (ran.out.empty()) {  // on a slow machine nothing may be found yet
    EXPECT_THAT(ran.err, HasSubstr("interrupted"));
    return;
  }
  const Json document = parse_json(ran.out, "plan").root;
  EXPECT_TRUE(document["verdict"]["interrupted"].get<bool>());
  EXPECT_FALSE(document["results"].empty());
}

}  // namespace
}  // namespace zebroid
