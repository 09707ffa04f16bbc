#include "models/kernel_times.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "models/config_dir.hpp"
#include "models/cost_model.hpp"

namespace zebroid {
namespace {

constexpr double micro = 1e-6;

KernelCall gemm(double m, double n = 1024, double k = 1024) {
  return kernel_call(MeasuredOp::gemm, {m, n, k}, Direction::forward);
}

KernelCall attention(double length, Direction direction = Direction::forward) {
  return kernel_call(MeasuredOp::attention, {1, length, 8, 8, 128}, direction);
}

MeasuredTable table_of(MeasuredOp op, const std::vector<std::pair<Shape, double>>& times_us,
                       bool backward = false, const std::string& kernel = "") {
  std::vector<MeasuredPoint> points;
  for (const auto& [shape, time] : times_us) points.push_back({shape, time, 0, 1});
  return {{op, kernel, "bf16", backward}, {"a.csv"}, std::move(points)};
}

/// A GPU of 100 TFLOP/s and 1 TB/s of which kernels reach half, without constant part.
class KernelTimesOfHalf : public ::testing::Test {
 protected:
  KernelTimesOfHalf() {
    gpu_.name = "X";
    gpu_.half_peak = {100e12};
    gpu_.memory_bandwidth = {1e12};
    for (const KernelClass kernel :
         {KernelClass::gemm, KernelClass::attention_core, KernelClass::memory_bound}) {
      curve(kernel).efficiency = 0.5;
    }
    curve(KernelClass::attention_core).backward = 0.8;
  }

  KernelCurve& curve(KernelClass kernel) {
    return calibration_.gpus["X"].curves.at(static_cast<std::size_t>(kernel));
  }
  void add(const MeasuredTable& table, const std::string& gpu = "X") {
    calibration_.gpus[gpu].tables.push_back(table);
  }
  KernelTime time(const KernelCall& call) const { return KernelTimes(gpu_, calibration_).of(call); }
  double us(const KernelCall& call) const { return time(call).seconds.value / micro; }

  GpuSpec gpu_;
  Calibration calibration_;
};

TEST_F(KernelTimesOfHalf, WithoutATableAreTheCurves) {
  curve(KernelClass::gemm).launch = {3 * micro};
  curve(KernelClass::gemm).half_size = 512;
  const double math = 2.0 * 4096 * 1024 * 1024 / 50e12 / micro;
  EXPECT_NEAR(us(gemm(4096)), 3 + math * 1.5, 1e-9);
  EXPECT_EQ(time(gemm(4096)).table, nullptr);
  EXPECT_EQ(time(gemm(4096)).evidence, Evidence::roofline);
  curve(KernelClass::gemm).half_size = 0;
  // 1 row: bound by its 1024 * 1024 weights
  EXPECT_NEAR(us(gemm(1)), 3 + 2.0 * (1024 + 1024 * 1024 + 1024) / 0.5e12 / micro, 1e-9);
}

TEST_F(KernelTimesOfHalf, AtAMeasuredPointAreTheMeasuredTime) {
  add(table_of(MeasuredOp::gemm, {{{1024, 1024, 1024}, 77}, {{4096, 1024, 1024}, 310}}));
  EXPECT_NEAR(us(gemm(1024)), 77, 1e-9);
  EXPECT_EQ(time(gemm(1024)).evidence, Evidence::measured);
  EXPECT_NE(time(gemm(1024)).seconds, time(gemm(1024)).curve);
}

TEST_F(KernelTimesOfHalf, BetweenMeasuredPointsFollowTheCurve) {
  // Twice the curve at one end, half of it at the other: the curve itself in the middle.
  const double one = time(gemm(1024)).curve.value / micro;
  const double four = time(gemm(4096)).curve.value / micro;
  add(table_of(MeasuredOp::gemm, {{{1024, 1024, 1024}, one * 2}, {{4096, 1024, 1024}, four / 2}}));
  EXPECT_NEAR(us(gemm(2048)), time(gemm(2048)).curve.value / micro, 1e-9);
  EXPECT_EQ(time(gemm(2048)).evidence, Evidence::interpolated);
}

TEST_F(KernelTimesOfHalf, BeyondMeasuredPointsKeepTheLastRatioToTheCurve) {
  const double one = time(gemm(1024)).curve.value / micro;
  add(table_of(MeasuredOp::gemm, {{{1024, 1024, 1024}, one * 3}}));
  EXPECT_NEAR(us(gemm(65536)), 3 * time(gemm(65536)).curve.value / micro, 1e-6);
  EXPECT_EQ(time(gemm(65536)).evidence, Evidence::extrapolated);
}

TEST_F(KernelTimesOfHalf, ComeFromTheLargestTable) {
  add(table_of(MeasuredOp::gemm, {{{1024, 1024, 1024}, 50}}, false, "small"));
  add(table_of(MeasuredOp::gemm, {{{1024, 1024, 1024}, 60}, {{2048, 1024, 1024}, 120}}, false,
               "large"));
  EXPECT_NEAR(us(gemm(1024)), 60, 1e-9);
}

TEST_F(KernelTimesOfHalf, ScaleWithTheRateOfTheirClass) {
  const double curve_only = us(gemm(3));
  curve(KernelClass::gemm).rate = 2;
  EXPECT_NEAR(us(gemm(3)), curve_only / 2, 1e-9);
  add(table_of(MeasuredOp::gemm, {{{1024, 1024, 1024}, 80}}));
  EXPECT_NEAR(us(gemm(1024)), 40, 1e-9);
  EXPECT_EQ(time(gemm(1024)).evidence, Evidence::measured);
}

// --- kinds that are like others ---

TEST_F(KernelTimesOfHalf, OfAKindLikeAnotherTakeItsTableExtrapolated) {
  gpu_.like = "A40";
  gpu_.half_peak = find_gpu("A40").half_peak;
  gpu_.memory_bandwidth = find_gpu("A40").memory_bandwidth;
  add(table_of(MeasuredOp::gemm, {{{1024, 1024, 1024}, 77}}), "A40");
  EXPECT_NEAR(us(gemm(1024)), 77, 1e-9);
  EXPECT_EQ(time(gemm(1024)).evidence, Evidence::extrapolated);
}

TEST_F(KernelTimesOfHalf, OfAKindLikeAnotherScaleItsTableByThePeak) {
  gpu_.like = "A40";
  gpu_.half_peak = find_gpu("A40").half_peak * 2;
  gpu_.memory_bandwidth = find_gpu("A40").memory_bandwidth * 2;
  add(table_of(MeasuredOp::gemm, {{{1024, 1024, 1024}, 77}}), "A40");
  EXPECT_NEAR(us(gemm(1024)), 77.0 / 2, 1e-9);
}

TEST_F(KernelTimesOfHalf, PreferTheirOwnTableToThatOfTheKindThatTheyAreLike) {
  gpu_.like = "A40";
  add(table_of(MeasuredOp::gemm, {{{1024, 1024, 1024}, 77}, {{2048, 1024, 1024}, 150}}), "A40");
  add(table_of(MeasuredOp::gemm, {{{1024, 1024, 1024}, 55}}));
  EXPECT_NEAR(us(gemm(1024)), 55, 1e-9);
  EXPECT_EQ(time(gemm(1024)).evidence, Evidence::measured);
}

// --- attention ---

TEST_F(KernelTimesOfHalf, OfBackwardAttentionFromAForwardTableAreExtrapolated) {
  const double forward = time(attention(4096)).curve.value / micro;
  add(table_of(MeasuredOp::attention, {{{1, 4096, 8, 8, 128}, forward * 2}}));
  EXPECT_EQ(time(attention(4096)).evidence, Evidence::measured);
  const KernelTime backward = time(attention(4096, Direction::backward));
  EXPECT_EQ(backward.evidence, Evidence::extrapolated);
  EXPECT_NEAR(backward.seconds / backward.curve, 2, 1e-9);
  // five products against two, at 0.8 of the rate
  EXPECT_NEAR(backward.seconds / time(attention(4096)).seconds, 2.5 / 0.8, 1e-9);
}

TEST_F(KernelTimesOfHalf, OfBackwardAttentionFromABackwardTableAreGradedAsTheyAre) {
  add(table_of(MeasuredOp::attention, {{{1, 4096, 8, 8, 128}, 100}}));
  add(table_of(MeasuredOp::attention, {{{1, 4096, 8, 8, 128}, 300}, {{1, 8192, 8, 8, 128}, 1200}},
               true));
  EXPECT_NEAR(us(attention(4096, Direction::backward)), 300, 1e-9);
  EXPECT_EQ(time(attention(4096, Direction::backward)).evidence, Evidence::measured);
  EXPECT_EQ(time(attention(6000, Direction::backward)).evidence, Evidence::interpolated);
  EXPECT_EQ(time(attention(65536, Direction::backward)).evidence, Evidence::extrapolated);
}

TEST_F(KernelTimesOfHalf, OfASlidingWindowAreExtrapolatedFromFullAttention) {
  add(table_of(MeasuredOp::attention, {{{1, 4096, 8, 8, 128}, 1000}}));
  KernelCall windowed = attention(4096);
  windowed.as_measured = false;
  windowed.flops = windowed.flops / 4;
  EXPECT_EQ(time(windowed).evidence, Evidence::extrapolated);
  EXPECT_NEAR(us(windowed), 250, 1e-9);
}

// --- grouped products, elementwise kernels ---

TEST_F(KernelTimesOfHalf, OfAGroupedTableMakeAnExpertOpOneKernel) {
  MoeModel model;
  model.hidden = 1024;
  model.expert_ffn = 512;
  const auto calls = [&] {
    return CostModel(model, gpu_, calibration_).expert_calls(Direction::forward, 2048, 4);
  };
  EXPECT_FALSE(KernelTimes(gpu_, calibration_).has_grouped_gemm());
  EXPECT_GT(calls().size(), 1U);
  add(table_of(MeasuredOp::grouped_gemm, {{{2048, 4, 1024, 512}, 90}}));
  EXPECT_TRUE(KernelTimes(gpu_, calibration_).has_grouped_gemm());
  ASSERT_EQ(calls().size(), 1U);
  EXPECT_NEAR(us(calls()[0]), 90, 1e-9);
  EXPECT_EQ(time(calls()[0]).evidence, Evidence::measured);
}

TEST_F(KernelTimesOfHalf, OfAGroupedTableWithoutItsOwnCurveFollowThatOfDenseProducts) {
  curve(KernelClass::gemm).efficiency = 0.25;
  add(table_of(MeasuredOp::grouped_gemm, {{{65536, 4, 4096, 4096}, 1e6}}));
  const KernelCall call =
      kernel_call(MeasuredOp::grouped_gemm, {65536, 4, 4096, 4096}, Direction::forward);
  EXPECT_NEAR(time(call).curve.value, call.flops.value / 25e12, 1e-12);
}

TEST_F(KernelTimesOfHalf, OfElementwiseKernelsGoByTheirNames) {
  const auto call = [](const char* kernel) {
    return kernel_call(MeasuredOp::elementwise, {1048576}, Direction::forward, kernel);
  };
  add(table_of(MeasuredOp::elementwise, {{{1048576}, 11}}, false, "rms_norm"));
  add(table_of(MeasuredOp::elementwise, {{{1048576}, 12}, {{2097152}, 20}}, false, "add"));
  EXPECT_NEAR(us(call("rms_norm")), 11, 1e-9);
  EXPECT_NEAR(us(call("add")), 12, 1e-9);
  EXPECT_EQ(time(call("rope")).table, nullptr);
  EXPECT_EQ(time(call("rope")).evidence, Evidence::roofline);
}

}  // namespace
}  // namespace zebroid
