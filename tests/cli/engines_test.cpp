#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>

#include "core/json.hpp"
#include "sim/simulate.hpp"
#include "tests/support/command.hpp"

namespace zebroid {
namespace {

using ::testing::HasSubstr;
using testing::Ran;
using testing::run_zebroid;

const std::string small =
    "--model mixtral-w1 --cluster 2xA40,2xV100-16GB --sequence-length 1024 --global-batch 8 ";

Json result_of(const std::string& arguments) {
  const Ran ran = run_zebroid("simulate --json --strategy zebra " + small + arguments);
  EXPECT_EQ(ran.exit_code, 0) << ran.err;
  EXPECT_EQ(ran.err, "");
  return parse_json(ran.out, "result").root["results"][0];
}

TEST(Engines, AgreeOnTheCommandLine) {
  if (!has_simgrid()) GTEST_SKIP() << "built without SimGrid";
  const Json fast = result_of("");
  const Json grid = result_of("--engine simgrid");
  EXPECT_EQ(grid["engine"], "simgrid");
  EXPECT_EQ(grid["fidelity"], "pair");
  EXPECT_NEAR(grid["iteration_s"].get<double>(), fast["iteration_s"].get<double>(), 1e-9);
  const Json both = result_of("--engine both");
  EXPECT_EQ(both["engine"], "fast");
  EXPECT_EQ(both["engines"]["trust"], "both");
  EXPECT_LE(both["engines"]["op_end_largest_difference_fraction"].get<double>(), 1e-9);
  EXPECT_EQ(result_of("--engine simgrid --fidelity port")["fidelity"], "port");
}

TEST(Engines, SayWhichPortIsToBlameWhereTheyDiffer) {
  if (!has_simgrid()) GTEST_SKIP() << "built without SimGrid";
  const Ran ran = run_zebroid(
      "simulate --model mixtral-d1 --cluster o1 --sequence-length 8192 --engine both --fidelity "
      "port "
      "--strategy zebra --microbatches 8 --expert-assignment even");
  EXPECT_EQ(ran.exit_code, 0);
  EXPECT_THAT(ran.out, HasSubstr("crosses"));
  EXPECT_THAT(ran.out, HasSubstr("nic"));
  EXPECT_THAT(ran.out, HasSubstr("trust fast"));
}

TEST(WhatIfs, SlowTheIterationDownAndAreNamed) {
  const double planned = result_of("")["iteration_s"].get<double>();
  const Json straggler = result_of("--slow rank=0:0.5");
  EXPECT_GT(straggler["iteration_s"].get<double>(), 1.2 * planned);
  EXPECT_EQ(straggler["what_if"], Json({"rank=0:0.5"}));
  EXPECT_GT(result_of("--slow 'port=node0 nic out:0.1'")["iteration_s"].get<double>(), planned);
  EXPECT_EQ(result_of("--slow rank=0:1")["iteration_s"].get<double>(), planned);
}

TEST(WhatIfs, AreRefusedForWhatThereIsNot) {
  for (const char* const slow : {"rank=4:0.5", "'port=nic:0.5'", "rank=0:2"}) {
    const Ran ran = run_zebroid("simulate " + small + "--strategy zebra --slow " + slow);
    EXPECT_EQ(ran.exit_code, 2);
    EXPECT_THAT(ran.err, HasSubstr("--slow: "));
    EXPECT_EQ(ran.out, "");
  }
}

TEST(WhatIfs, ApplyToScheduleFilesToo) {
  const testing::TemporaryFolder folder;
  const auto zebroid = [&](const std::string& arguments) {
    return run_zebroid(arguments, {.folder = folder.path()});
  };
  EXPECT_EQ(zebroid("simulate --strategy zebra --schedule s.json " + small).exit_code, 0);
  const Json slow =
      parse_json(zebroid("simulate s.json --json --slow rank=0:0.5").out, "result").root;
  EXPECT_EQ(zebroid("simulate s.json --timeline t.json --slow rank=0:0.5").exit_code, 0);
  EXPECT_EQ(parse_json(folder.read("t.json"), "t.json").root["origin"],
            "simulated by fast (pair), rank=0:0.5");
  EXPECT_EQ(slow["results"][0]["iteration_s"], result_of("--slow rank=0:0.5")["iteration_s"]);
}

TEST(Sweep, PrintsTheSameLinesWhateverTheJobs) {
  const std::string sweep =
      "sweep --strategy zebra --strategy ep --vary cluster.A40=1:3 --vary "
      "training.sequence_length=512,1024 --model mixtral-w1 --cluster 2xA40,2xV100-16GB ";
  const Ran one = run_zebroid(sweep + "--jobs 1");
  EXPECT_EQ(one.exit_code, 0) << one.err;
  EXPECT_EQ(std::count(one.out.begin(), one.out.end(), '\n'), 6);
  EXPECT_EQ(run_zebroid(sweep + "--jobs 4").out, one.out);
  EXPECT_EQ(run_zebroid(sweep + "--jobs 0").exit_code, 2);
}

TEST(Sweep, RunsOnSimGrid) {
  if (!has_simgrid()) GTEST_SKIP() << "built without SimGrid";
  const Ran ran = run_zebroid("sweep --engine simgrid --strategy zebra --vary cluster.A40=1:3 " +
                              small + "--jobs 2");
  EXPECT_EQ(ran.exit_code, 0) << ran.err;
  EXPECT_EQ(ran.err, "");
  EXPECT_THAT(ran.out, HasSubstr("\"engine\":\"simgrid\""));
}

}  // namespace
}  // namespace zebroid
