// What a person can do wrong ends in one message that says what and where, in the documented exit
// code, and in nothing on stdout or disk.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <functional>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "core/json.hpp"
#include "models/config_dir.hpp"
#include "tests/support/command.hpp"

namespace zebroid {
namespace {

namespace fs = std::filesystem;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr int refused = 2;
constexpr int does_not_fit = 3;
constexpr int has_faults = 4;
constexpr int interrupted = 130;

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> out;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) out.push_back(line);
  return out;
}

/// What is typed and what the answer says, among other things.
struct Mistake {
  std::string typed;
  std::vector<std::string> says;
};

/// A folder with base.json, a request of a small scenario that flags change, and cluster.json.
class BadInput : public ::testing::Test {
 protected:
  BadInput() {
    write("base.json", Json{{"schema", "zebroid.request/1"},
                            {"model", "mixtral-w1"},
                            {"cluster", "2xA40,2xV100-16GB"},
                            {"sequence_length", 1024},
                            {"global_batch", 8}});
    write("cluster.json", cluster_);
  }

  void write(const std::string& name, const Json& document) const {
    folder_.write(name, document.dump(2));
  }
  testing::Ran run(const std::string& line) const {
    return testing::run_line(line, {.folder = folder_.path()});
  }

  void expect_refusal(const std::string& line, const std::vector<std::string>& says,
                      int exit_code = refused) const {
    SCOPED_TRACE(line);
    const std::vector<std::string> before = folder_.names();
    const testing::Ran ran = run(line);
    EXPECT_EQ(ran.out, "");
    EXPECT_EQ(folder_.names(), before);
    testing::expect_one_message(ran, exit_code, says);
    const std::vector<std::string> lines = lines_of(ran.err);
    EXPECT_EQ(std::set(lines.begin(), lines.end()).size(), lines.size()) << ran.err;
  }

  /// `before` is what is typed in front of each mistake.
  void expect_refusals(const std::string& before, const std::vector<Mistake>& mistakes) const {
    for (const Mistake& mistake : mistakes) expect_refusal(before + mistake.typed, mistake.says);
  }

  testing::TemporaryFolder folder_;
  const Json cluster_ = {
      {"schema", "zebroid.cluster/1"},
      {"gpus", {{{"kind", "A40"}, {"count", 4}}, {{"kind", "V100-16GB"}, {"count", 2}}}},
      {"network", {{"nic_Gbps", 100}}}};
};

// --- words ---

TEST_F(BadInput, UnknownCommandsAndFlagsAreAnsweredWithTheNearestOne) {
  expect_refusals(
      "zebroid ",
      {{"",
        {"which command? plan, simulate, sweep, calibrate, run, verify, list, show",
         "zebroid --help"}},
       {"simulte", {"unknown command 'simulte'; did you mean 'simulate'?"}},
       {"frobnicate", {"unknown command 'frobnicate' (known: plan, simulate, sweep"}},
       {"--verson", {"unknown flag '--verson'; did you mean '--version'?"}},
       {"--json list", {"'--json' comes after the command", "zebroid list --help"}},
       {"simulate --modl x", {"unknown flag '--modl'; did you mean '--model'?"}},
       {"simulate --modl=x", {"unknown flag '--modl'; did you mean '--model'?"}},
       {"sweep --sett x=1", {"unknown flag '--sett'; did you mean '--set'?"}},
       {"verify --jsn x", {"unknown flag '--jsn'; did you mean '--json'?"}},
       {"simulate --frobnicate", {"unknown flag '--frobnicate'", "zebroid simulate --help"}},
       {"list gpus models", {"unexpected 'models'", "zebroid list --help"}},
       {"simulate --model", {"--model", "missing", "zebroid simulate --help"}},
       {"simulate --color red", {"--color", "red", "auto,always,never"}},
       {"simulate --engine slow", {"--engine", "slow", "fast"}},
       {"sweep --model mixtral-w1 --cluster o1", {"--vary is required"}},
       {"verify", {"FILE is required"}},
       {"show", {"NAME is required"}}});
}

TEST_F(BadInput, UnknownNamesAreAnsweredWithTheNearestOne) {
  expect_refusals("zebroid simulate --scenario base.json ",
                  {{"--model mixtral-w", {"unknown model 'mixtral-w'", "'mixtral-w1'?"}},
                   {"--model xxxxxxxxx", {"unknown model 'xxxxxxxxx' (known: dbrx,"}},
                   {"--cluster o9", {"unknown cluster 'o9'; did you mean 'o1'?"}},
                   {"--cluster 4xA41", {"4xA41", "unknown GPU 'A41'; did you mean 'A40'?"}},
                   {"--cluster 4xV100", {"'V100'", "V100-16GB"}},
                   {"--cluster A40", {"unknown cluster 'A40'", "4xA40"}},
                   {"--strategy zebro", {"--strategy", "'zebro'; did you mean 'zebra'?"}},
                   {"--strategy pipeline",
                    {"--strategy", "'pipeline' (known: ep, dist-ep, ep-ideal, pp, zebra)"}},
                   {"--expert-assignment evn", {"'evn'; did you mean 'even'?"}},
                   {"--recompute modul", {"recompute", "'modul'; did you mean 'module'?"}},
                   {"--optimizer adam", {"optimizer", "'adam'; did you mean 'adamw'?"}},
                   {"--routing unifrm", {"routing", "'unifrm'", "lognormal:SIGMA"}}});
  expect_refusals("zebroid ", {{"list gpu", {"'gpu'; did you mean 'gpus'?"}},
                               {"show A41", {"'A41'; did you mean 'A40'?"}},
                               {"show mixtral-w", {"'mixtral-w'; did you mean 'mixtral-w1'?"}}});
}

TEST_F(BadInput, UnknownKeysOfFilesAreAnsweredWithTheNearestOneAndTheirLine) {
  write("request.json", Json{{"schema", "zebroid.request/1"}, {"modle", "mixtral-w1"}});
  write("calibration.json", Json{{"schema", "zebroid.calibration/2"},
                                 {"kinds", {{{"gpus", {"A40"}}, {"kernels", {{"gem", 1}}}}}}});
  write("version.json", Json{{"schema", "zebroid.cluster/2"}, {"gpus", Json::array()}});
  Json cluster = cluster_;
  cluster["gpus"][0]["cuont"] = 4;
  write("typo.json", cluster);
  expect_refusals(
      "zebroid simulate --scenario ",
      {{"request.json", {"request.json:3: /modle: unknown key 'modle'; did you mean 'model'?"}},
       {"base.json --calibration calibration.json",
        {"/kinds/0/kernels/gem: unknown key 'gem'; did you mean 'gemm'?"}},
       {"base.json --cluster version.json",
        {"version.json:2: /schema", "'zebroid.cluster/2'; did you mean 'zebroid.cluster/1'?"}},
       {"base.json --cluster typo.json",
        {"typo.json:7: /gpus/0/cuont: unknown key 'cuont'; did you mean 'count'?"}}});
}

TEST_F(BadInput, WhatIsMissingIsAskedFor) {
  expect_refusals("zebroid simulate ", {{"--cluster o1", {"which model?", "--model"}},
                                        {"--model mixtral-w1", {"which GPUs?", "--cluster"}},
                                        {"--cluster o1 --model ''", {"unknown model ''"}},
                                        {"--model mixtral-w1 --cluster ''", {"cluster ''"}}});
}

TEST_F(BadInput, AScheduleTakesNoFlagsOfAScenario) {
  ASSERT_EQ(run("zebroid simulate --scenario base.json --schedule step.json").exit_code, 0);
  expect_refusals("zebroid simulate step.json ", {{"--model mixtral-w1", {"step.json", "--model"}},
                                                  {"--set a=1", {"step.json", "scenario inside"}}});
}

// --- numbers ---

TEST_F(BadInput, CountsInFlagsAreWholeNumbersWithinTheirLimits) {
  const std::vector<std::string> values = {"-1",
                                           "nan",
                                           "inf",
                                           "1.5",
                                           "1e3",
                                           "0x10",
                                           "4k",
                                           "''",
                                           "9223372036854775808",
                                           "99999999999999999999"};
  for (const char* flag : {"--sequence-length", "--global-batch", "--microbatches", "--chunks",
                           "--groups", "--seed"}) {
    for (const std::string& value : values) {
      const std::string got = value == "''" ? value : "'" + value + "'";
      expect_refusal("zebroid simulate --scenario base.json " + std::string(flag) + " " + value,
                     {flag + std::string(": expected a whole number from "), "got " + got});
    }
  }
  expect_refusals("zebroid simulate --scenario base.json ",
                  {{"--sequence-length 0", {"from 1 to 16777216, got '0'"}},
                   {"--sequence-length 16777217", {"from 1 to 16777216, got '16777217'"}},
                   {"--global-batch 0", {"from 1 to 4294967296, got '0'"}},
                   {"--global-batch 4294967297", {"from 1 to 4294967296"}},
                   {"--microbatches 0", {"from 1 to 4096, got '0'"}},
                   {"--chunks 4097", {"from 1 to 4096, got '4097'"}},
                   {"--groups 0", {"from 1 to 4096, got '0'"}}});
}

TEST_F(BadInput, OtherNumbersInFlagsAreFiniteAndPositive) {
  expect_refusals("zebroid simulate --scenario base.json ",
                  {{"--network 100", {"--network", "'100'", "100Gbps"}},
                   {"--network 0Gbps", {"--network", "'0Gbps'"}},
                   {"--network=-1Gbps", {"--network", "'-1Gbps'"}},
                   {"--network nanGbps", {"--network", "'nanGbps'"}},
                   {"--network infGbps", {"--network", "'infGbps'"}},
                   {"--network 1e400Gbps", {"--network", "'1e400Gbps'"}},
                   {"--routing lognormal:", {"SIGMA from 0 to 10, got 'lognormal:'"}},
                   {"--routing lognormal:-1", {"SIGMA from 0 to 10, got 'lognormal:-1'"}},
                   {"--routing lognormal:nan", {"SIGMA from 0 to 10, got 'lognormal:nan'"}},
                   {"--routing lognormal:1e400", {"SIGMA from 0 to 10, got"}}});
}

TEST_F(BadInput, CountsInShorthandClustersArePositive) {
  expect_refusals("zebroid simulate --scenario base.json --cluster=",
                  {{"0xA40", {"0xA40: /gpus: expected at least one GPU"}},
                   {"-1xA40", {"'-1xA40': expected COUNTxGPU"}},
                   {"1.5xA40", {"'1.5xA40': expected COUNTxGPU"}},
                   {"nanxA40", {"'nanxA40'"}},
                   {"2x0xA40", {"2x0xA40: /gpus/0/gpus_per_node: expected an integer >= 1, got 0"}},
                   {"1000000xA40", {"1000000xA40", "at most 65536 GPUs", "got 1000000"}},
                   {"1000x1000xA40", {"1000x1000xA40", "at most 65536 GPUs", "got 1000000"}},
                   {"65536xA40,1xT4", {"at most 65536 GPUs", "got 65537"}},
                   {"99999999999999999999xA40", {"99999999999999999999xA40", "at most 65536"}},
                   {"6xA40,", {"6xA40,: '': expected COUNTxGPU"}},
                   {"6xA40,,2xT4", {"6xA40,,2xT4: '': expected COUNTxGPU"}},
                   {"6x", {"6x"}},
                   {"x", {"'x'"}}});
}

TEST_F(BadInput, NumbersInClusterFilesAreNamedByLineAndPointer) {
  struct Change {
    std::string pointer;
    Json value;
    std::string says;
  };
  const std::vector<Change> changes = {
      {"/gpus/0/count", -1, "expected an integer >= 0, got -1"},
      {"/gpus/0/count", 1.5, "expected an integer >= 0, got 1.5"},
      {"/gpus/0/count", "4", "expected an integer >= 0, got \"4\""},
      {"/gpus/0/count", 1e30, "expected an integer"},
      {"/gpus/0/count", 18446744073709551615U, "expected an integer"},
      {"/gpus/0/kind", 4, "expected a string, got 4"},
      {"/gpus/0/gpus_per_node", 0, "expected an integer >= 1, got 0"},
      {"/gpus/0/nic_Gbps", 0, "expected a number from"},
      {"/gpus/1/host_bridge_GBps", -5, "expected a number from"},
      {"/network/nic_Gbps", 1e300, "expected a number from"},
      {"/network/latency_us", -1, "expected a number from 0 to 1000000, got -1"},
      {"/kinds/A40/memory_GiB", -48, "expected a number from"}};
  for (const Change& change : changes) {
    Json cluster = cluster_;
    cluster[Json::json_pointer(change.pointer)] = change.value;
    write("cluster.json", cluster);
    const std::string key = change.pointer.substr(change.pointer.rfind('/') + 1);
    const std::vector<std::string> lines = lines_of(cluster.dump(2));
    const auto at = std::find_if(lines.begin(), lines.end(), [&](const std::string& line) {
      return line.find('"' + key + "\": " + change.value.dump()) != std::string::npos;
    });
    const auto line = at - lines.begin() + 1;
    expect_refusal("zebroid simulate --scenario base.json --cluster cluster.json",
                   {"cluster.json:" + std::to_string(line) + ": " + change.pointer, change.says});
  }
  Json many = cluster_;
  many["gpus"][0]["count"] = 1000000;
  write("cluster.json", many);
  expect_refusal(
      "zebroid show cluster.json",
      {"cluster.json:3: /gpus: expected at most 65536 GPUs in the cluster, got 1000002"});
}

TEST_F(BadInput, NumbersThatJsonDoesNotHaveAreNamedByLine) {
  for (const char* number : {"NaN", "Infinity", "1e999", "0x10", "+1", "01"}) {
    folder_.write("cluster.json", std::string("{\"schema\": \"zebroid.cluster/1\",\n\"gpus\": ") +
                                      "[{\"kind\": \"A40\",\n\"count\": " + number + "}]}\n");
    expect_refusal("zebroid simulate --scenario base.json --cluster cluster.json",
                   {"cluster.json:3: not valid JSON"});
  }
}

TEST_F(BadInput, SettingsNameAnExistingFieldAndALegalValue) {
  expect_refusals(
      "zebroid simulate --scenario base.json --set ",
      {{"x", {"--set: expected PATH=VALUE, got 'x'"}},
       {"=1", {"--set: expected PATH=VALUE, got '=1'"}},
       {"training.sequence_lenght=1", {"training.sequence_lenght", "mean 'sequence_length'?"}},
       {"cluster.A41=1", {"cluster.A41: unknown field 'A41'; did you mean 'A40'?"}},
       {"cluster.gpus.9.count=1", {"cluster.gpus.9.count: expected a position below 2, got '9'"}},
       {"training.recompute.x=1", {"training.recompute.x: unknown field 'x'"}},
       {"calibration.A41.gemm.efficiency=1", {"unknown field 'A41'; did you mean 'A40'?"}},
       {"training=1", {"/training: expected an object, got 1"}},
       {"cluster=1", {"/cluster: expected an object, got 1"}},
       {"training.sequence_length=0", {"/training/sequence_length", ">= 1, got 0"}},
       {"training.sequence_length=nan", {"/training/sequence_length", "got \"nan\""}},
       {"training.sequence_length=99999999999999999999", {"/training/sequence_length", "1e+20"}},
       {"model.num_local_experts=-1", {"/num_local_experts: expected an integer >= 2, got -1"}},
       {"cluster.A40=-1", {"/cluster/gpus/0/count: expected an integer >= 0, got -1"}},
       {"cluster.A40=nan", {"/cluster/gpus/0/count: expected an integer >= 0, got \"nan\""}},
       {"cluster.A40=1000000", {"/cluster/gpus: expected at most 65536 GPUs", "1000002"}},
       {"cluster.network.nic_Gbps=0", {"/cluster/network/nic_Gbps", "got 0"}},
       {"routing.seed=-1", {"/routing/seed: expected an integer >= 0, got -1"}},
       {"calibration.A40.gemm.efficiency=0", {"/calibration/A40/gemm/efficiency", "got 0"}}});
}

TEST_F(BadInput, VariedFieldsExistAndSomeOfTheirValuesAreLegal) {
  expect_refusals(
      "zebroid sweep --scenario base.json --vary ",
      {{"x", {"--vary: expected PATH=VALUES, got 'x'"}},
       {"x=", {"--vary: expected PATH=VALUES, got 'x='"}},
       {"training.sequence_lenght=1:1000000", {"mean 'sequence_length'?"}},
       {"cluster.A41=1,2", {"cluster.A41: unknown field 'A41'; did you mean 'A40'?"}},
       {"training.sequence_length=0", {"/training/sequence_length", "got 0"}},
       {"training.sequence_length=-5:-1", {"/training/sequence_length", "got -5"}},
       {"training.sequence_length=nan,inf", {"/training/sequence_length", "got \"nan\""}},
       {"training.sequence_length=5:1", {"FROM <= TO", "got '5:1'"}},
       {"training.sequence_length=1:5:0", {"STEP >= 1", "got '1:5:0'"}},
       {"training.sequence_length=1:10000000", {"at most 1000000 values"}},
       {"training.sequence_length=1:99999999999999999999", {"got \"1:99999999999999999999\""}},
       {"training.sequence_length=1024,", {"a value is missing in"}},
       {"cluster.A40=1000000", {"at most 65536 GPUs"}},
       {"routing.seed=1:1000000 --vary cluster.A40=1:100", {"more than 10000000 points"}}});
}

TEST_F(BadInput, AnIllegalValueAmongLegalOnesCostsASweepItsPointOnly) {
  for (const char* values : {"1,12", "12,1", "1,12,1"}) {
    const testing::Ran ran = run(
        std::string("zebroid sweep --scenario base.json --vary model.num_local_experts=") + values);
    EXPECT_EQ(ran.exit_code, 0) << ran.err;
    for (const std::string& line : lines_of(ran.out)) {
      const Json point = parse_json(line, "line").root;
      const bool legal = point["point"]["model.num_local_experts"] == 12;
      for (const Json& result : point["results"]) EXPECT_EQ(result["feasible"], legal) << line;
    }
  }
}

// --- files ---

/// Each way to name a file that is read, with FILE in its place.
const std::vector<std::string> readers = {"simulate --cluster o1 --model ./FILE",
                                          "simulate --model mixtral-w1 --cluster ./FILE",
                                          "simulate --scenario base.json --calibration ./FILE",
                                          "simulate --scenario base.json --routing ./FILE",
                                          "simulate --scenario ./FILE",
                                          "simulate ./FILE",
                                          "sweep --scenario ./FILE --vary cluster.A40=1",
                                          "verify ./FILE",
                                          "show ./FILE"};

class BadFile : public BadInput {
 protected:
  void expect_refusal_by_readers(const std::string& file, const std::string& says) const {
    for (std::string line : readers) {
      line.replace(line.find("FILE"), 4, file);
      expect_refusal("zebroid " + line, {"./" + file, says});
    }
  }
};

TEST_F(BadFile, ThatDoesNotExistIsNamed) {
  expect_refusal_by_readers("nowhere.json", "No such file or directory");
}

TEST_F(BadFile, ThatIsAFolderIsNamed) {
  fs::create_directory(folder_.path() / "folder.json");
  expect_refusal_by_readers("folder.json", "");
}

TEST_F(BadFile, ThatIsNoRegularFileIsNamed) {
  fs::create_symlink("/dev/zero", folder_.path() / "zeros.json");
  expect_refusal_by_readers("zeros.json", "not a regular file");
}

TEST_F(BadFile, ThatIsEmptyIsNamedWithItsLine) {
  folder_.write("empty.json", "");
  expect_refusal_by_readers("empty.json", "empty.json:1: not valid JSON");
}

TEST_F(BadFile, ThatIsBinaryIsCalledSo) {
  folder_.write("binary.json", std::string("\x7f"
                                           "ELF\0\0\1\2",
                                           8));
  expect_refusal_by_readers("binary.json", "expected JSON, got a binary file");
}

TEST_F(BadFile, ThatEndsTooEarlyIsNamedWithItsLastLine) {
  folder_.write("cut.json", "{\"schema\":\n \"zebroid.cluster/1\",\n \"gpus\": [");
  expect_refusal_by_readers("cut.json", "cut.json:3: not valid JSON");
}

TEST_F(BadFile, ThatNestsAHundredThousandLevelsIsRefused) {
  constexpr int levels = 100'000;
  std::string objects;
  for (int i = 0; i < levels; ++i) objects += "{\"a\":";
  folder_.write("arrays.json", std::string(levels, '['));
  folder_.write("objects.json", objects);
  expect_refusal_by_readers("arrays.json", "arrays.json:1: not valid JSON: nested deeper than");
  expect_refusal_by_readers("objects.json", "objects.json:1: not valid JSON: nested deeper than");
}

TEST_F(BadFile, ThatHoldsAnArrayIsToldOnce) {
  write("array.json", Json::array());
  for (std::string line : readers) {
    if (line.starts_with("verify")) continue;  // finds faults, and says so on stdout
    line.replace(line.find("FILE"), 4, "array.json");
    expect_refusal("zebroid " + line, {"array.json:1: /: expected an object"});
  }
  const testing::Ran verified = run("zebroid verify array.json");
  EXPECT_EQ(verified.exit_code, has_faults);
  EXPECT_THAT(verified.out, HasSubstr("array.json:1: /: expected an object"));
}

TEST_F(BadFile, ThatRepeatsAKeyIsNamedWithItsLine) {
  folder_.write("twice.json", "{\"schema\": 1,\n\"schema\": 2}");
  expect_refusal_by_readers("twice.json", "twice.json:2: not valid JSON: duplicate key \"schema\"");
}

TEST_F(BadFile, WithANameThatIsNotUtf8IsReadAndNamedLegibly) {
  const std::string name = "mixtral\xff.json";
  fs::copy_file(config_dir() / "models" / "mixtral-w1.json", folder_.path() / name);
  const testing::Ran ran =
      run("zebroid simulate --scenario base.json --json --model '" + name + "'");
  EXPECT_EQ(ran.exit_code, 0) << ran.err;
  EXPECT_EQ(parse_json(ran.out, "result").root["scenario"]["model_name"], "mixtral\uFFFD");
}

// --- plans that cannot be ---

TEST_F(BadInput, RequestsThatNoPlanMeetsSayWhatWould) {
  expect_refusals(
      "zebroid simulate --scenario base.json ",
      {{"--cluster 40xA40 --strategy ep --groups 1",
        {"12 experts cannot be spread over 40 GPUs", "use more groups"}},
       {"--cluster 2xA40,20xT4 --strategy zebra --groups 1",
        {"12 experts cannot be spread over 20 expert GPUs", "use more groups"}},
       {"--cluster 2xA40,26xT4 --strategy zebra",
        {"12 experts", "26 expert GPUs", "2 attention GPUs"}},
       {"--strategy zebra --groups 3", {"3 zebra groups", "2 attention GPUs"}},
       {"--strategy ep --groups 5", {"5 expert-parallel groups", "there are 4"}},
       {"--strategy ep --global-batch 3", {"batch of 3", "at least 4 sequences"}},
       {"--strategy zebra --global-batch 7 --microbatches 4",
        {"batch of 7", "4 microbatches", "at least 8 sequences"}},
       {"--global-batch 1 --microbatches 2",
        {"zebra: a global batch of 1", "at least 4 sequences", "\nep: a global batch of 1",
         "at least 8 sequences", "\npp: a global batch of 1", "at least 2 sequences"}},
       {"--cluster 4xA40 --strategy zebra",
        {"at least two kinds", "A40 only", "try --strategy ep"}}});
}

TEST_F(BadInput, ADenseModelIsRefusedKindly) {
  write("config.json", Json{{"model_type", "llama"},
                            {"num_hidden_layers", 32},
                            {"hidden_size", 4096},
                            {"intermediate_size", 14336},
                            {"num_attention_heads", 32},
                            {"vocab_size", 128256}});
  expect_refusals(
      "zebroid ",
      {{"simulate --scenario base.json --model config.json",
        {"config.json: this model is dense", "Mixture-of-Experts", "num_local_experts"}},
       {"simulate --scenario base.json --model .", {"model is dense"}},
       {"show config.json", {"config.json: this model is dense"}}});
}

TEST_F(BadInput, AModelThatDoesNotFitSaysWhichRankLacksHowManyBytes) {
  const testing::Ran ran =
      run("zebroid simulate --json --scenario base.json --model mixtral-8x7b --strategy zebra");
  EXPECT_EQ(ran.exit_code, does_not_fit);
  const Json result = parse_json(ran.out, "result").root["results"][0];
  EXPECT_EQ(result["feasible"], false);
  double lacking = 0;
  for (const Json& pool : result["pools"]) {
    lacking = std::max(lacking, pool["peak_memory_bytes"].get<double>() -
                                    pool["memory_capacity_bytes"].get<double>());
  }
  EXPECT_GT(lacking, 0);
  EXPECT_THAT(ran.err, ::testing::ContainsRegex("zebra does not fit: rank [0-9]+ \\("));
  EXPECT_THAT(ran.err, HasSubstr(" lacks " + std::to_string(std::llround(lacking)) + " bytes"));
  EXPECT_THAT(ran.err, HasSubstr(result["reason"].get<std::string>()));
}

TEST_F(BadInput, AModelThatFitsNoBatchSaysWhichRankLacksHowManyBytes) {
  write("base.json", Json{{"schema", "zebroid.request/1"}, {"global_batch", "max"}});
  expect_refusal(
      "zebroid simulate --scenario base.json --model mixtral-8x7b --cluster 2xA40,2xV100-16GB",
      {"not even a global batch of 4 sequences", "zebra: rank ", " bytes"}, does_not_fit);
}

TEST_F(BadInput, ADoomedPointEndsNoSweep) {
  const testing::Ran ran =
      run("zebroid sweep --scenario base.json --vary cluster.V100-16GB=0,2 --vary "
          "training.global_batch_sequences=1,8");
  EXPECT_EQ(ran.exit_code, 0) << ran.err;
  EXPECT_EQ(ran.err, "");
  EXPECT_EQ(lines_of(ran.out).size(), 4);
}

// --- verify ---

TEST_F(BadInput, ABrokenScheduleIsRefusedByNameOfTheOpsAtFault) {
  ASSERT_EQ(run("zebroid simulate --scenario base.json --strategy zebra --microbatches 1 "
                "--expert-assignment even --optimizer adamw-8bit --schedule step.json")
                .exit_code,
            0);
  const Json sound = parse_json(folder_.read("step.json"), "step.json").root;
  struct Damage {
    std::function<void(Json&)> inflict;
    std::string says;
  };
  const std::vector<Damage> damages = {
      {[](Json& s) { s["programs"][0].erase(1); },
       "rank 2 op 0 (dispatch 0.0) waits forever: ranks 0, 1 of group 0 never issue it"},
      {[](Json& s) { s["programs"][0].erase(0); }, "rank 0 lacks attention 0.0"},
      {[](Json& s) {
         Json& program = s["programs"][0];
         const Json layer_1 = {"attention", "forward", 0, 1, 0, 0};
         std::swap(program[0], *std::find(program.begin(), program.end(), layer_1));
       },
       " -> rank 1 op 0 (attention 1.0) -> rank 1 op 3 (attention 0.0) -> "},
      {[](Json& s) { s["programs"][0].push_back(s["programs"][0][0]); },
       "rank 0: attention 0.0 is listed twice"},
      {[](Json& s) { s["programs"][0][1][2] = 9; }, "rank 0 op 1 (dispatch 0.0): the rank has no"},
      {[](Json& s) { s["programs"][0][1][0] = "dispach"; },
       ": /programs/0/1/0: unknown kind of work 'dispach'; did you mean 'dispatch'?"},
      {[](Json& s) { s["ranks"][1]["gpu"] = 99; }, ": /ranks: rank 1 is on GPU 99"},
      {[](Json& s) { s["layers"] = 7; }, ": /layers: expected"}};
  for (const Damage& damage : damages) {
    SCOPED_TRACE(damage.says);
    Json broken = sound;
    damage.inflict(broken);
    write("broken.json", broken);
    const testing::Ran verified = run("zebroid verify step.json broken.json");
    EXPECT_EQ(verified.exit_code, has_faults);
    EXPECT_EQ(verified.err, "");
    EXPECT_THAT(verified.out, StartsWith("step.json: no faults\nbroken.json:"));
    EXPECT_THAT(verified.out, HasSubstr(damage.says));
    expect_refusal("zebroid simulate broken.json --svg step.svg", {"broken.json:", damage.says});
  }
}

TEST_F(BadInput, VerifySaysInJsonWhichFilesAreSound) {
  Json cluster = cluster_;
  cluster["gpus"][0]["kind"] = "A41";
  write("broken.json", cluster);
  const testing::Ran ran = run("zebroid verify --json cluster.json broken.json base.json");
  EXPECT_EQ(ran.exit_code, has_faults);
  const Json files = parse_json(ran.out, "verify").root["files"];
  ASSERT_EQ(files.size(), 3);
  EXPECT_EQ(files[0], (Json{{"file", "cluster.json"}, {"sound", true}, {"faults", Json::array()}}));
  EXPECT_EQ(files[1]["sound"], false);
  EXPECT_EQ(files[1]["faults"][0],
            "broken.json:5: /gpus/0/kind: unknown GPU 'A41'; did you mean 'A40'?");
  EXPECT_EQ(files[2]["sound"], true);
}

// --- output ---

TEST_F(BadInput, AFullDiskUnderStdoutIsNoSuccess) {
  for (const char* command :
       {"simulate --scenario base.json", "simulate --scenario base.json --json",
        "sweep --scenario base.json --vary cluster.A40=1:3", "list", "show A40", "show mixtral-w1",
        "show cluster.json", "verify cluster.json", "--help", "simulate --help", "--version"}) {
    expect_refusal(std::string("zebroid ") + command + " > /dev/full",
                   {"standard output: cannot write: No space left on device"});
  }
  expect_refusal("zebroid list >&-", {"standard output: cannot write"});
}

TEST_F(BadInput, AFullDiskUnderStderrLeavesTheExitCode) {
  EXPECT_EQ(run("zebroid list foo 2> /dev/full").exit_code, refused);
  EXPECT_EQ(run("zebroid list foo 2>&-").exit_code, refused);
  EXPECT_EQ(run("zebroid frobnicate 2>&-").exit_code, refused);
}

TEST_F(BadInput, FilesThatCannotBeWrittenEndTheCommand) {
  fs::create_directory(folder_.path() / "folder");
  fs::create_directory(folder_.path() / "locked");
  fs::permissions(folder_.path() / "locked", fs::perms::owner_read | fs::perms::owner_exec);
  for (const std::string flag : {"--svg", "--trace", "--schedule", "--timeline"}) {
    const std::string line = "zebroid simulate --scenario base.json " + flag + " ";
    expect_refusal(line + "nowhere/step", {"nowhere/step: cannot write: No such file"});
    expect_refusal(line + "folder", {"folder: cannot write: Is a directory"});
    expect_refusal(line + "folder/", {"folder/: cannot write: Is a directory"});
    expect_refusal(line + "/dev/full", {"/dev/full: cannot write: No space left on device"});
    if (geteuid() != 0) {  // root may write everywhere
      expect_refusal(line + "locked/step", {"locked/step: cannot write: Permission denied"});
    }
  }
  EXPECT_TRUE(fs::is_empty(folder_.path() / "folder"));
  EXPECT_TRUE(fs::is_empty(folder_.path() / "locked"));
}

TEST_F(BadInput, SweepsThatCannotBeWrittenAreRefusedBeforeAnyWork) {
  fs::create_directory(folder_.path() / "folder");
  folder_.write("diary.journal", "not one of ours");
  expect_refusals("zebroid sweep --scenario base.json --vary cluster.A40=1:1000000 --output ",
                  {{"folder", {"--output: folder: is a folder"}},
                   {"nowhere/f", {"nowhere/f.journal: cannot write: No such file or directory"}},
                   {"/dev/null", {"--output: /dev/null: not a regular file"}},
                   {"''", {"--output: expected the name of a file"}},
                   {"diary", {"diary.journal: not a journal of zebroid"}}});
  EXPECT_EQ(folder_.read("diary.journal"), "not one of ours");
}

TEST_F(BadInput, ADiskThatFillsUpLeavesTheOldFileAndNoHalfOne) {
  folder_.write("step.svg", "old");
  expect_refusal("ulimit -f 1; zebroid simulate --scenario base.json --svg step.svg",
                 {"step.svg: cannot write: File too large"});
  EXPECT_EQ(folder_.read("step.svg"), "old");
}

TEST_F(BadInput, CtrlCEndsASweepAfterAWholeLine) {
  const testing::Ran ran =
      testing::run_zebroid("sweep --scenario base.json --vary cluster.A40=1:1000",
                           {.folder = folder_.path(), .interrupt_at_output = true});
  EXPECT_EQ(ran.exit_code, interrupted);
  EXPECT_EQ(ran.err, "zebroid: interrupted\n");
  EXPECT_THAT(ran.out, EndsWith("}\n"));
  const std::vector<std::string> lines = lines_of(ran.out);
  EXPECT_LT(lines.size(), 1000);
  for (const std::string& line : lines) {
    EXPECT_EQ(parse_json(line, "line").root["schema"], "zebroid.sweep-point/1");
  }
}

}  // namespace
}  // namespace zebroid
