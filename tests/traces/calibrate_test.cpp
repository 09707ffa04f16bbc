#include "traces/calibrate.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <functional>
#include <map>
#include <tuple>

#include "models/collective_times.hpp"
#include "models/kernel_times.hpp"
#include "traces/readers.hpp"

namespace zebroid {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr double micro = 1e-6;

Sample sample_of(MeasuredOp op, const Shape& shape, double time_us, std::size_t line = 1) {
  Sample out;
  out.gpu = "A40";
  out.op = op;
  out.kernel = is_collective(op) ? "nccl" : "cublas";
  out.dtype = "bf16";
  out.shape = shape;
  out.time = {time_us * micro};
  out.source = "a.csv";
  out.line = line;
  return out;
}

Sample gemm(double m, double time_us, std::size_t line = 1) {
  return sample_of(MeasuredOp::gemm, {m, 1024, 1024}, time_us, line);
}

/// A product of m rows that takes 100 us and 0.1 us per row: at every size below the peak of A40.
Sample sound_gemm(double m, std::size_t line = 1) { return gemm(m, 100 + 0.1 * m, line); }

Calibrated calibrated(const std::vector<Sample>& samples) {
  return calibrate(samples, gpu_catalogue(), load_calibration({}));
}

double curve_efficiency(const Calibrated& calibrated, KernelClass kernel) {
  return calibrated.calibration.gpus.at("A40")
      .curves.at(static_cast<std::size_t>(kernel))
      .efficiency;
}

// --- tables ---

TEST(Calibrate, PutsEveryPointIntoATableWithItsSource) {
  Sample other = sound_gemm(2048, 7);
  other.source = "b.csv";
  const Calibrated got = calibrated({sound_gemm(1024, 3), other});
  EXPECT_THAT(got.warnings, IsEmpty());
  const auto& tables = got.calibration.gpus.at("A40").tables;
  ASSERT_THAT(tables, SizeIs(1));
  EXPECT_EQ(tables[0].key(), (MeasuredTable::Key{MeasuredOp::gemm, "cublas", "bf16", false}));
  ASSERT_THAT(tables[0].points(), SizeIs(2));
  const MeasuredPoint& last = tables[0].points()[1];
  EXPECT_EQ(last.shape, (Shape{2048, 1024, 1024}));
  EXPECT_NEAR(last.time_us, 100 + 204.8, 1e-9);
  EXPECT_EQ(tables[0].sources().at(last.source), "b.csv");
  EXPECT_EQ(last.line, 7U);
}

TEST(Calibrate, KeepsLibrariesDtypesAndDirectionsApart) {
  Sample library = sound_gemm(1024);
  library.kernel = "triton";
  Sample dtype = sound_gemm(1024);
  dtype.dtype = "fp16";
  Sample attention = sample_of(MeasuredOp::attention, {1, 1024, 8, 8, 128}, 500);
  Sample backward = attention;
  backward.backward = true;
  const Calibrated got = calibrated({sound_gemm(1024), library, dtype, attention, backward});
  EXPECT_THAT(got.calibration.gpus.at("A40").tables, SizeIs(5));
  EXPECT_THAT(got.reports, SizeIs(5));
}

TEST(Calibrate, TakesTheMedianOfSeveralMeasurementsOfOneSize) {
  const Calibrated got = calibrated({gemm(1024, 210), gemm(1024, 200), gemm(1024, 220)});
  EXPECT_THAT(got.warnings, IsEmpty());
  const auto& points = got.calibration.gpus.at("A40").tables.at(0).points();
  ASSERT_THAT(points, SizeIs(1));
  EXPECT_NEAR(points[0].time_us, 210, 1e-9);
}

TEST(Calibrate, RoundsFractionalSizes) {
  const Calibrated got = calibrated({gemm(1023.6, 200), gemm(1024.4, 200)});
  const auto& points = got.calibration.gpus.at("A40").tables.at(0).points();
  ASSERT_THAT(points, SizeIs(1));
  EXPECT_EQ(points[0].shape[0], 1024);
}

TEST(Calibrate, OfNothingIsNothing) {
  const Calibrated got = calibrated({});
  EXPECT_TRUE(got.calibration.gpus.empty());
  EXPECT_THAT(got.reports, IsEmpty());
}

TEST(Calibrate, AsksNowAndThenWhetherToStop) {
  const auto stop = [](std::size_t, std::size_t) { throw std::runtime_error("stop"); };
  EXPECT_THROW(calibrate({sound_gemm(1024)}, gpu_catalogue(), load_calibration({}), stop),
               std::runtime_error);
}

// --- warnings ---

TEST(CalibrateWarning, OfAnUnknownGpuNamesTheNearest) {
  Sample sample = sound_gemm(1024, 12);
  sample.gpu = "A41";
  const Calibrated got = calibrated({sample, sample, sample});
  EXPECT_TRUE(got.calibration.gpus.empty());
  EXPECT_THAT(got.warnings,
              ElementsAre(AllOf(HasSubstr("a.csv:12: unknown GPU 'A41'; did you mean 'A40'?"),
                                HasSubstr("left out"), HasSubstr("(and 2 more)"))));
}

TEST(CalibrateWarning, OfTimesThatNeedMoreThanThePeakRefusesThem) {
  const Calibrated got = calibrated({gemm(4096, 1, 5), sound_gemm(1024)});
  EXPECT_THAT(got.warnings, ElementsAre(AllOf(HasSubstr("a.csv:5: gemm on A40 faster than the "
                                                        "GPU's peak rate allows ("),
                                              HasSubstr("times it); refused"))));
  EXPECT_THAT(got.calibration.gpus.at("A40").tables.at(0).points(), SizeIs(1));
}

TEST(CalibrateWarning, OfOtherDtypesLeavesThemOut) {
  Sample sample = sound_gemm(1024, 4);
  sample.dtype = "int8";
  const Calibrated got = calibrated({sample});
  EXPECT_TRUE(got.calibration.gpus.empty());
  EXPECT_THAT(got.warnings, ElementsAre("a.csv:4: gemm in int8; left out, costs are those of bf16 "
                                        "and fp16"));
}

TEST(CalibrateWarning, OfRepeatsThatScatterKeepsThem) {
  Sample sample = sound_gemm(1024, 6);
  sample.scatter = 0.3;
  const Calibrated got = calibrated({sample, sound_gemm(2048)});
  EXPECT_THAT(got.warnings,
              ElementsAre("a.csv:6: A40 gemm cublas: repeats scatter by more than 25 %; kept"));
  EXPECT_THAT(got.calibration.gpus.at("A40").tables.at(0).points(), SizeIs(2));
}

TEST(CalibrateWarning, OfOneSizeThatTookManyTimesKeepsTheMedian) {
  const Calibrated got = calibrated({gemm(1024, 200, 1), gemm(1024, 310, 2), gemm(1024, 220, 3)});
  EXPECT_THAT(got.warnings,
              ElementsAre("a.csv:2: A40 gemm cublas: the same size was measured with times 1.5 or "
                          "more apart; kept, as the median"));
  EXPECT_NEAR(got.calibration.gpus.at("A40").tables.at(0).points()[0].time_us, 220, 1e-9);
}

TEST(CalibrateWarning, OfASizeSlowerThanTheNextLargerKeepsBoth) {
  const Calibrated got = calibrated({gemm(1024, 900, 8), gemm(2048, 300, 9), gemm(4096, 500)});
  EXPECT_THAT(got.warnings,
              ElementsAre(AllOf(HasSubstr("A40 gemm cublas: 1 of 3 points take more than 1.25 "
                                          "times as long as the next larger size; kept"),
                                HasSubstr("a.csv:8: m=1024 n=1024 k=1024 took 900.0 us, m=2048 "
                                          "n=1024 k=1024 300.0 us (a.csv:9)"))));
  EXPECT_THAT(got.calibration.gpus.at("A40").tables.at(0).points(), SizeIs(3));
}

TEST(CalibrateWarning, OfTwoGpusWithOneTableRefusesBothByName) {
  std::vector<Sample> samples;
  for (double m = 64; m <= 64 * 128; m *= 2) {
    samples.push_back(sound_gemm(m));
    samples.push_back(samples.back());
    samples.back().gpu = "L40S";
    samples.back().source = "l40s.csv";
  }
  Sample attention = sample_of(MeasuredOp::attention, {1, 1024, 8, 8, 128}, 500);
  samples.push_back(attention);
  const Calibrated got = calibrated(samples);
  EXPECT_THAT(got.warnings,
              ElementsAre("A40 gemm cublas (a.csv) and L40S gemm cublas (l40s.csv) are one table: "
                          "equal to the last digit; neither is used"));
  EXPECT_THAT(got.calibration.gpus, SizeIs(1));
  EXPECT_THAT(got.calibration.gpus.at("A40").tables, SizeIs(1)) << "the attention";
}

TEST(CalibrateWarning, OfTwoGpusDoesNotComeForAFewEqualTimes) {
  std::vector<Sample> samples;
  for (double m = 64; m <= 64 * 64; m *= 2) {  // 7 points
    samples.push_back(sound_gemm(m));
    samples.push_back(samples.back());
    samples.back().gpu = "L40S";
  }
  EXPECT_THAT(calibrated(samples).warnings, IsEmpty());
}

TEST(CalibrateWarning, OfAnElementwiseKernelThatNobodyRunsNamesTheNearest) {
  const Sample unknown = sample_of(MeasuredOp::elementwise, {1e8}, 912, 7);
  const Calibrated got = calibrated({unknown});
  EXPECT_TRUE(got.calibration.gpus.empty());
  ASSERT_THAT(got.warnings, SizeIs(1));
  EXPECT_THAT(got.warnings[0], ::testing::StartsWith("a.csv:7: unknown elementwise kernel"));
}

TEST(CalibrateWarning, OfGroupsThatNoNodesMake) {
  for (const Shape& shape : {Shape{1024, 4, 8}, Shape{1024, 8, 3}, Shape{1024, 1, 1}}) {
    const Calibrated got = calibrated({sample_of(MeasuredOp::all_reduce, shape, 50, 3)});
    EXPECT_TRUE(got.calibration.gpus.empty());
    ASSERT_THAT(got.warnings, SizeIs(1));
    EXPECT_THAT(got.warnings[0], ::testing::StartsWith("a.csv:3: all_reduce over"));
  }
}

TEST(CalibrateWarning, OfTwoLibrariesSaysWhichOneIsUsed) {
  Sample other = sound_gemm(1024);
  other.kernel = "triton";
  const Calibrated got = calibrated({sound_gemm(1024), sound_gemm(2048), other});
  EXPECT_THAT(got.warnings,
              ElementsAre("A40 gemm triton bf16 (1 points): kept, but costs come from cublas bf16 "
                          "(2 points) wherever that knows as much"));
  EXPECT_THAT(got.calibration.gpus.at("A40").tables, SizeIs(2));
}

TEST(CalibrateWarning, OfAKernelOverSeveralKindsLeavesItOut) {
  Sample sample = sound_gemm(1024, 3);
  sample.gpu = "A40+V100-16GB";
  EXPECT_THAT(calibrated({sample}).warnings,
              ElementsAre("a.csv:3: a kernel of several GPU kinds; left out"));
}

TEST(CalibrateWarning, OfSizesBelow1LeavesThemOut) {
  EXPECT_THAT(calibrated({gemm(0.5, 100, 3)}).warnings,
              ElementsAre("a.csv:3: m below 1 in gemm; left out"));
}

TEST(CalibrateWarning, OfWhatACalibrationCannotHoldLeavesItOut) {
  const Sample slow = gemm(1024, 1e11, 3);
  const Sample fast = sample_of(MeasuredOp::elementwise, {1024}, 1e-7, 4);
  const Sample many = sample_of(MeasuredOp::all_reduce, {1024, 1e12, 8}, 100, 5);
  const Calibrated got = calibrated({slow, fast, many});
  EXPECT_TRUE(got.calibration.gpus.empty());
  EXPECT_THAT(got.warnings,
              ElementsAre("a.csv:3: a time below 1e-6 or above 1e10 us; left out (and 1 more)",
                          "a.csv:5: more than 1048576 ranks; left out"));
}

// --- curves ---

std::vector<Sample> samples_of_curve(KernelCurve curve, const GpuSpec& gpu, MeasuredOp op,
                                     const std::vector<Shape>& shapes, bool backward = false) {
  curve.memory_efficiency = load_calibration({}).curve(gpu, KernelClass::memory_bound)->efficiency;
  std::vector<Sample> out;
  for (const Shape& shape : shapes) {
    const KernelCall call =
        kernel_call(op, shape, backward ? Direction::backward : Direction::forward);
    const Seconds time = curve_time(call, curve, {gpu.half_peak, gpu.memory_bandwidth});
    out.push_back(sample_of(op, shape, time.value / micro));
    out.back().gpu = gpu.name;
    out.back().backward = backward;
  }
  return out;
}

KernelCurve curve_of(double efficiency, double half_size, double launch_us) {
  KernelCurve out;
  out.efficiency = efficiency;
  out.half_size = half_size;
  out.launch = {launch_us * micro};
  return out;
}

std::vector<Shape> gemm_shapes() {
  std::vector<Shape> out;
  for (double m = 64; m <= 16384; m *= 2) {
    for (double n = 1024; n <= 8192; n *= 2) out.push_back({m, n, 4096});
  }
  return out;
}

std::vector<Shape> attention_shapes(double longest) {
  std::vector<Shape> out;
  for (double length = 256; length <= longest; length *= 2) out.push_back({1, length, 32, 8, 128});
  return out;
}

TEST(CalibrateErrors, AreNearlyNothingWhereTimesFollowACurve) {
  const Calibrated got = calibrated(
      samples_of_curve(curve_of(0.6, 100, 8), find_gpu("A40"), MeasuredOp::gemm, gemm_shapes()));
  ASSERT_THAT(got.reports, SizeIs(1));
  const FitReport& report = got.reports[0];
  EXPECT_EQ(report.points, 36U);
  EXPECT_EQ(report.interpolated.points, 7U);
  EXPECT_GT(report.extrapolated.points, 0U);
  EXPECT_LT(report.interpolated.p90, 0.01);
  EXPECT_LT(report.extrapolated.p90, 0.02);
  EXPECT_LT(report.curve.p90, 0.03);
  EXPECT_NEAR(curve_efficiency(got, KernelClass::gemm), 0.6, 0.02);
}

TEST(CalibrateErrors, OfTooFewPointsAreNone) {
  const Calibrated got = calibrated({sound_gemm(1024), sound_gemm(2048)});
  EXPECT_EQ(got.reports.at(0).interpolated.points, 0U);
  EXPECT_EQ(got.reports.at(0).extrapolated.points, 0U);
}

TEST(CalibrateErrors, OfEdgesFartherThanAnOctaveAreNone) {
  const Calibrated got =
      calibrated({sound_gemm(16), sound_gemm(64), sound_gemm(256), sound_gemm(1024)});
  EXPECT_EQ(got.reports.at(0).extrapolated.points, 0U);
}

TEST(CalibrateErrors, OfOneWildPointShowInTheTailOnly) {
  std::vector<Sample> samples =
      samples_of_curve(curve_of(0.6, 100, 8), find_gpu("A40"), MeasuredOp::gemm, gemm_shapes());
  samples[22].time = samples[22].time * 4;
  const FitReport report = calibrated(samples).reports.at(0);
  EXPECT_LT(report.interpolated.median, 0.02);
}

TEST(CalibrateCurves, OfForwardAttentionAreNotFittedToBackwardTimes) {
  const GpuSpec& gpu = find_gpu("A40");
  std::vector<Sample> samples =
      samples_of_curve(curve_of(0.5, 300, 8), gpu, MeasuredOp::attention, attention_shapes(16384));
  const std::vector<Sample> backward = samples_of_curve(
      curve_of(0.25, 300, 8), gpu, MeasuredOp::attention, attention_shapes(65536), true);
  samples.insert(samples.end(), backward.begin(), backward.end());
  EXPECT_NEAR(curve_efficiency(calibrated(samples), KernelClass::attention_core), 0.5, 0.02);
}

TEST(CalibrateCurves, OfBackwardAttentionAloneReachTheRateThatWasMeasured) {
  const GpuSpec& gpu = find_gpu("A40");
  const Calibrated got = calibrated(samples_of_curve(
      curve_of(0.25, 300, 8), gpu, MeasuredOp::attention, attention_shapes(65536), true));
  const KernelCurve& curve = got.calibration.gpus.at("A40").curves.at(
      static_cast<std::size_t>(KernelClass::attention_core));
  EXPECT_NEAR(curve.efficiency * curve.backward, 0.25, 0.01);
  EXPECT_LT(got.reports.at(0).curve.median, 0.05);
}

TEST(CalibrateCurves, SayWhatTheyAreFittedTo) {
  const Calibrated got = calibrated({sound_gemm(1024), sound_gemm(2048)});
  const KernelCurve& curve =
      got.calibration.gpus.at("A40").curves.at(static_cast<std::size_t>(KernelClass::gemm));
  EXPECT_EQ(curve.source, "fit to 2 points of a.csv");
  EXPECT_EQ(curve.evidence, Evidence::extrapolated) << "two points are no curve";
}

TEST(CalibrateCurves, OfWildTimesStillMakeACalibrationThatCanBeRead) {
  for (const double time_us : {1e3, 1e6, 1e9, 9e9}) {
    const Calibrated got = calibrated({sample_of(MeasuredOp::gemm, {64, 64, 64}, time_us)});
    const JsonDocument document{"c.json", "",
                                Json{{"A40", to_json(got.calibration.gpus.at("A40"), {}, "")}}};
    const KernelCurve& curve =
        got.calibration.gpus.at("A40").curves.at(static_cast<std::size_t>(KernelClass::gemm));
    EXPECT_LE(curve.launch.value, 1) << time_us;
    EXPECT_LE(curve.half_size, 1e9) << time_us;
  }
}

// --- collectives ---

Sample all_reduce(double bytes, double ranks, double per_node, double time_us) {
  return sample_of(MeasuredOp::all_reduce, {bytes, ranks, per_node}, time_us);
}

std::vector<Sample> ladder(double ranks, double per_node, double alpha_us, double bytes_per_us) {
  std::vector<Sample> out;
  for (double bytes = 1024; bytes <= 1 << 28; bytes *= 2) {
    out.push_back(all_reduce(bytes, ranks, per_node, alpha_us + bytes / bytes_per_us));
  }
  return out;
}

TEST(CalibrateCollectives, AreFittedByTheShapeOfTheirGroup) {
  std::vector<Sample> samples = ladder(4, 4, 20, 10000);
  const std::vector<Sample> two_nodes = ladder(8, 4, 50, 2000);
  samples.insert(samples.end(), two_nodes.begin(), two_nodes.end());
  const Calibrated got = calibrated(samples);
  EXPECT_THAT(got.warnings, IsEmpty());
  const GpuCalibration& a40 = got.calibration.gpus.at("A40");
  ASSERT_THAT(a40.collectives, SizeIs(2));
  EXPECT_EQ(a40.collectives[0].ranks, 4U);
  EXPECT_NEAR(a40.collectives[0].pieces.at(0).alpha_us, 20, 1e-3);
  EXPECT_EQ(a40.collectives[1].ranks, 8U);
  EXPECT_EQ(a40.collectives[1].ranks_per_node, 4U);
  EXPECT_NEAR(a40.collectives[1].pieces.at(0).algbw_GBps, 2, 1e-3);
  ASSERT_THAT(a40.tables, SizeIs(2)) << "one for each shape of group";
  EXPECT_THAT(a40.tables[0].points(), SizeIs(19));
  EXPECT_FALSE(collective_time(a40, MeasuredOp::all_reduce, {2, 2}, 1024));
  EXPECT_NEAR(collective_time(a40, MeasuredOp::all_reduce, {8, 4}, 3e6)->seconds.value / micro,
              50 + 3e6 / 2000, 1e-3);
}

TEST(CalibrateCollectives, OfALineAreFoundExactly) {
  const FitReport report = calibrated(ladder(4, 4, 20, 10000)).reports.at(0);
  EXPECT_EQ(report.ranks, 4U);
  EXPECT_EQ(report.ranks_per_node, 4U);
  EXPECT_LT(report.curve.p90, 1e-6);
  EXPECT_LT(report.interpolated.p90, 1e-6);
  EXPECT_LT(report.extrapolated.p90, 1e-6);
}

TEST(CalibrateCollectives, OfAnyDtypeAreOne) {
  Sample single = all_reduce(4096, 4, 4, 30);
  single.dtype = "fp32";
  Sample bytes = all_reduce(8192, 4, 4, 30);
  bytes.dtype = "int8";
  const Calibrated got = calibrated({single, bytes});
  EXPECT_THAT(got.warnings, IsEmpty());
  EXPECT_THAT(got.reports, SizeIs(1));
}

TEST(CalibrateCollectives, OfSeveralKindsGoByAllTheirNames) {
  Sample mixed = all_reduce(4096, 4, 2, 30);
  mixed.gpu = "A40+V100-16GB";
  const Calibrated got = calibrated({mixed});
  EXPECT_THAT(got.warnings, IsEmpty());
  ASSERT_TRUE(got.calibration.gpus.contains("A40+V100-16GB"));
  EXPECT_THAT(got.calibration.gpus.at("A40+V100-16GB").collectives, SizeIs(1));
  const GroupCalibration found = group_calibration(
      got.calibration, {&find_gpu("V100-16GB"), &find_gpu("A40"), &find_gpu("A40")});
  EXPECT_NE(found.calibration, nullptr);
  EXPECT_TRUE(found.of_these);
}

TEST(CalibrateCollectives, OfSeveralKindsAreFoundInWhateverOrderTheyAreWritten) {
  Sample mixed = all_reduce(4096, 4, 2, 30);
  mixed.gpu = "v100-16gb+A40";
  const Calibrated got = calibrated({mixed});
  EXPECT_TRUE(got.calibration.gpus.contains("A40+V100-16GB"));
}

TEST(CalibrateCollectives, OfSeveralKindsWithAnUnknownOneAreLeftOut) {
  Sample mixed = all_reduce(4096, 4, 2, 30);
  mixed.gpu = "A40+V100-17GB";
  const Calibrated got = calibrated({mixed});
  EXPECT_TRUE(got.calibration.gpus.empty());
  EXPECT_THAT(got.warnings, ElementsAre(HasSubstr("unknown GPU 'V100-17GB'")));
}

// --- real tables ---

/// Of each operation and GPU the report whose table costs come from.
std::vector<FitReport> used(const std::vector<FitReport>& reports) {
  std::map<std::tuple<std::string, MeasuredOp, std::string, bool>, FitReport> out;
  for (const FitReport& report : reports) {
    const std::string kernel =
        report.key.op == MeasuredOp::elementwise ? report.key.kernel : std::string();
    FitReport& best = out[{report.gpu, report.key.op, kernel, report.key.backward}];
    if (report.points > best.points) best = report;
  }
  std::vector<FitReport> values;
  for (const auto& [key, report] : out) values.push_back(report);
  return values;
}

std::string title_of(const FitReport& report) {
  return fmt::format(
      "{} {} {} {}: {} points, interpolated {:.2f} % of {}, extrapolated {:.2f} % "
      "of {}, curve {:.2f} %",
      report.gpu, name_of(report.key.op), report.key.kernel, report.key.dtype, report.points,
      100 * report.interpolated.median, report.interpolated.points,
      100 * report.extrapolated.median, report.extrapolated.points, 100 * report.curve.median);
}

class CalibrateRealKernels : public ::testing::TestWithParam<MeasuredOp> {};

TEST_P(CalibrateRealKernels, ArePredictedWithinFivePercentInsideAndFifteenBeyond) {
  const fs::path tables = fs::path(ZEBROID_SHARED_DATA_DIR) / "kernel-bench";
  if (!fs::exists(tables)) GTEST_SKIP() << tables << " is not here";
  std::vector<Sample> samples = read_measurements({tables}, {}).samples;
  std::erase_if(samples, [](const Sample& sample) { return sample.op != GetParam(); });
  const std::vector<FitReport> reports = used(calibrated(samples).reports);
  EXPECT_FALSE(reports.empty());
  for (const FitReport& report : reports) {
    EXPECT_GT(report.interpolated.points, 0U) << title_of(report);
    EXPECT_LE(report.interpolated.median, 0.05) << title_of(report);
    EXPECT_LE(report.extrapolated.median, 0.15) << title_of(report);
  }
}

INSTANTIATE_TEST_SUITE_P(KernelBench, CalibrateRealKernels,
                         ::testing::Values(MeasuredOp::gemm, MeasuredOp::attention,
                                           MeasuredOp::elementwise, MeasuredOp::grouped_gemm),
                         [](const auto& op) { return std::string(name_of(op.param)); });

TEST(CalibrateRealTables, OfNcclTestsFollowAlphaAndBetaWithinFivePercent) {
  const fs::path logs = fs::path(ZEBROID_SHARED_DATA_DIR) / "nccl-tests";
  if (!fs::exists(logs)) GTEST_SKIP() << logs << " is not here";
  const Samples read = read_measurements({logs}, {});
  const Calibrated got = calibrated(read.samples);
  ASSERT_THAT(got.reports, SizeIs(2));
  for (const FitReport& report : got.reports) {
    SCOPED_TRACE(title_of(report));
    EXPECT_GT(report.curve.points, 0U);
    EXPECT_LE(report.curve.median, 0.05);
    EXPECT_LE(report.interpolated.median, 0.05);
  }
}

}  // namespace
}  // namespace zebroid
