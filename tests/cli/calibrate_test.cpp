// Measurements to costs and back: calibrate, --show, --strict.

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zlib.h>

#include <filesystem>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "core/gzip.hpp"
#include "core/json.hpp"
#include "tests/support/command.hpp"

namespace zebroid {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::Ran;
using ::testing::StartsWith;

constexpr int refused = 2;
constexpr int not_enough = 4;
constexpr const char* small =
    "--model mixtral-w1 --cluster 2xA40,2xV100-16GB --sequence-length 1024 --global-batch 8 "
    "--strategy zebra --microbatches 2 ";

constexpr const char* csv_header =
    "gpu,op,kernel,dtype,direction,m,n,k,rows,experts,hidden,ffn,sequences,sequence_length,heads,"
    "kv_heads,head_dim,bytes,ranks,ranks_per_node,time_us\n";

/// One line of the table above from a kernel as --strict and --show write it.
std::string csv_line(const std::string& gpu, const std::string& kernel, double time_us) {
  std::map<std::string, std::string> cells = {
      {"gpu", gpu}, {"kernel", "test"}, {"dtype", "fp16"}, {"time_us", fmt::format("{}", time_us)}};
  std::istringstream words(kernel);
  words >> cells["op"];
  for (std::string word; words >> word;) {
    const auto equals = word.find('=');
    cells[word.substr(0, equals)] = word.substr(equals + 1);
  }
  std::string out;
  std::istringstream names(csv_header);
  for (std::string name; std::getline(names, name, ',');) {
    if (!name.empty() && name.back() == '\n') name.pop_back();
    out += (out.empty() ? "" : ",") + cells[name];
  }
  return out + "\n";
}

/// 1, 2, ... MiB over 4 A40 in one node.
std::string nccl_log() {
  std::string out =
      "# Collective test starting: all_reduce_perf\n"
      "# nThread 1 nGpus 4 minBytes 8 maxBytes 8 step: 2(factor) warmup iters: 5 iters: 30 agg "
      "iters: 1 validation: 1 graph: 0\n#\n# Using devices\n";
  for (int rank = 0; rank < 4; ++rank) {
    out += fmt::format("#  Rank  {0} Group  0 Pid 7 on n0 device  {0} [0x07] NVIDIA A40\n", rank);
  }
  out +=
      "#                                          out-of-place                in-place\n"
      "#  size  count  type  redop  root   time  algbw  busbw #wrong   time  algbw  busbw #wrong\n"
      "#   (B) (elements)                  (us) (GB/s) (GB/s)          (us) (GB/s) (GB/s)\n";
  for (int i = 0; i < 6; ++i) {
    const double bytes = 1048576.0 * (1 << i);
    const double time = 20 + bytes / 10000;
    const double algbw = bytes / time / 1000;
    out +=
        fmt::format(" {:.0f} {:.0f} float sum -1 {:.1f} {:.2f} {:.2f} 0 {:.1f} {:.2f} {:.2f} 0\n",
                    bytes, bytes / 4, time, algbw, algbw * 1.5, time, algbw, algbw * 1.5);
  }
  return out;
}

std::string gemm_table() {
  std::string out = csv_header;
  for (int m = 64; m <= 8192; m *= 2) {
    out += csv_line("A40", fmt::format("gemm m={} n=4096 k=4096", m), 100 + 0.5 * m);
  }
  return out;
}

class Calibrate : public ::testing::Test {
 protected:
  Calibrate() {
    fs::create_directory(folder_.path() / "tables");
    folder_.write("tables/gemm.csv", gemm_table());
    folder_.write("nccl.log", nccl_log());
  }

  Ran run(const std::string& arguments) const {
    return testing::run_zebroid(arguments, {.folder = folder_.path()});
  }
  Json json(const std::string& arguments) const {
    const Ran ran = run(arguments);
    EXPECT_EQ(ran.exit_code, 0) << arguments << "\n" << ran.err;
    return parse_json(ran.out, "stdout").root;
  }
  void expect_refusal(const std::string& arguments, const std::vector<std::string>& says) const {
    SCOPED_TRACE(arguments);
    const std::vector<std::string> before = folder_.names();
    const Ran ran = run(arguments);
    EXPECT_EQ(ran.exit_code, refused);
    EXPECT_EQ(ran.out, "");
    EXPECT_EQ(folder_.names(), before);
    for (const std::string& part : says) EXPECT_THAT(ran.err, HasSubstr(part));
  }

  testing::TemporaryFolder folder_;
};

TEST_F(Calibrate, MakesACalibrationOfAFolderAndALog) {
  const Ran ran = run("calibrate tables nccl.log -o mine.json");
  EXPECT_EQ(ran.exit_code, 0) << ran.err;
  EXPECT_EQ(ran.err, "");
  EXPECT_THAT(ran.out, AllOf(HasSubstr("gemm test fp16"), HasSubstr("all_reduce 4 ranks")));
  const Ran verified = run("verify mine.json");
  EXPECT_EQ(verified.exit_code, 0);
  EXPECT_EQ(verified.out, "mine.json: no faults\n");
  const Json shown = json(
      "calibrate --show 'gemm m=1024 n=4096 k=4096' --cluster 1xA40 --calibration mine.json "
      "--json")["gpus"][0]["kernels"][0];
  EXPECT_EQ(shown["evidence"], "measured");
  EXPECT_NEAR(shown["time_us"].get<double>(), 612, 1e-6);
  EXPECT_EQ(shown["points"][0]["source"], "tables/gemm.csv:6");
}

TEST_F(Calibrate, ReportsErrorsOnPointsHeldBackInJson) {
  const Json document = json("calibrate tables nccl.log --json");
  EXPECT_EQ(document["schema"], "zebroid.calibrate/1");
  EXPECT_EQ(document["samples"], 8 + 6);
  ASSERT_EQ(document["reports"].size(), 2U);
  for (const Json& report : document["reports"]) {
    EXPECT_EQ(report["gpu"], "A40");
    EXPECT_LT(report["error_interpolated"]["median"].get<double>(), 0.05);
  }
  EXPECT_EQ(document["complaints"], Json::array());
}

TEST_F(Calibrate, WritesCurvesAloneWhereThatIsAsked) {
  json("calibrate tables --json --curves-only -o curves.json");
  const Json kind = parse_json(folder_.read("curves.json"), "curves.json").root["kinds"][0];
  EXPECT_TRUE(kind["kernels"].contains("gemm"));
  EXPECT_FALSE(kind.contains("tables"));
  EXPECT_EQ(run("verify curves.json").exit_code, 0);
}

TEST_F(Calibrate, GivesTheSameBytesTwice) {
  json("calibrate tables nccl.log --json -o one.json");
  json("calibrate nccl.log tables --json -o two.json");
  EXPECT_EQ(folder_.read("one.json"), folder_.read("two.json"));
}

TEST_F(Calibrate, GivesTheSameCalibrationFromTheSamplesThatItWrote) {
  json("calibrate tables nccl.log --json --samples all.ndjson -o one.json");
  json("calibrate all.ndjson --json -o two.json");
  EXPECT_EQ(folder_.read("one.json"), folder_.read("two.json"));
}

// --- bad files ---

TEST_F(Calibrate, AsksForFiles) {
  expect_refusal("calibrate", {"calibrate: from which files? Or --show"});
}

TEST_F(Calibrate, NamesAMissingFile) {
  expect_refusal("calibrate tables nowhere.csv -o mine.json", {"nowhere.csv: cannot read"});
}

TEST_F(Calibrate, OfRubbishAloneFailsAndSaysWhatIsWrong) {
  folder_.write("prose.txt", "Dear reader, this is about m, n and k.\n");
  folder_.write("broken.csv", std::string(csv_header) + "A40,gemm,c,bf16,,1,2\n");
  expect_refusal("calibrate prose.txt broken.csv -o mine.json",
                 {"prose.txt: no format that zebroid reads",
                  "broken.csv:2: ", "nothing to calibrate from in these files"});
}

TEST_F(Calibrate, NamesUnknownGpus) {
  expect_refusal("calibrate tables --gpu A41", {"--gpu: unknown GPU 'A41'; did you mean 'A40'?"});
  folder_.write("a41.csv", csv_header + csv_line("A41", "gemm m=1024 n=1024 k=1024", 100));
  expect_refusal("calibrate a41.csv -o mine.json", {"a41.csv:2: unknown GPU 'A41'; did you mean"});
}

TEST_F(Calibrate, UsesGoodFilesNextToAGzipBomb) {
  const gzFile bomb = gzopen((folder_.path() / "tables" / "bomb.csv.gz").c_str(), "wb9");
  const std::string chunk(std::size_t{1} << 20U, ',');
  for (std::size_t written = 0; written <= most_unpacked; written += chunk.size()) {
    gzwrite(bomb, chunk.data(), static_cast<unsigned>(chunk.size()));
  }
  gzclose(bomb);
  const Ran ran = run("calibrate tables -o mine.json");
  EXPECT_EQ(ran.exit_code, 0) << ran.err;
  EXPECT_THAT(ran.err, HasSubstr("bomb.csv.gz: unpacks to more than the limit"));
  EXPECT_EQ(run("verify mine.json").exit_code, 0);
}

TEST_F(Calibrate, OfALogOfRunsThatWroteAtOnceUsesWhatIsWhole) {
  // Two ranks of one program print into one file: lines of both, some cut.
  std::string log;
  std::istringstream lines(nccl_log());
  int number = 0;
  for (std::string line; std::getline(lines, line);) {
    ++number;
    log += line + "\n";
    if (number > 12 && number % 2 == 0) log += line.substr(0, line.size() / 2) + "\n";
    if (number % 3 == 0) log += "n0:7:7 [0] NCCL INFO Channel 00/02 : 0 1 2 3\n";
  }
  folder_.write("mixed.log", log);
  const Ran ran = run("calibrate mixed.log -o mine.json");
  EXPECT_NE(ran.exit_code, 1) << ran.err;
  EXPECT_LT(ran.exit_code, 128) << ran.err;
  if (ran.exit_code == 0) {
    EXPECT_EQ(run("verify mine.json").exit_code, 0);
  } else {
    EXPECT_EQ(ran.exit_code, refused);
    EXPECT_THAT(ran.err, HasSubstr("mixed.log:"));
  }
}

TEST_F(Calibrate, LeavesNothingBehindWhereItCannotWrite) {
  const Ran ran = run("calibrate tables -o nowhere/mine.json");
  EXPECT_EQ(ran.exit_code, refused);
  EXPECT_EQ(ran.out, "");
  EXPECT_THAT(ran.err, HasSubstr("nowhere/mine.json: cannot write: No such file"));
  EXPECT_THAT(folder_.names(), ElementsAre("nccl.log", "tables"));
  EXPECT_EQ(run("calibrate tables -o tables").exit_code, refused);
  EXPECT_EQ(run("calibrate tables --samples nowhere/all.ndjson").exit_code, refused);
  EXPECT_THAT(folder_.names(), ElementsAre("nccl.log", "tables"));
}

TEST_F(Calibrate, OverwritesNoMeasurements) {
  const fs::path table = fs::directory_iterator(folder_.path() / "tables")->path();
  const std::string inside = "tables/" + table.filename().string();
  for (const std::string& command :
       {"calibrate tables -o " + inside, "calibrate " + inside + " --samples " + inside,
        std::string("calibrate tables -o x.json --samples x.json")}) {
    const Ran ran = run(command);
    EXPECT_EQ(ran.exit_code, refused) << command;
    EXPECT_THAT(ran.err, HasSubstr("would overwrite another file of this command"));
  }
}

TEST_F(Calibrate, WritesOnlyWhatCanBeReadAgain) {
  std::string wild = csv_header;
  wild += csv_line("A40", "gemm m=64 n=64 k=64", 9e9);
  wild += csv_line("A40", "gemm m=1e12 n=1e12 k=1", 1e12);
  wild += csv_line("A40", "elementwise kernel=add bytes=1e12", 1e-7);
  wild += csv_line("A40", "elementwise kernel=add bytes=1", 9e9);
  wild += csv_line("A40",
                   "attention sequences=1 sequence_length=1e12 heads=1 kv_heads=1 head_dim=1", 9e9);
  wild += csv_line("A40", "all_reduce bytes=1e12 ranks=1e12 ranks_per_node=1e12", 1e-9);
  wild += csv_line("A40", "all_reduce bytes=1 ranks=1000000 ranks_per_node=1", 1e-6);
  wild += csv_line("A40", "all_reduce bytes=1e12 ranks=1000000 ranks_per_node=1", 1e10);
  folder_.write("wild.csv", wild);
  const Ran ran = run("calibrate wild.csv -o mine.json");
  EXPECT_EQ(ran.exit_code, 0) << ran.err;
  const Ran verified = run("verify mine.json");
  EXPECT_EQ(verified.exit_code, 0) << verified.out;
}

// --- show ---

TEST_F(Calibrate, ShowsTheModulesOfAStepWithTheirGrades) {
  const Ran ran = run("calibrate --show --model mixtral-w1 --cluster 2xA40,2xV100-16GB");
  EXPECT_EQ(ran.exit_code, 0) << ran.err;
  for (const char* part :
       {"A40", "V100-16GB", "grade", "attention forward", "expert backward", "head forward", "step",
        "gemm m=", "elementwise kernel=rms_norm", "extrapolated", "curve: "}) {
    EXPECT_THAT(ran.out, HasSubstr(part));
  }
}

TEST_F(Calibrate, ShowsAKernelWithItsFormula) {
  const Ran ran = run("calibrate --show 'gemm m=4096 n=6144 k=4096' --cluster 1xA40");
  EXPECT_EQ(ran.exit_code, 0) << ran.err;
  EXPECT_THAT(ran.out, StartsWith("gemm m=4096 n=6144 k=4096 on A40: "));
  EXPECT_THAT(ran.out, AllOf(HasSubstr("curve: "), HasSubstr("TFLOP/s")));
}

TEST_F(Calibrate, ShowsTheTimeOfAMeasuredCollective) {
  json("calibrate nccl.log --json -o mine.json");
  const Json shown = json(
      "calibrate --show 'all_reduce bytes=2097152 ranks=4 ranks_per_node=4' --cluster 4xA40 "
      "--calibration mine.json --json")["gpus"][0]["kernels"][0];
  EXPECT_EQ(shown["evidence"], "measured");
  EXPECT_NEAR(shown["time_us"].get<double>(), 20 + 209.7, 0.1);
  expect_refusal(
      "calibrate --show 'all_reduce bytes=2097152 ranks=8 ranks_per_node=4' --cluster 4xA40 "
      "--calibration mine.json",
      {"all_reduce over 8 ranks, 4 per node, was not measured on A40"});
}

TEST_F(Calibrate, RefusesKernelsThatMakeNoSense) {
  const std::string before = "calibrate --cluster 1xA40 --show ";
  expect_refusal(before + "'gem m=1 n=1 k=1'", {"'gem'; did you mean 'gemm'?"});
  expect_refusal(before + "'gemm m=1 n=1 kk=1'", {"'kk'; did you mean 'k'?"});
  expect_refusal(before + "'gemm m=1 n=1'", {"'gemm m=1 n=1': k is missing"});
  expect_refusal(before + "'gemm m=0 n=1 k=1'", {"m: expected a size of 1 or more, got '0'"});
  for (const char* size : {"-1", "nan", "inf", "1e16", "x", "", "4k"}) {
    expect_refusal(before + fmt::format("'gemm m={} n=1 k=1'", size),
                   {fmt::format("m: expected a size of 1 or more, got '{}'", size)});
  }
  expect_refusal(before + "'gemm m n=1 k=1'", {"expected SIZE=NUMBER, got 'm'"});
  expect_refusal(before + "'elementwise bytes=1024'", {"kernel is missing"});
  expect_refusal(before + "'gemm m=1 n=1 k=1 direction=sideways'", {"direction"});
  expect_refusal(before + "''", {"unknown operation ''"});
}

TEST_F(Calibrate, ShowsKernelsThatAreVeryLargeOrVerySmall) {
  for (const char* kernel : {"gemm m=1 n=1 k=1", "gemm m=1e15 n=1e15 k=1e15",
                             "attention sequences=1 sequence_length=1e15 heads=1 kv_heads=1 "
                             "head_dim=1",
                             "grouped_gemm rows=1 experts=1e15 hidden=1 ffn=1",
                             "elementwise kernel=nobody_knows_it bytes=1"}) {
    const Json shown = json(fmt::format("calibrate --json --cluster 1xA40 --show '{}'", kernel));
    const Json& time = shown["gpus"][0]["kernels"][0]["time_us"];
    ASSERT_TRUE(time.is_number()) << kernel;
    EXPECT_GT(time.get<double>(), 0) << kernel;
  }
}

// --- strict ---

TEST_F(Calibrate, StrictNamesWhatIsMissingAndTheCommandsThatMeasureIt) {
  const Ran ran = run(std::string("plan --strict measured ") + small);
  EXPECT_EQ(ran.exit_code, not_enough);
  EXPECT_THAT(ran.out, HasSubstr("zebra"));
  for (const char* part :
       {"--strict measured: the critical path of ", "on V100-16GB: ", "% of it",
        "missing: ", "To measure them", "python3 scripts/measure_kernels.py --gpu V100-16GB",
        "zebroid calibrate ", "-o mine.json"}) {
    EXPECT_THAT(ran.err, HasSubstr(part));
  }
}

TEST_F(Calibrate, StrictRooflineAsksForNothing) {
  EXPECT_EQ(run(std::string("simulate --strict roofline ") + small).exit_code, 0);
}

TEST_F(Calibrate, StrictAnswersAnUnknownGradeWithTheNearest) {
  expect_refusal(std::string("plan --strict mesured ") + small,
                 {"--strict", "'mesured'; did you mean 'measured'?"});
}

TEST_F(Calibrate, StrictIsOfOnePredictionNotOfASweep) {
  expect_refusal(std::string("sweep --strict measured --vary cluster.A40=1,2 ") + small,
                 {"--strict: of one prediction; give it to plan or simulate"});
}

/// Measures what a prediction lacks, as its commands would, on machines that run as the curves say.
class ClosedLoop : public Calibrate {
 protected:
  struct Round {
    int exit_code = 0;
    Json result;
  };

  Round simulate() const {
    const std::string calibration = round_ > 0 ? "--calibration mine.json " : "";
    const Ran ran = run("simulate --json --strict measured " + calibration + small);
    EXPECT_TRUE(ran.exit_code == 0 || ran.exit_code == not_enough) << ran.err;
    return {ran.exit_code, parse_json(ran.out, "simulate").root["results"][0]};
  }

  void measure(const Json& below) {
    for (const Json& weak : below) {
      const auto gpu = weak["gpu"].get<std::string>();
      if (gpu.empty()) {
        measure_exchanges(weak["missing"]);
      } else {
        measure_kernels(gpu, weak["missing"]);
      }
    }
    std::string table = csv_header;
    for (const std::string& line : lines_) table += line;
    folder_.write("measured.csv", table);
    ++round_;
    const Ran ran = run("calibrate measured.csv -o mine.json");
    ASSERT_EQ(ran.exit_code, 0) << ran.err;
  }

 private:
  void measure_kernels(const std::string& gpu, const Json& missing) {
    std::string quoted;
    for (const Json& kernel : missing) quoted += " '" + kernel.get<std::string>() + "'";
    if (quoted.empty()) return;
    const Json kernels =
        json("calibrate --json --show --cluster 1x" + gpu + quoted)["gpus"][0]["kernels"];
    for (const Json& kernel : kernels) {
      lines_.insert(
          csv_line(gpu, kernel["kernel"].get<std::string>(), kernel["curve_us"].get<double>()));
    }
  }

  void measure_exchanges(const Json& missing) {
    for (const Json& kernel : missing) {
      const auto text = kernel.get<std::string>();
      const double bytes = std::stod(text.substr(text.find("bytes=") + 6));
      for (const char* gpus : {"A40", "V100-16GB", "A40+V100-16GB"}) {
        lines_.insert(csv_line(gpus, text, 30 + bytes / 10000));
      }
    }
  }

  std::set<std::string> lines_;
  int round_ = 0;
};

TEST_F(ClosedLoop, OfMeasuringWhatIsMissingSatisfiesStrict) {
  Round round = simulate();
  EXPECT_EQ(round.exit_code, not_enough);
  EXPECT_FALSE(round.result["strict"]["satisfied"].get<bool>());
  for (int i = 0; i < 4 && round.exit_code != 0; ++i) {
    ASSERT_NO_FATAL_FAILURE(measure(round.result["strict"]["below"]));
    round = simulate();
  }
  EXPECT_EQ(round.exit_code, 0) << round.result["strict"].dump(1);
  EXPECT_TRUE(round.result["strict"]["satisfied"].get<bool>());
  // Off the critical path, where --strict asks for nothing, a fifth still rests on less.
  const Json& evidence = round.result["evidence"];
  EXPECT_GT(evidence["measured"].get<double>(), 0.75) << evidence;
  EXPECT_EQ(evidence["roofline"].get<double>(), 0) << evidence;
}

}  // namespace
}  // namespace zebroid
