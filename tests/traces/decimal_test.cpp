#include "traces/decimal.hpp"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

namespace zebroid {
namespace {

TEST(Decimal, MovesThePointWithoutRounding) {
  EXPECT_EQ(parse_decimal("15.2875", -3), 0.0152875);
  EXPECT_EQ(parse_decimal("1.5e3", -6), 0.0015);
  EXPECT_EQ(parse_decimal("2E+1", -6), 2e-5);
  EXPECT_EQ(parse_decimal("7"), 7.0);
  EXPECT_EQ(parse_decimal("-7", 2), -700.0);
}

TEST(Decimal, IsTheWholeTextOrNothing) {
  for (const char* text : {"", " 1", "1 ", "1x", "x", "1,5", "nan", "inf", "-inf", "infinity",
                           "0x10", "1e", "e5", "1e5e5", "1e+-5", "1e999", "1e99999999999", "--1"}) {
    EXPECT_EQ(parse_decimal(text), std::nullopt) << text;
    EXPECT_EQ(parse_decimal(text, -6), std::nullopt) << text;
  }
}

TEST(Decimal, IsWrittenAsPeopleDo) {
  EXPECT_EQ(decimal_text(4096), "4096");
  EXPECT_EQ(decimal_text(0.0152875, -6), "15287.5");
  EXPECT_EQ(decimal_text(2e-6, -6), "2");
  EXPECT_EQ(decimal_text(1e-9, -6), "0.001");
  EXPECT_EQ(decimal_text(1.25e-20), "1.25e-20");
  EXPECT_EQ(decimal_text(1e22), "1e22");
  EXPECT_EQ(decimal_text(0), "0");
  EXPECT_EQ(decimal_text(-0.5), "-0.5");
}

RC_GTEST_PROP(Decimal, GivesBackEveryFiniteNumberInAnyUnit, (std::uint64_t bits)) {
  const double value = std::bit_cast<double>(bits);
  RC_PRE(std::isfinite(value));
  const int exponent = *rc::gen::inRange(-9, 10);
  RC_ASSERT(parse_decimal(decimal_text(value, exponent), exponent) == std::optional(value));
}

}  // namespace
}  // namespace zebroid
