// A schedule that runs for real says what it did; what keeps it from running, or goes wrong on the
// way, ends in one message and the documented exit code.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cctype>
#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "core/json.hpp"
#include "tests/support/command.hpp"

namespace zebroid {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using testing::Ran;
using ::testing::StartsWith;

constexpr int refused = 2;
constexpr int does_not_fit = 3;
constexpr int differs = 4;
constexpr int no_such_hardware = 5;
constexpr int aborted = 6;
constexpr int interrupted = 130;

/// Gives up where it should not have waited at all; the command's own end is no 124.
const std::string soon = "timeout 20 ";
const std::string run_it = "zebroid run s.json --shrink --steps 1 ";

/// A folder with s.json: zebra on one attention and one expert GPU, two microbatches.
class Run : public ::testing::Test {
 protected:
  Run() {
    const Ran ran =
        run("zebroid simulate --model mixtral-w1 --cluster 1xA40,1xV100-16GB --strategy zebra "
            "--microbatches 2 --global-batch 4 --schedule s.json");
    EXPECT_EQ(ran.exit_code, 0) << ran.err;
  }

  Ran run(const std::string& line) const {
    return testing::run_line(line, {.folder = folder_.path()});
  }
  Json document_of(const std::string& line) const {
    const Ran ran = run(line);
    EXPECT_EQ(ran.exit_code, 0) << line << "\n" << ran.err;
    return parse_json(ran.out, "stdout").root;
  }

  /// One message that says all this. Nothing is written.
  void expect_end(const std::string& line, int exit_code,
                  const std::vector<std::string>& says) const {
    SCOPED_TRACE(line);
    const std::vector<std::string> before = folder_.names();
    const Ran ran = run(line);
    EXPECT_EQ(folder_.names(), before);
    testing::expect_one_message(ran, exit_code, says);
  }
  /// The same before anything runs: nothing on stdout either.
  void expect_refusal(const std::string& line, const std::vector<std::string>& says,
                      int exit_code = refused) const {
    expect_end(line, exit_code, says);
    EXPECT_EQ(run(line).out, "") << line;
  }

  /// s.json with `from`, where it first is, replaced.
  void write_changed(const std::string& name, const std::string& from,
                     const std::string& to) const {
    std::string text = folder_.read("s.json");
    const std::size_t at = text.find(from);
    ASSERT_NE(at, std::string::npos) << from;
    folder_.write(name, text.replace(at, from.size(), to));
  }

  testing::TemporaryFolder folder_;
};

std::vector<double> losses_of(const Json& document) {
  std::vector<double> out;
  for (const Json& step : document["steps"]) out.push_back(step["loss"].get<double>());
  return out;
}

// --- what it does ---

TEST_F(Run, PrintsOneDocumentThatSaysWhatRan) {
  const Json document = document_of("zebroid run s.json --shrink --steps 2 --json --checksum");
  EXPECT_EQ(document["schema"], "zebroid.run/1");
  EXPECT_EQ(document["backend"], "host");
  EXPECT_EQ(document["schedule"], "s.json");
  EXPECT_EQ(document["model"], "mixtral-w1 (narrow twin)");
  EXPECT_EQ(document["shrunk"], true);
  EXPECT_EQ(document["ranks"], 2);
  EXPECT_EQ(document["threads"], 8);
  EXPECT_THAT(document["arithmetic"].get<std::string>(), EndsWith(", float32"));
  EXPECT_EQ(document["global_batch_sequences"], 4);
  EXPECT_EQ(document["microbatches"], 2);
  EXPECT_EQ(document["chunks"], 1);
  EXPECT_EQ(document["verified"], false);
  EXPECT_EQ(document["checksums"], true);
  ASSERT_EQ(document["steps"].size(), 2);
  EXPECT_EQ(document["steps"][1]["step"], 2);
  EXPECT_GT(document["steps"][1]["duration_s"], 0);
}

TEST_F(Run, NeedsNoMoreMemoryThanPredicted) {
  const Json document = document_of("zebroid run s.json --shrink --steps 3 --json");
  ASSERT_EQ(document["memory"].size(), 2);
  EXPECT_EQ(document["memory"][0]["role"], "attention");
  EXPECT_EQ(document["memory"][1]["role"], "expert");
  for (const Json& rank : document["memory"]) {
    EXPECT_GT(rank["peak_bytes"], 0) << rank;
    EXPECT_LE(rank["peak_bytes"], rank["needed_bytes"]) << rank;
    EXPECT_LE(rank["needed_bytes"], rank["predicted_bytes"]) << rank;
  }
}

TEST_F(Run, CountsEveryCopyOfATokenInEveryLayer) {
  const Json document = document_of(run_it + "--json");
  constexpr double copies = 4 * 32 * 2;  // sequences, tokens of each, top-2
  ASSERT_EQ(document["expert_tokens"].size(), 4);
  for (const Json& layer : document["expert_tokens"]) {
    double sum = 0;
    for (const Json& count : layer) sum += count.get<double>();
    EXPECT_EQ(sum, copies);
  }
}

TEST_F(Run, Learns) {
  const std::vector<double> losses =
      losses_of(document_of("zebroid run s.json --shrink --steps 10 --json"));
  ASSERT_EQ(losses.size(), 10);
  EXPECT_GT(losses.front(), 5);  // about log 256: it knows nothing yet
  EXPECT_LT(losses.back(), losses.front() - 1);
}

TEST_F(Run, GivesTheSameBitsAgainAndOthersForAnotherSeed) {
  const std::string three = "zebroid run s.json --shrink --steps 3 --json ";
  const std::vector<double> losses = losses_of(document_of(three));
  EXPECT_EQ(losses_of(document_of(three)), losses);
  EXPECT_EQ(losses_of(document_of(three + "--checksum --verify")), losses);
  EXPECT_NE(losses_of(document_of(three + "--seed 1")), losses);
  EXPECT_NE(losses_of(document_of(three + "--dtype float64")), losses);
}

TEST_F(Run, EqualsASingleRankInBothPrecisions) {
  for (const char* precision : {"float32", "float64"}) {
    const Ran ran =
        run("zebroid run s.json --shrink --steps 2 --verify --dtype " + std::string(precision));
    EXPECT_EQ(ran.exit_code, 0) << ran.err;
    EXPECT_THAT(ran.out,
                HasSubstr("of all 2 steps equal the single-rank reference's, bit for bit"));
  }
}

TEST_F(Run, LearnsTheTextThatItIsGiven) {
  folder_.write("a.txt", "a");
  const std::vector<double> losses =
      losses_of(document_of("zebroid run s.json --shrink --steps 15 --text a.txt --json"));
  EXPECT_LT(losses.back(), 1);
}

TEST_F(Run, WritesFilesOfItsLastStepThatCanBeReadAndRunAgain) {
  const Ran ran = run(run_it + "--timeline t.json --trace trace.json --svg step.svg");
  EXPECT_EQ(ran.exit_code, 0) << ran.err;
  EXPECT_THAT(folder_.names(), ElementsAre("s.json", "step.svg", "t.json", "trace.json"));
  EXPECT_THAT(folder_.read("step.svg"), StartsWith("<svg"));
  EXPECT_EQ(run("zebroid verify t.json").exit_code, 0);

  const Json timeline = parse_json(folder_.read("t.json"), "t.json").root;
  EXPECT_THAT(timeline["origin"].get<std::string>(), StartsWith("measured on this host"));
  const Json& scenario = timeline["schedule"]["scenario"];
  EXPECT_EQ(scenario["routing"]["spec"], "recorded");
  EXPECT_EQ(scenario["routing"]["tokens"].size(), 4);

  folder_.write("again.json", timeline["schedule"].dump());
  EXPECT_EQ(run("zebroid verify again.json").exit_code, 0);
  EXPECT_EQ(run("zebroid simulate again.json").exit_code, 0);
  EXPECT_EQ(run("zebroid run again.json --steps 1 --verify").exit_code, 0);
}

TEST_F(Run, EndsAtCtrlCAndLeavesNoFile) {
  const Ran ran = testing::run_zebroid("run s.json --shrink --steps 1000000 --timeline t.json",
                                       {.folder = folder_.path(), .interrupt_at_output = true});
  EXPECT_EQ(ran.exit_code, interrupted);
  EXPECT_EQ(ran.err, "zebroid: interrupted\n");
  EXPECT_THAT(folder_.names(), ElementsAre("s.json"));
}

TEST_F(Run, TakesTheScheduleOfATimeline) {
  EXPECT_EQ(run(run_it + "--timeline t.json").exit_code, 0);
  EXPECT_EQ(run("zebroid simulate t.json").exit_code, 0);
  const Ran ran = run("zebroid run t.json --steps 1 --verify");
  EXPECT_EQ(ran.exit_code, 0) << ran.err;
}

// --- schedules that do not run ---

TEST_F(Run, RefusesFilesThatAreNoSchedule) {
  folder_.write("empty.json", "");
  folder_.write("request.json", R"({"schema": "zebroid.request/1"})");
  const std::string line = soon + "zebroid run ";
  expect_refusal(line, {"SCHEDULE is required", "zebroid run --help"});
  expect_refusal(line + "nowhere.json", {"nowhere.json: cannot read: No such file or directory"});
  expect_refusal(line + ".", {".: cannot read: Is a directory"});
  expect_refusal(line + "/dev/zero", {"/dev/zero: not a regular file"});
  expect_refusal(line + "empty.json", {"empty.json"});
  expect_refusal(line + "request.json",
                 {"request.json:1: /schema: ", "'zebroid.request/1'", "zebroid.schedule/1"});
}

TEST_F(Run, RefusesAScheduleThatVerifyRefuses) {
  Json lacking = parse_json(folder_.read("s.json"), "s.json").root;
  ASSERT_EQ(lacking["programs"][0][2], Json::parse(R"(["attention","forward",0,0,1,0])"));
  lacking["programs"][0].erase(2);
  folder_.write("lacking.json", lacking.dump());
  write_changed("other.json", R"(["attention","forward",0,0,1,0])",
                R"(["attention","forward",0,0,2,0])");
  write_changed("twice.json", R"(["expert","forward",0,0,0,0])", R"(["expert","forward",0,1,0,0])");
  const std::string refusal = ": the schedule is refused:\n  rank 0";
  expect_refusal("zebroid run lacking.json --shrink",
                 {"lacking.json" + refusal + " lacks attention 0.1"});
  expect_refusal("zebroid run other.json --shrink",
                 {"other.json" + refusal + " op 2 (attention 0.2): there is no microbatch 2"});
  expect_refusal("zebroid run twice.json --shrink",
                 {"twice.json" + refusal + ": expert 1.0 is listed twice"});
}

TEST_F(Run, RefusesAScheduleWithAChangedKey) {
  write_changed("key.json", "\"experts\"", "\"expertz\"");
  expect_refusal("zebroid run key.json --shrink",
                 {"key.json:1: /expertz: unknown key 'expertz'; did you mean 'experts'?"});
}

TEST_F(Run, SaysThatShrinkHelpsWhereAModelIsTooLargeForThisMachine) {
  run("zebroid simulate --model mixtral-8x7b --cluster 32xA100-80GB --strategy ep "
      "--sequence-length 1024 --global-batch 32 --schedule large.json");
  expect_refusal("zebroid run large.json",
                 {"large.json: mixtral-8x7b on 32 ranks needs ", " of memory here, of which rank ",
                  "--shrink runs the same schedule on a narrow twin"},
                 does_not_fit);
}

TEST_F(Run, SaysThatShrinkHelpsWhereTheHostCannotComputeAModel) {
  EXPECT_EQ(run("zebroid simulate --model qwen3-30b-a3b --cluster 2xA100-80GB --strategy ep "
                "--sequence-length 32 --global-batch 4 --set model.num_hidden_layers=1 "
                "--set model.num_experts=8 --set model.vocab_size=300 --schedule q.json")
                .exit_code,
            0);
  expect_end(
      "zebroid run q.json --steps 1", refused,
      {"qwen3-30b-a3b: the host backend does not compute norms of queries and keys", "--shrink"});
  EXPECT_EQ(run("zebroid run q.json --steps 1 --shrink --verify").exit_code, 0);
}

// --- texts ---

TEST_F(Run, RefusesTextsThatCannotBeLearned) {
  folder_.write("empty", "");
  folder_.write("large", "x");
  constexpr std::uintmax_t limit = std::uintmax_t{256} << 20U;
  fs::resize_file(folder_.path() / "large", limit + 1);
  ASSERT_EQ(mkfifo((folder_.path() / "fifo").c_str(), 0600), 0);
  const std::string line = soon + run_it + "--text ";
  expect_refusal(line + "empty", {"empty: expected a text to learn, got an empty file"});
  expect_refusal(line + "nowhere", {"nowhere: cannot read: No such file or directory"});
  expect_refusal(line + ".", {".: cannot read: Is a directory"});
  expect_refusal(line + "large", {"large: longer than the limit of 268435456 bytes"});
  expect_refusal(line + "/dev/zero", {"/dev/zero: not a regular file"});
  expect_refusal(line + "/dev/null", {"/dev/null: not a regular file"});
  expect_refusal(line + "fifo", {"fifo: "});
}

// --- flags ---

TEST_F(Run, RefusesFlagsWithoutSense) {
  const std::vector<std::pair<std::string, std::string>> mistakes = {
      {"--steps 0", "--steps: Value 0 not in range 1 to 1000000"},
      {"--steps 1000001", "--steps: Value 1000001 not in range"},
      {"--steps many", "--steps"},
      {"--backend tpu", "--backend: tpu not in {host,cuda}"},
      {"--dtype float16", "--dtype: float16 not in {float32,float64}"},
      {"--learning-rate 2", "--learning-rate: Value 2 not in range"},
      {"--learning-rate nan", "--learning-rate: expected a number, got nan"},
      {"--seed -1", "--seed: expected a whole number from 0 to 18446744073709551615, got -1"},
      {"--seed 18446744073709551616", "--seed: expected a whole number from 0 to "},
      {"--deadline 0", "--deadline: Value 0 not in range"},
      {"--shrnk", "unknown flag '--shrnk'; did you mean '--shrink'?"}};
  for (const auto& [typed, says] : mistakes) {
    expect_refusal("zebroid run s.json --shrink " + typed, {says, "zebroid run --help"});
  }
}

TEST_F(Run, SaysWhichBackendIsThere) {
  expect_refusal(run_it + "--backend cuda",
                 {"--backend cuda: this zebroid was built without it; use host"}, no_such_hardware);
}

TEST_F(Run, RefusesFaultsThatItCannotInject) {
  const std::vector<std::pair<std::string, std::string>> mistakes = {
      {"", "expected KIND:RANK:OP"},
      {"stuck:0", "expected KIND:RANK:OP"},
      {"stuk:0:attention 0.0", "unknown fault 'stuk'; did you mean 'stuck'?"},
      {"broken:0:attention 0.0", "unknown fault 'broken' (known: stuck, hung, dead, dropped"},
      {"stuck:2:attention 0.0", "expected a rank from 0 to 1, got '2'"},
      {"stuck:x:attention 0.0", "expected a rank from 0 to 1, got 'x'"},
      {"stuck:0:attention 9.9", "rank 0 lists no op 'attention 9.9'; "},
      {"stuck:1:exprt 1.0", "rank 1 lists no op 'exprt 1.0'; did you mean 'expert 1.0'?"},
      {"swapped:0:attention 0.0", "this fault needs an exchange"},
      {"miscounted:1:expert 1.0", "this fault needs an exchange"},
      {"flipped:1:expert 1.0", "this fault needs an exchange"},
      {"swapped:0:reduce_norm' 0.0", "no exchange follows it on its stream"}};
  for (const auto& [typed, says] : mistakes) {
    std::string line = run_it;
    line += "--inject \"" + typed + "\"";
    expect_refusal(line, {"--inject " + typed + ": ", says});
  }
}

TEST_F(Run, RefusesOutputsThatItCannotWriteBeforeItRuns) {
  const std::string line = soon + "zebroid run s.json --shrink --steps 1000000 ";
  expect_refusal(line + "--timeline nowhere/t.json",
                 {"nowhere/t.json: cannot write: No such file or directory"});
  expect_refusal(line + "--svg .", {".: cannot write: Is a directory"});
  expect_refusal(line + "--timeline t.json --trace ./t.json",
                 {"--trace ./t.json: --timeline writes that file too"});
  expect_refusal(line + "--timeline ./s.json", {"--timeline ./s.json: it is an input"});
  expect_refusal(line + "--svg \"\"", {"--svg: expected a file name, got none"});
  folder_.write("a.txt", "a");
  expect_refusal(line + "--text a.txt --svg a.txt", {"--svg a.txt: it is an input"});
}

// --- what goes wrong on the way ---

TEST_F(Run, SaysWhichOpOfWhichRankLacksHowManyBytes) {
  expect_end(run_it + "--memory-limit 5000000", does_not_fit,
             {"zebroid: rank 0: ", " bytes more do not fit: ", " of 5000000 bytes are in use"});
}

TEST_F(Run, RefusesSizesWithoutSense) {
  for (const char* size : {"lots", "0", "-1", "5 XB", "nan", "1e30GB"}) {
    expect_refusal(run_it + "--memory-limit \"" + size + "\"",
                   {std::string("--memory-limit ") + size + ": expected a size as 64MiB or 1.5GB"});
  }
}

TEST_F(Run, SaysThatNotEvenParametersFit) {
  for (const char* limit : {"1MiB", "1000"}) {
    expect_end(run_it + "--memory-limit " + limit, does_not_fit,
               {"zebroid: rank 0: parameters, gradients and optimizer states: ",
                " bytes more do not fit: "});
  }
}

TEST_F(Run, PrintsNoDocumentWhenItIsAborted) {
  EXPECT_EQ(run(run_it + "--json --memory-limit 1MiB").out, "");
}

struct Injected {
  std::string fault;
  std::string says;
};
class RunWithFault : public Run, public ::testing::WithParamInterface<Injected> {};

TEST_P(RunWithFault, EndsSoonAndNamesRankAndOp) {
  expect_end(soon + run_it + "--checksum --deadline 0.5 --timeline t.json --inject \"" +
                 GetParam().fault + "\"",
             aborted, {"zebroid: " + GetParam().says});
}

INSTANTIATE_TEST_SUITE_P(
    Kinds, RunWithFault,
    ::testing::Values(Injected{"stuck:1:expert 1.0", "rank 1: expert 1.0: has not ended after"},
                      Injected{"stuck:0:combine 1.0", "rank 0: combine 1.0: "},
                      Injected{"stuck:1:combine 1.0", "rank 1: combine 1.0: "},
                      Injected{"dropped:0:step' 0.0", "rank 0: step' 0.0: was lost"},
                      Injected{"dead:1:expert 1.0", "rank 1: "},
                      Injected{"dropped:1:expert 1.0", "rank 1: expert 1.0: was lost"},
                      Injected{"dropped:0:dispatch 1.0",
                               "rank 0: dispatch 1.0: out of turn: dispatch 1.1 came in its place"},
                      Injected{"swapped:1:combine 1.0",
                               "rank 1: combine 1.0: out of turn: combine 1.1 came in its place"},
                      Injected{"miscounted:0:dispatch 1.0",
                               "rank 0: dispatch 1.0: sends 1 rows of "},
                      Injected{"flipped:1:combine 1.0",
                               "rank 1: combine 1.0: its message to rank 0 arrived with "
                               "checksum "}),
    [](const auto& instance) {
      std::string name = instance.param.fault;
      for (char& c : name) {
        if (std::isalnum(static_cast<unsigned char>(c)) == 0) c = '_';
      }
      return name;
    });

TEST_F(Run, EndsThoughAThreadNeverDoes) {
  expect_end(soon + run_it + "--deadline 0.5 --timeline t.json --inject \"hung:1:expert 1.0\"",
             aborted, {"zebroid: rank 1: expert 1.0: has not ended after"});
}

TEST_F(Run, FindsAFlippedBitWithoutChecksumsOnlyWhenItIsCompared) {
  const std::string flip = "--inject \"flipped:1:combine 1.0\" ";
  expect_end(run_it + flip, differs, {"--inject flipped:1:combine 1.0: nobody noticed"});
  expect_end(run_it + flip + "--verify", differs,
             {"step 1: the loss is ", "the single-rank reference has "});
}

}  // namespace
}  // namespace zebroid
