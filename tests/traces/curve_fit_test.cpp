#include "traces/curve_fit.hpp"

#include <gtest/gtest.h>

#include <cmath>

namespace zebroid {
namespace {

constexpr Peaks peaks = {{100e12}, {1e12}};
constexpr double memory_efficiency = 0.8;
constexpr double two_percent = 0.02;

KernelCurve curve_of(double efficiency, double half_size, double launch_us) {
  KernelCurve out;
  out.efficiency = efficiency;
  out.half_size = half_size;
  out.launch = {launch_us * 1e-6};
  out.memory_efficiency = memory_efficiency;
  return out;
}

TimedCall timed(const KernelCall& call, const KernelCurve& curve) {
  return {call, curve_time(call, curve, peaks)};
}

/// Square products and thin ones, as a curve says that they take.
std::vector<TimedCall> gemms(const KernelCurve& curve) {
  std::vector<TimedCall> out;
  for (double m = 16; m <= 16384; m *= 2) {
    for (const double n : {1024.0, 4096.0}) {
      out.push_back(timed(kernel_call(MeasuredOp::gemm, {m, n, 4096}, Direction::forward), curve));
    }
  }
  return out;
}

void expect_curve(const KernelCurve& got, const KernelCurve& expected) {
  EXPECT_NEAR(got.efficiency / expected.efficiency, 1, two_percent);
  EXPECT_NEAR(got.launch / expected.launch, 1, two_percent);
  if (expected.half_size > 0) {
    EXPECT_NEAR(got.half_size / expected.half_size, 1, two_percent);
  }
}

TEST(CurveFit, RecoversTheCurveOfGemms) {
  for (const KernelCurve& curve : {curve_of(0.6, 128, 8), curve_of(0.35, 40, 20)}) {
    expect_curve(fit_curve(gemms(curve), memory_efficiency, peaks), curve);
  }
}

TEST(CurveFit, RecoversTheCurveOfAttention) {
  const KernelCurve curve = curve_of(0.45, 400, 12);
  std::vector<TimedCall> calls;
  for (double length = 128; length <= 65536; length *= 2) {
    calls.push_back(timed(
        kernel_call(MeasuredOp::attention, {1, length, 32, 8, 128}, Direction::forward), curve));
  }
  expect_curve(fit_curve(calls, memory_efficiency, peaks), curve);
}

TEST(CurveFit, RecoversTheShareOfMemoryThatElementwiseKernelsReach) {
  KernelCurve curve = curve_of(0.7, 0, 4);
  curve.memory_efficiency = curve.efficiency;
  std::vector<TimedCall> calls;
  for (double bytes = 65536; bytes <= 1e9; bytes *= 2) {
    const KernelCall call =
        kernel_call(MeasuredOp::elementwise, {bytes}, Direction::forward, "add");
    calls.push_back({call, curve_time(call, curve, peaks)});
  }
  const KernelCurve got = fit_curve(calls, memory_efficiency, peaks);
  expect_curve(got, curve);
  EXPECT_EQ(got.half_size, 0);
}

TEST(CurveFit, CountsEveryOctaveTheSameHoweverManyPointsItHas) {
  // Points that no curve meets all: one size is 1.3 times as slow as the others say.
  std::vector<TimedCall> calls = gemms(curve_of(0.6, 128, 8));
  TimedCall slow = calls[12];
  slow.time = slow.time * 1.3;
  // Alone in its octave, it is copied; whatever else is in the octave stays.
  calls.erase(calls.begin() + 12);
  const auto octave = [](const TimedCall& c) { return std::floor(std::log2(c.call.flops.value)); };
  std::erase_if(calls, [&](const TimedCall& c) { return octave(c) == octave(slow); });
  std::vector<TimedCall> once = calls;
  once.push_back(slow);
  std::vector<TimedCall> often = calls;
  often.insert(often.end(), 1000, slow);
  const KernelCurve one = fit_curve(once, memory_efficiency, peaks);
  const KernelCurve many = fit_curve(often, memory_efficiency, peaks);
  EXPECT_NEAR(many.efficiency / one.efficiency, 1, two_percent);
  EXPECT_NEAR(many.launch / one.launch, 1, two_percent);
  EXPECT_NEAR(many.half_size / one.half_size, 1, two_percent);
}

TEST(CurveFit, OfOnePointMeetsIt) {
  const TimedCall call = gemms(curve_of(0.6, 128, 8)).back();
  const KernelCurve got = fit_curve({call}, memory_efficiency, peaks);
  EXPECT_NEAR(curve_time(call.call, got, peaks) / call.time, 1, two_percent);
  EXPECT_LE(got.efficiency, 1);
  EXPECT_GT(got.efficiency, 0);
}

TEST(CurveFit, OfTimesThatNothingExplainsStaysWithinItsLimits) {
  for (const double seconds : {1e-12, 1e9}) {
    const KernelCall call = kernel_call(MeasuredOp::gemm, {64, 64, 64}, Direction::forward);
    const KernelCurve got = fit_curve({{call, {seconds}}}, memory_efficiency, peaks);
    EXPECT_GE(got.efficiency, 1e-4);
    EXPECT_LE(got.efficiency, 1);
    EXPECT_GE(got.half_size, 0);
    EXPECT_GE(got.launch.value, 0);
    EXPECT_TRUE(std::isfinite(got.launch.value));
    EXPECT_TRUE(std::isfinite(got.half_size));
  }
}

}  // namespace
}  // namespace zebroid
