#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/file.hpp"
#include "traces/readers.hpp"

namespace zebroid {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

Samples read(const std::string& text, const std::string& name = "test.log") {
  return read_nccl_log(text, name, {});
}

const std::string settings =
    "# nThread 1 nGpus 4 minBytes 8 maxBytes 8 step: 2(factor) warmup iters: 5 iters: 30 agg "
    "iters: 1 validation: 1 graph: 0\n#\n# Using devices\n";

std::string device(int rank, const std::string& host = "n0",
                   const std::string& name = "NVIDIA A40") {
  const std::string number = std::to_string(rank);
  return "#  Rank  " + number + " Group  0 Pid 7 on " + host + " device  " + number + " [0x07] " +
         name + "\n";
}

const std::string four_devices = device(0) + device(1) + device(2) + device(3);

// Columns of versions from 2.12 on, and of older ones.
const std::string columns =
    "#                                          out-of-place                in-place\n"
    "#  size  count  type  redop  root   time  algbw  busbw #wrong   time  algbw  busbw #wrong\n"
    "#   (B) (elements)                  (us) (GB/s) (GB/s)          (us) (GB/s) (GB/s)\n";
const std::string old_columns =
    "#  size  count  type  redop   time  algbw  busbw  error   time  algbw  busbw  error\n"
    "#   (B) (elements)            (us) (GB/s) (GB/s)          (us) (GB/s) (GB/s)\n";

/// 1 MiB over 4 ranks in 100 us: 10.49 GB/s, of which all_reduce makes 15.73.
const std::string sum_row = " 1048576 262144 float sum -1 100.0 10.49 15.73 0 200.0 5.24 7.86 0\n";
const std::string all_reduce = settings + four_devices + columns;

std::string named(const std::string& program) {
  return "# Collective test starting: " + program + "\n" + all_reduce;
}

TEST(NcclLog, GivesASampleForEveryRow) {
  const Samples read_back = read(all_reduce + sum_row);
  ASSERT_THAT(read_back.samples, SizeIs(1));
  EXPECT_THAT(read_back.complaints, IsEmpty());
  Sample expected{.gpu = "A40",
                  .op = MeasuredOp::all_reduce,
                  .kernel = "nccl",
                  .dtype = "fp32",
                  .shape = {1048576, 4, 4},
                  .time = {100e-6},
                  .repeats = 30,
                  .source = "test.log",
                  .line = 11};
  expected.time = read_back.samples[0].time;
  EXPECT_EQ(read_back.samples[0], expected);
  EXPECT_DOUBLE_EQ(read_back.samples[0].time.value, 100e-6);  // out of place
}

TEST(NcclLog, ReadsOldTablesWithoutRootWithErrorsAndNotAvailable) {
  const std::string log =
      "# nThread 1 nGpus 4 minBytes 8 maxBytes 8 step: 2(factor) warmup iters: 5 iters: 20 "
      "validation: 0\n"
      "#   Rank  0 Pid  5 on h device  0 [0x00] A100-SXM4-40GB\n"
      "#   Rank  1 Pid  5 on h device  1 [0000:c9:00.0] A100-SXM4-40GB\n"
      "#   Rank  2 on h device  2 [0000:ca:00] A100-SXM4-40GB\n"
      "#   Rank  3 on h device  3 [0x03] A100-SXM4-40GB\n" +
      old_columns +
      "h:3442:3442 [0] NCCL INFO Launch mode Parallel\n"
      " 0 0 half sum 35.20 0.00 0.00 N/A 34.05 0.00 0.00 N/A\n"
      " 1048576 524288 half sum 100.0 10.49 15.73 N/A 99.0 10.59 15.89 N/A\n"
      " 2097152 1048576 half sum 200.0 10.49 15.73 1e-03 99.0 21.18 31.78 1e-03\n";
  const Samples read_back = read(log);
  EXPECT_THAT(read_back.complaints, IsEmpty());
  ASSERT_THAT(read_back.samples, SizeIs(2));  // the row of size 0 says nothing
  EXPECT_EQ(read_back.samples[0].gpu, "A100-40GB");
  EXPECT_EQ(read_back.samples[0].dtype, "fp16");
  EXPECT_EQ(read_back.samples[1].repeats, 20U);
}

TEST(NcclLog, TellsDtypes) {
  for (const auto& [printed, ours] :
       std::vector<std::pair<std::string, std::string>>{{"float", "fp32"},
                                                        {"half", "fp16"},
                                                        {"bfloat16", "bf16"},
                                                        {"int8", "int8"},
                                                        {"uint32", "uint32"},
                                                        {"double", "fp64"},
                                                        {"f8e4m3", "fp8_e4m3"}}) {
    const Samples read_back =
        read(all_reduce + " 1048576 1 " + printed + " sum -1 100.0 10.49 15.73 0 1 2 3 0\n");
    ASSERT_THAT(read_back.samples, SizeIs(1)) << printed;
    EXPECT_EQ(read_back.samples[0].dtype, ours);
  }
}

// --- which collective ---

struct Told {
  const char* text;
  const char* file;
  std::optional<MeasuredOp> op;
};

class NcclLogCollective : public ::testing::TestWithParam<Told> {};

TEST_P(NcclLogCollective, IsToldByWhatTheLogHolds) {
  const auto& [text, file, op] = GetParam();
  const Samples read_back = read(text, file);
  if (op) {
    ASSERT_THAT(read_back.samples, SizeIs(1)) << ::testing::PrintToString(read_back.complaints);
    EXPECT_EQ(read_back.samples[0].op, *op);
    EXPECT_THAT(read_back.complaints, IsEmpty());
  } else {
    EXPECT_THAT(read_back.samples, IsEmpty());
    EXPECT_THAT(read_back.complaints, ElementsAre(HasSubstr("which collective is this?")));
  }
}

const std::string three_quarters = " 1048576 1 float none -1 100.0 10.49 7.86 ";
const std::string whole = " 1048576 1 float ";
const std::string by_shares[] = {
    all_reduce + three_quarters + "0 100.0 10.49 7.86 0\n",
    all_reduce + three_quarters + "0 100.0 10.49 7.86 N/A\n",
    all_reduce + three_quarters + "N/A 100.0 10.49 7.86 N/A\n",
    all_reduce + " 1048576 1 float sum -1 100.0 10.49 7.86 0 100.0 10.49 7.86 0\n",
    all_reduce + whole + "sum -1 100.0 10.49 10.49 0 100.0 10.49 10.49 N/A\n",
    all_reduce + whole + "none 0 100.0 10.49 10.49 0 100.0 10.49 10.49 0\n",
    settings + four_devices + old_columns + whole + "100.0 10.49 7.86 0e+00 1 2 3 0e+00\n",
    settings + four_devices + "# size count type time algbw busbw error time algbw busbw error\n" +
        whole + "100.0 7.86 7.86 0e+00 1 2 3 0e+00\n",
    settings + four_devices + "# size count type time algbw busbw error time algbw busbw error\n" +
        whole + "100.0 10.49 10.49 0e+00 1 2 3 0e+00\n",
    settings + four_devices +
        "# size count type root time algbw busbw error time algbw busbw error\n" + whole +
        "0 100.0 10.49 10.49 0e+00 1 2 3 0e+00\n",
    // Over two ranks, all_reduce and sendrecv have the same bandwidths and columns.
    settings + device(0) + device(1) + columns + whole +
        "sum -1 100.0 10.49 10.49 0 100.0 10.49 10.49 0\n",
    settings + device(0) + device(1) + columns + whole +
        "sum -1 100.0 10.49 10.49 N/A 100.0 10.49 10.49 N/A\n",
    "$ mpirun -np 4 ./build/alltoall_perf -b 8 -e 8\n" + all_reduce + three_quarters +
        "N/A 1 2 3 N/A\n",
    named("all_gather_perf") + three_quarters + "N/A 1 2 3 N/A\n",
    // Bandwidths too small to tell: the parts of a buffer are counted apart.
    settings + four_devices + old_columns + " 32 8 float sum 50.0 0.00 0.00 0 1 2 3 0\n",
    settings + four_devices + old_columns + " 32 2 float sum 50.0 0.00 0.00 0 1 2 3 0\n",
};

INSTANTIATE_TEST_SUITE_P(
    Every, NcclLogCollective,
    ::testing::Values(Told{by_shares[0].c_str(), "x", MeasuredOp::all_gather},
                      Told{by_shares[1].c_str(), "x", MeasuredOp::all_to_all},
                      Told{by_shares[2].c_str(), "x", std::nullopt},
                      Told{by_shares[2].c_str(), "d/my_alltoall.log", MeasuredOp::all_to_all},
                      Told{by_shares[2].c_str(), "all_gather/x.log",
                           std::nullopt},  // a folder is no name
                      Told{by_shares[2].c_str(), "allgather.log", MeasuredOp::all_gather},
                      Told{by_shares[2].c_str(), "alltoall_allgather.log", std::nullopt},
                      Told{by_shares[3].c_str(), "x", MeasuredOp::reduce_scatter},
                      Told{by_shares[4].c_str(), "x", MeasuredOp::send_recv},
                      Told{by_shares[5].c_str(), "x", MeasuredOp::broadcast},
                      Told{by_shares[6].c_str(), "x", MeasuredOp::all_to_all},
                      Told{by_shares[7].c_str(), "x", MeasuredOp::all_gather},
                      Told{by_shares[8].c_str(), "x", MeasuredOp::send_recv},
                      Told{by_shares[9].c_str(), "x", MeasuredOp::broadcast},
                      Told{by_shares[10].c_str(), "x", MeasuredOp::all_reduce},
                      Told{by_shares[11].c_str(), "x", std::nullopt},
                      Told{by_shares[11].c_str(), "all_reduce.txt", MeasuredOp::all_reduce},
                      Told{by_shares[12].c_str(), "x", MeasuredOp::all_to_all},
                      Told{by_shares[13].c_str(), "alltoall", MeasuredOp::all_gather},
                      Told{by_shares[14].c_str(), "x", MeasuredOp::all_reduce},
                      Told{by_shares[15].c_str(), "x", MeasuredOp::reduce_scatter}));

TEST(NcclLog, LeavesOutWhatZebroidDoesNotPredict) {
  for (const std::string program : {"reduce_perf", "gather_perf", "alltoallv_perf"}) {
    const Samples read_back = read(named(program) + sum_row);
    EXPECT_THAT(read_back.samples, IsEmpty());
    EXPECT_THAT(read_back.complaints, IsEmpty());
    EXPECT_THAT(read_back.notes, ElementsAre(HasSubstr("no exchange that zebroid predicts")));
  }
}

// --- ranks and devices ---

TEST(NcclLog, CountsRanksOfTheLargestHost) {
  const Samples read_back = read(settings + device(0, "a") + device(1, "a") + device(2, "a") +
                                 device(3, "b") + columns + sum_row);
  ASSERT_THAT(read_back.samples, SizeIs(1));
  EXPECT_EQ(read_back.samples[0].shape, (Shape{1048576, 4, 3}));
  EXPECT_THAT(read_back.notes, ElementsAre(HasSubstr("unequal numbers of ranks: 3 per node")));
}

TEST(NcclLog, NamesEveryKindOfGpu) {
  const Samples read_back = read(settings + device(0, "a", "Tesla V100-PCIE-16GB") +
                                 device(1, "a") + device(2, "b", "Tesla V100-PCIE-16GB") +
                                 device(3, "b", "Some GPU 3") + columns + sum_row);
  ASSERT_THAT(read_back.samples, SizeIs(1));
  EXPECT_EQ(read_back.samples[0].gpu, "A40+Some GPU 3+V100-16GB");
  EXPECT_EQ(read_back.samples[0].shape[2], 2);
  EXPECT_THAT(read_back.notes, IsEmpty());
}

TEST(NcclLog, ReadsLinesThatALauncherTagged) {
  std::string tagged;
  for (std::size_t at = 0, end = 0; at < all_reduce.size(); at = end + 1) {
    end = all_reduce.find('\n', at);
    tagged += (at % 2 == 0 ? "[1,0]<stdout>:" : "0: ") + all_reduce.substr(at, end - at) + "\r\n";
  }
  const Samples read_back = read(tagged + "[1,0]<stdout>:" + sum_row);
  EXPECT_THAT(read_back.samples, SizeIs(1));
  EXPECT_THAT(read_back.complaints, IsEmpty());
}

TEST(NcclLog, StartsARunAtEveryHeader) {
  const Samples read_back =
      read(named("all_reduce_perf") + sum_row + "# Avg bus bandwidth    : 7\n" +
           named("all_gather_perf") + three_quarters + "N/A 1 2 3 N/A\n" + settings + device(0) +
           device(1) + columns + whole + "sum -1 100.0 10.49 10.49 0 100.0 10.49 10.49 0\n");
  ASSERT_THAT(read_back.samples, SizeIs(3));
  EXPECT_EQ(read_back.samples[1].op, MeasuredOp::all_gather);
  EXPECT_EQ(read_back.samples[2].op, MeasuredOp::all_reduce);
  EXPECT_EQ(read_back.samples[2].shape[1], 2);
}

TEST(NcclLog, TakesTheLatestDateBeforeARow) {
  const Samples read_back = read("2025-01-02 run\nStarted: 2026-04-19T03:04:47+00:00\n" +
                                 all_reduce + "version 2026-13-01\n" + sum_row);
  ASSERT_THAT(read_back.samples, SizeIs(1));
  EXPECT_EQ(read_back.samples[0].date, "2026-04-19");
}

TEST(NcclLog, ReadsColumnsBehindThoseOfEveryVersion) {
  const std::string per_iteration =
      "# size count type redop root time algbw busbw #wrong i_min i_max i_p99 i_cv% "
      "time algbw busbw #wrong i_min i_max i_p99 i_cv% timestamp\n"
      "# (B) (elements) (us) (GB/s) (GB/s) (us) (us) (us) (%) (us) (GB/s) (GB/s) (us) (us) (us) "
      "(%) %Y-%m-%d %H:%M:%S\n"
      " 1048576 262144 float sum -1 100.0 10.49 15.73 0 99.0 101.0 100.9 0.50 "
      "200.0 5.24 7.86 0 99.0 101.0 100.9 0.50 2026-02-03 10:11:12\n";
  const Samples read_back = read(settings + four_devices + per_iteration);
  EXPECT_THAT(read_back.complaints, IsEmpty());
  ASSERT_THAT(read_back.samples, SizeIs(1));
  EXPECT_DOUBLE_EQ(read_back.samples[0].time.value, 100e-6);
  EXPECT_EQ(read_back.samples[0].date, "2026-02-03");
  const Samples cut =
      read(settings + four_devices + "# size count type redop root time algbw busbw #wrong\n" +
           " 1048576 262144 float sum -1 100.0 10.49 15.73 0\n");
  EXPECT_THAT(cut.samples, SizeIs(1));
}

TEST(NcclLog, TakesTheUnitOfTimesFromTheHeader) {
  std::string milliseconds = columns;
  milliseconds.replace(milliseconds.find("(us)"), 4, "(ms)");
  const Samples read_back = read(settings + four_devices + milliseconds +
                                 " 1048576 262144 float sum -1 0.1000 10.49 15.73 0 1 2 3 0\n");
  ASSERT_THAT(read_back.samples, SizeIs(1));
  EXPECT_DOUBLE_EQ(read_back.samples[0].time.value, 100e-6);
  std::string minutes = columns;
  minutes.replace(minutes.find("(us)"), 4, "(min)");
  EXPECT_THAT(read(settings + four_devices + minutes + sum_row).complaints,
              ElementsAre(HasSubstr("unknown unit of times")));
}

// --- what makes no sense ---

struct Bad {
  std::string row;
  std::string complaint;
};

TEST(NcclLog, ComplainsAboutRowsThatMakeNoSenseAndKeepsTheOthers) {
  const std::string start = " 1048576 262144 float sum -1 ";
  const Bad bad[] = {
      {start + "100.0 10.49 15.73 3 1 2 3 0\n", "3 values of the result are wrong"},
      {start + "nan 10.49 15.73 0 1 2 3 0\n", "expected numbers, got 'nan 10.49"},
      {start + "-100.0 10.49 15.73 0 1 2 3 0\n", "expected a time above 0, got '-100.0'"},
      {start + "0.00 0.00 0.00 0 1 2 3 0\n", "expected a time above 0, got '0.00'"},
      {start + "100.0 12.49 15.73 0 1 2 3 0\n",
       "algbw is 12.49 GB/s, but 1048576 bytes in 100 us are 10.49"},
      {start + "0.1000 10.49 15.73 0 1 2 3 0\n", "algbw is 10.49 GB/s, but"},  // in ms
      {start + "100.0 10.49 10.49 0 1 2 3 0\n", "busbw is 10.49 GB/s, but all_reduce over 4"},
      {start + "h:1:2 [0] NCCL INFO Connected all rings\n", "expected numbers, got '-1 h:1:2"},
      {start + "100.0 10.49 h:1:2 [0] NCCL INFO 15.73 0 1 2 3 0\n", "other text runs into"},
      {"h:1:2 [0] NCCL INFO" + sum_row, "other text runs into this row"},
      {start + "100.0 10.49\n", "other text runs into this row"},
      {" -8 2 float sum -1 100.0 10.49 15.73 0 1 2 3 0\n", "expected a size above 0, got '-8'"},
      {start + "100.0 10.49 15.73 x 1 2 3 0\n", "expected numbers"},
      {start + "1e999 10.49 15.73 0 1 2 3 0\n", "expected numbers"},
  };
  for (const auto& [row, complaint] : bad) {
    const Samples read_back = read(named("all_reduce_perf") + sum_row + row + sum_row);
    EXPECT_THAT(read_back.samples, SizeIs(2)) << row;
    EXPECT_THAT(read_back.complaints,
                ElementsAre(AllOf(::testing::StartsWith("test.log:13: "), HasSubstr(complaint))));
  }
}

TEST(NcclLog, ComplainsAboutErrorsOfOldLogs) {
  const std::string row = " 1048576 1 float sum 100.0 10.49 15.73 3e+02 1 2 3 0e+00\n";
  EXPECT_THAT(read(settings + four_devices + old_columns + row).complaints,
              ElementsAre(HasSubstr("the result is wrong by 300")));
}

TEST(NcclLog, ComplainsAboutRunsThatItCannotPlace) {
  const Bad bad[] = {
      {settings + columns + sum_row, "how many ranks there are is not known"},
      {settings + device(3) + columns + sum_row, "ranks below 3 are missing"},
      {settings + device(0, "a") + device(0, "b") + columns + sum_row, "rank 0 is listed twice"},
      {settings + device(0) + columns + sum_row, "one rank exchanges nothing"},
      {settings + device(0) + "#  Rank  1 Group  1 Pid 7 on n device 1 [0x07] A40\n" + columns +
           sum_row,
       "several groups of ranks"},
      {settings + four_devices +
           "# size count type redop root cputime algbw busbw #wrong cputime algbw busbw #wrong\n" +
           sum_row,
       "times are of the CPU"},
  };
  for (const auto& [log, complaint] : bad) {
    const Samples read_back = read(log);
    EXPECT_THAT(read_back.samples, IsEmpty());
    EXPECT_THAT(read_back.complaints, ElementsAre(HasSubstr(complaint)));
  }
}

TEST(NcclLog, ComplainsAboutDevicesThatItCannotRead) {
  EXPECT_THAT(read(settings + "#  Rank  x on n device 0 [0x07] A40\n" + sum_row).complaints,
              Contains(HasSubstr("test.log:4: expected a device")));
}

TEST(NcclLog, ComplainsAboutFilesWithoutATable) {
  for (const std::string text : {"", "\n", "hello\n", all_reduce.c_str()}) {
    EXPECT_THAT(read(text).complaints, ElementsAre(HasSubstr("expected a table of nccl-tests")));
  }
}

TEST(NcclLog, CountsComplaintsBeyondTheFirst) {
  std::string log = all_reduce;
  for (int i = 0; i < 15; ++i) log += " 8 2 float sum\n";
  const Samples read_back = read(log);
  ASSERT_THAT(read_back.complaints, SizeIs(most_complaints + 1));
  EXPECT_EQ(read_back.complaints.back(), "test.log: 5 more complaints");
}

// --- real files ---

std::optional<Samples> read_shared(const std::string& file) {
  const std::filesystem::path path = std::filesystem::path(ZEBROID_SHARED_DATA_DIR) / file;
  if (!std::filesystem::exists(path)) return std::nullopt;
  return read(read_file(path, std::size_t{1} << 20U), path.string());
}

TEST(NcclLog, ReadsARealAllReduce) {
  const auto log = read_shared("nccl-tests/nccl_allreduce.log");
  if (!log) GTEST_SKIP() << "needs nccl-tests/nccl_allreduce.log in ZEBROID_SHARED_DATA_DIR";
  EXPECT_THAT(log->complaints, IsEmpty());
  ASSERT_THAT(log->samples, SizeIs(32));  // of 34 rows two have size 0
  const Sample& last = log->samples.back();
  EXPECT_EQ(last.op, MeasuredOp::all_reduce);
  EXPECT_EQ(last.gpu, "A100-40GB");
  EXPECT_EQ(last.shape, (Shape{8589934592, 8, 8}));
  EXPECT_DOUBLE_EQ(last.time.value, 63896e-6);
  EXPECT_EQ(last.repeats, 20U);
}

TEST(NcclLog, ReadsARealAllToAll) {
  const auto log = read_shared("nccl-tests/nccl_alltoall.log");
  if (!log) GTEST_SKIP() << "needs nccl-tests/nccl_alltoall.log in ZEBROID_SHARED_DATA_DIR";
  EXPECT_THAT(log->complaints, IsEmpty());
  ASSERT_THAT(log->samples, SizeIs(29));  // of 34 rows five have size 0
  EXPECT_EQ(log->samples[0].op, MeasuredOp::all_to_all);
  EXPECT_EQ(log->samples[0].shape, (Shape{32, 8, 8}));
  EXPECT_DOUBLE_EQ(log->samples[0].time.value, 89e-6);
}

}  // namespace
}  // namespace zebroid
