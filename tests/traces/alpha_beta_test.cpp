#include "traces/alpha_beta.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <cmath>
#include <functional>

namespace zebroid {
namespace {

using ::testing::SizeIs;

/// Powers of two from `first` to `last`.
std::vector<Transfer> transfers(double first, double last,
                                const std::function<double(double)>& time_us) {
  std::vector<Transfer> out;
  for (double bytes = first; bytes <= last; bytes *= 2) out.push_back({bytes, time_us(bytes)});
  return out;
}

constexpr double kilo = 1024;
constexpr double mega = 1024 * kilo;

TEST(AlphaBetaFit, RecoversOneLine) {
  // 20 us, 10 GB/s = 10000 bytes per us
  const auto got =
      fit_alpha_beta(transfers(kilo, 256 * mega, [](double bytes) { return 20 + bytes / 10000; }));
  ASSERT_THAT(got, SizeIs(1));
  EXPECT_EQ(got[0].from_bytes, kilo);
  EXPECT_NEAR(got[0].alpha_us, 20, 1e-6);
  EXPECT_NEAR(got[0].algbw_GBps, 10, 1e-6);
}

TEST(AlphaBetaFit, FindsWhereASecondRegimeBegins) {
  const auto got = fit_alpha_beta(transfers(kilo, 256 * mega, [](double bytes) {
    return bytes < mega ? 10 + bytes / 1000 : 200 + bytes / 20000;
  }));
  ASSERT_THAT(got, SizeIs(2));
  EXPECT_EQ(got[0].from_bytes, kilo);
  EXPECT_NEAR(got[0].alpha_us, 10, 1e-6);
  EXPECT_NEAR(got[0].algbw_GBps, 1, 1e-6);
  EXPECT_EQ(got[1].from_bytes, mega);
  EXPECT_NEAR(got[1].alpha_us, 200, 1e-6);
  EXPECT_NEAR(got[1].algbw_GBps, 20, 1e-6);
}

TEST(AlphaBetaFit, DoesNotSplitALineThatScattersALittle) {
  int sign = 1;
  const auto got = fit_alpha_beta(transfers(kilo, 256 * mega, [&](double bytes) {
    sign = -sign;
    return (20 + bytes / 10000) * (1 + 0.01 * sign);
  }));
  EXPECT_THAT(got, SizeIs(1));
}

TEST(AlphaBetaFit, HasNoAlphaBelowZero) {
  // Faster than in proportion: a line through it would begin below zero.
  const auto got = fit_alpha_beta(
      transfers(mega, 8 * mega, [](double bytes) { return std::pow(bytes / kilo, 1.2); }));
  for (const AlphaBeta& piece : got) EXPECT_GE(piece.alpha_us, 0);
}

TEST(AlphaBetaFit, HasNoRateBelowZeroWhereTimesFall) {
  const auto got = fit_alpha_beta(transfers(1, 8, [](double bytes) { return 50 - bytes; }));
  for (const AlphaBeta& piece : got) {
    EXPECT_GT(piece.algbw_GBps, 0);
    EXPECT_LE(piece.algbw_GBps, 1e9);
    EXPECT_NEAR(time_of({piece}, 4).value * 1e6, 46, 3);
  }
}

TEST(AlphaBetaFit, OfOneTransferIsItsRate) {
  const auto got = fit_alpha_beta({{mega, 100}});
  ASSERT_THAT(got, SizeIs(1));
  EXPECT_EQ(got[0].alpha_us, 0);
  EXPECT_NEAR(time_of(got, mega).value * 1e6, 100, 1e-9);
}

TEST(AlphaBetaFit, OfTwoTransfersGoesThroughBoth) {
  const auto got = fit_alpha_beta({{1000, 21}, {100000, 120}});
  ASSERT_THAT(got, SizeIs(1));
  EXPECT_NEAR(got[0].alpha_us, 20, 1e-9);
  EXPECT_NEAR(got[0].algbw_GBps, 1, 1e-9);
}

RC_GTEST_PROP(AlphaBetaFit, IsSoundForAnyTimes, ()) {
  std::vector<Transfer> given;
  double bytes = 0;
  const int count = *rc::gen::inRange(1, 40);
  for (int i = 0; i < count; ++i) {
    bytes += *rc::gen::inRange(1, 1 << 20);
    given.push_back({bytes, *rc::gen::inRange(1, 1000000) / 16.0});
  }
  const auto got = fit_alpha_beta(given);
  RC_ASSERT(!got.empty());
  RC_ASSERT(got.front().from_bytes == given.front().bytes);
  for (std::size_t i = 0; i < got.size(); ++i) {
    RC_ASSERT(i == 0 || got[i].from_bytes > got[i - 1].from_bytes);
    RC_ASSERT(got[i].alpha_us >= 0);
    RC_ASSERT(std::isfinite(got[i].alpha_us));
    RC_ASSERT(got[i].algbw_GBps > 0);
    RC_ASSERT(got[i].algbw_GBps <= 1e9);
  }
}

}  // namespace
}  // namespace zebroid
