// Sweeps that are killed, interrupted, damaged and spread over processes end with the same bytes.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "cli/ranks.hpp"
#include "core/json.hpp"
#include "sim/simulate.hpp"
#include "tests/support/command.hpp"

namespace zebroid {
namespace {

using ::testing::ContainsRegex;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::Ran;

const std::string model = "--model mixtral-w1 --cluster 2xA40,2xV100-16GB --global-batch 8 ";
const std::string scenario = model + "--sequence-length 1024 --routing lognormal:1 ";
const std::string counts = "--vary cluster.A40=1:4 ";
const std::string sweep = "sweep --strategy zebra " + scenario + counts;
const std::string seeds = "--vary routing.seed=1:40 ";

/// A line of sh: `command` in the background as process $p until the journal has so many lines, or
/// the file is there.
std::string until_journal_has(int lines, const std::string& command) {
  return command +
         " & p=$!; tries=0; until [ -e f ] || [ $tries -gt 3000 ] || [ $(wc -l <f.journal) -gt " +
         std::to_string(lines) + " ]; do sleep 0.003; tries=$((tries+1)); done 2>/dev/null; ";
}

class SweepOutput : public ::testing::Test {
 protected:
  Ran run(const std::string& line) const {
    return testing::run_line(line, {.folder = folder_.path()});
  }
  /// What the sweep prints when nothing happens to it.
  std::string uninterrupted(const std::string& arguments) const {
    const Ran ran = run("zebroid " + arguments);
    EXPECT_EQ(ran.exit_code, 0) << ran.err;
    return ran.out;
  }
  void expect_end(const Ran& ran, const std::string& bytes) const {
    EXPECT_EQ(ran.exit_code, 0) << ran.err;
    EXPECT_EQ(ran.out, "");
    EXPECT_THAT(folder_.names(), ElementsAre("f"));
    EXPECT_TRUE(folder_.read("f") == bytes);
  }
  void kill_at(int lines, const std::string& arguments) const {
    EXPECT_EQ(
        run(until_journal_has(lines, "zebroid " + arguments) + "kill -9 $p; wait $p").exit_code,
        137);
    EXPECT_THAT(folder_.names(), ElementsAre("f.journal"));
  }

  const testing::TemporaryFolder folder_;
};

TEST_F(SweepOutput, HasTheBytesOfStdoutAndLeavesNoJournal) {
  const std::string bytes = uninterrupted(sweep + seeds);
  expect_end(run("zebroid " + sweep + seeds + "--output f"), bytes);
  expect_end(run("zebroid " + sweep + seeds + "-o f --jobs 3"), bytes);
}

TEST_F(SweepOutput, GoesOnAfterEachOfManyKills) {
  const std::string arguments = sweep + seeds + "-o f --jobs 2";
  for (const int lines : {0, 1, 60, 120}) kill_at(lines, arguments);
  const Ran ran = run("zebroid " + arguments);
  EXPECT_THAT(ran.err, ContainsRegex("^zebroid: resumed: 1[2-5][0-9] of 160 points were in "
                                     "f.journal\n$"));
  expect_end(ran, uninterrupted(sweep + seeds));
}

TEST_F(SweepOutput, IsWholeWhateverHappenedToTheJournal) {
  kill_at(80, sweep + seeds + "-o f");
  std::string journal = folder_.read("f.journal");
  journal.resize(journal.size() - 100);
  for (std::size_t at = 1000; at < journal.size(); at += 20'000) journal[at] = '#';
  folder_.write("f.journal", journal);
  const Ran ran = run("zebroid " + sweep + seeds + "-o f");
  EXPECT_THAT(ran.err, ContainsRegex("resumed: [1-9][0-9]* of 160 points"));
  expect_end(ran, uninterrupted(sweep + seeds));
}

TEST_F(SweepOutput, ReusesPointsWhenAnAxisGrows) {
  kill_at(80, sweep + seeds + "-o f");
  const std::string longer = sweep + "--vary routing.seed=1:60 ";
  const Ran ran = run("zebroid " + longer + "-o f");
  EXPECT_THAT(ran.err, ContainsRegex("resumed: ([89]|1[0-5])[0-9] of 240 points"));
  expect_end(ran, uninterrupted(longer));
}

TEST_F(SweepOutput, ReusesNothingOfOtherSettings) {
  const std::string few = "--vary cluster.A40=1,2 --vary routing.seed=1,2 ";
  kill_at(80, sweep + seeds + "-o f");
  const std::string journal = folder_.read("f.journal");
  const std::string plain = "sweep --strategy zebra " + scenario + few;
  for (const char* setting : {"--slow rank=0:0.5", "--strategy ep", "--microbatches 2",
                              "--optimizer adamw-8bit", "--set training.sequence_length=512",
                              "--expert-assignment even", "--network 10Gbps", "--fidelity pair"}) {
    folder_.write("f.journal", journal);
    const Ran ran = run("zebroid " + plain + setting + " -o f");
    EXPECT_EQ(ran.exit_code, 0);
    EXPECT_EQ(ran.err, "") << setting;
  }
  folder_.write("f.journal", journal);
  EXPECT_THAT(run("zebroid " + plain + "-o f").err, HasSubstr("resumed: 4 of 4"));
}

TEST_F(SweepOutput, ReusesNothingOfAFileThatHasChanged) {
  const auto write_routing = [&](int tokens) {
    Json rows = Json::array();
    for (int layer = 0; layer < 4; ++layer) rows.push_back(std::vector<int>(12, 100));
    rows[0][0] = tokens;
    folder_.write("r.json", Json{{"schema", "zebroid.routing/1"}, {"tokens", rows}}.dump());
  };
  write_routing(100);
  const std::string arguments = "sweep --strategy zebra " + model + counts +
                                "--sequence-length 1024 --set routing.spec=./r.json " + seeds +
                                "-o f";
  run(until_journal_has(80, "zebroid " + arguments) + "kill -9 $p; wait $p");
  write_routing(500);
  const Ran ran = run("zebroid " + arguments);
  EXPECT_EQ(ran.exit_code, 0);
  EXPECT_EQ(ran.err, "");
}

TEST_F(SweepOutput, IsInterruptedCleanly) {
  const Ran ran = run(until_journal_has(20, "zebroid " + sweep + seeds + "-o f --jobs 3") +
                      "workers=$(cat /proc/$p/task/$p/children); kill -TERM $p; wait $p; code=$?; "
                      "for w in $workers; do echo $w; kill -0 $w && echo lives; done 2>/dev/null; "
                      "exit $code");
  EXPECT_EQ(ran.exit_code, 130);
  EXPECT_EQ(ran.err, "zebroid: interrupted; run the same command again to go on\n");
  EXPECT_EQ(std::count(ran.out.begin(), ran.out.end(), '\n'), 3);
  EXPECT_THAT(ran.out, Not(HasSubstr("lives")));
  EXPECT_THAT(folder_.names(), ElementsAre("f.journal"));
  expect_end(run("zebroid " + sweep + seeds + "-o f --quiet"), uninterrupted(sweep + seeds));
}

TEST_F(SweepOutput, IsRefusedWhileAnotherSweepWritesIt) {
  const std::string command = "zebroid " + sweep + seeds + "-o f";
  const Ran ran =
      run(until_journal_has(1, command) + "zebroid " + sweep + seeds + "-o f; echo $?; wait $p");
  EXPECT_EQ(ran.err, "zebroid: f.journal: in use by another process\n");
  EXPECT_EQ(ran.out, "2\n");
  EXPECT_EQ(ran.exit_code, 0);
  EXPECT_TRUE(folder_.read("f") == uninterrupted(sweep + seeds));
}

TEST_F(SweepOutput, LosesThePointsOfKilledWorkersUntilTheNextRun) {
  const std::string command = "zebroid " + sweep + seeds + "-o f --jobs 2";
  const Ran ran =
      run(until_journal_has(20, command) + "kill -9 $(cat /proc/$p/task/$p/children); wait $p");
  EXPECT_EQ(ran.exit_code, 1);
  EXPECT_THAT(ran.err, ContainsRegex("zebroid: [12] of 160 points failed; their lines say why; the "
                                     "same command again tries these again\n"));
  EXPECT_THAT(folder_.read("f"), HasSubstr("the process of this point died of signal 9 (Killed)"));
  EXPECT_THAT(folder_.names(), ElementsAre("f", "f.journal"));
  expect_end(run(command), uninterrupted(sweep + seeds));
}

/// All results of a sweep's points, and those of simulate with the same values set.
void expect_points_as_simulated(const std::string& arguments) {
  const Ran swept = testing::run_zebroid(
      "sweep --vary cluster.A40=1,3 --vary "
      "training.sequence_length=512,2048 " +
      model + arguments);
  EXPECT_EQ(swept.exit_code, 0) << swept.err;
  std::istringstream lines(swept.out);
  int points = 0;
  for (std::string line; std::getline(lines, line); ++points) {
    const Json point = parse_json(line, "line").root;
    std::string settings;
    for (const auto& [path, value] : point["point"].items()) {
      settings += " --set " + path + "=" + value.dump();
    }
    const Ran simulated = testing::run_zebroid("simulate --json " + model + arguments + settings);
    EXPECT_EQ(point["results"], parse_json(simulated.out, "simulate").root["results"]) << line;
  }
  EXPECT_EQ(points, 4);
}

TEST(Sweep, SaysOfEachPointWhatSimulateSays) {
  expect_points_as_simulated("--strategy zebra --strategy ep ");
  for (const char* assignment : {"even", "gather-and-squeeze-printed"}) {
    expect_points_as_simulated("--strategy zebra --expert-assignment " + std::string(assignment));
  }
  if (has_simgrid())
    expect_points_as_simulated("--strategy zebra --strategy ep --engine both --slow rank=0:0.5 ");
}

TEST_F(SweepOutput, IsForetoldOnATerminal) {
  if (run("command -v script").exit_code != 0) GTEST_SKIP() << "no script to make a terminal";
  const Ran ran = run("script -qc 'stty cols 300; zebroid sweep --strategy zebra " + scenario +
                      counts + "--vary routing.seed=1:250 -o f' /dev/null");
  EXPECT_EQ(ran.exit_code, 0);
  EXPECT_THAT(
      ran.out,
      ContainsRegex("points [0-9]+/1000 \\([0-9]+ %\\), [0-9.]+/s, [0-9]+ s left, best "
                    "zebra [0-9]+,[0-9]+ tokens/s at cluster.A40=[1-4] routing.seed=[0-9]+"));
}

// --- several ranks ---

class SweepOnRanks : public SweepOutput {
 protected:
  void SetUp() override {
    if (!has_mpi()) GTEST_SKIP() << "built without MPI";
    if (run("command -v mpirun").exit_code != 0) GTEST_SKIP() << "no mpirun";
  }
  static std::string mpirun(int ranks) {
    return "mpirun --allow-run-as-root --oversubscribe -n " + std::to_string(ranks) + " zebroid ";
  }
};

TEST_F(SweepOnRanks, HasTheBytesOfOneProcess) {
  const std::string bytes = uninterrupted(sweep + seeds);
  const Ran printed = run(mpirun(3) + sweep + seeds);
  EXPECT_EQ(printed.exit_code, 0) << printed.err;
  EXPECT_TRUE(printed.out == bytes);
  expect_end(run(mpirun(2) + sweep + seeds + "-o f --jobs 2"), bytes);
  expect_end(run(mpirun(1) + sweep + seeds + "-o f"), bytes);
}

TEST_F(SweepOnRanks, HasTheBytesOfOneProcessOnSimGrid) {
  if (!has_simgrid()) GTEST_SKIP() << "built without SimGrid";
  const std::string arguments = sweep + "--engine simgrid ";
  EXPECT_EQ(run(mpirun(3) + arguments).out, uninterrupted(arguments));
}

TEST_F(SweepOnRanks, NeedsNoPointForEachRank) {
  EXPECT_EQ(run(mpirun(6) + sweep).out, uninterrupted(sweep));
}

/// Long enough to be ended on the way; what goes on is a part of it, in whatever way.
const std::string long_sweep = sweep + "--vary routing.seed=1:3000 -o f";

TEST_F(SweepOnRanks, GoesOnInOneProcessAfterMpirunWasKilled) {
  run(until_journal_has(50, mpirun(3) + long_sweep) + "kill -9 $p; wait $p");
  // Its ranks notice within a second.
  const Ran ran = run("sleep 1.5; zebroid " + sweep + seeds + "-o f");
  EXPECT_EQ(ran.err, "zebroid: resumed: 40 of 160 points were in f.journal\n");
  expect_end(ran, uninterrupted(sweep + seeds));
}

TEST_F(SweepOnRanks, GoesOnAfterAnInterrupt) {
  const Ran interrupted =
      run(until_journal_has(50, mpirun(2) + long_sweep) + "kill -INT $p; wait $p");
  EXPECT_THAT(interrupted.err,
              HasSubstr("zebroid: interrupted; run the same command again to go on\n"));
  EXPECT_THAT(folder_.names(), ElementsAre("f.journal"));
  const Ran ran = run(mpirun(3) + sweep + seeds + "-o f");
  EXPECT_EQ(ran.err, "zebroid: resumed: 40 of 160 points were in f.journal\n");
  expect_end(ran, uninterrupted(sweep + seeds));
}

TEST_F(SweepOnRanks, SaysOnceWhatIsWrong) {
  const std::vector<std::pair<std::string, std::string>> mistakes = {
      {"frobnicate", "unknown command"},
      {"sweep --model mixtral-w1 --cluster o9 " + counts, "unknown cluster 'o9'"},
      {sweep + "-o nowhere/f", "nowhere/f.journal: cannot write: No such file or directory"},
      {"simulate " + scenario, "only sweep runs on several MPI ranks"}};
  for (const auto& [typed, says] : mistakes) {
    const Ran ran = run(mpirun(3) + typed);
    EXPECT_EQ(ran.exit_code, 2) << ran.err;
    EXPECT_EQ(ran.out, "");
    const auto first = ran.err.find("zebroid: ");
    EXPECT_THAT(ran.err, HasSubstr(says));
    EXPECT_EQ(first, ran.err.rfind("zebroid: ")) << ran.err;
  }
  const std::string two_sweeps = mpirun(1) + sweep + seeds + " : -n 1 zebroid " + sweep;
  EXPECT_THAT(run(two_sweeps).err, HasSubstr("MPI rank 1 is another build of zebroid than rank 0"));
  const Ran version = run(mpirun(3) + "--version");
  EXPECT_EQ(std::count(version.out.begin(), version.out.end(), '\n'), 1);
}

}  // namespace
}  // namespace zebroid
