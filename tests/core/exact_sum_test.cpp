#include "core/exact_sum.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

namespace zebroid {
namespace {

ExactSum sum_of(const std::vector<double>& numbers) {
  ExactSum out;
  for (const double number : numbers) out.add(number);
  return out;
}

std::vector<double> some_numbers(std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::uniform_real_distribution<double> mantissa(1, 2);
  std::uniform_int_distribution<int> exponent(-60, 60);
  std::vector<double> out(1000);
  for (double& number : out) number = std::ldexp(mantissa(random), exponent(random));
  return out;
}

TEST(ExactSum, HoldsOneNumberAsItIs) {
  for (const double number : {0.0, 1.0, 0.1, 1e-9, 3.5e20, std::ldexp(1.0, -128),
                              std::nextafter(std::ldexp(1.0, 127), 0)}) {
    EXPECT_EQ(sum_of({number}).value(), number);
  }
}

TEST(ExactSum, DropsWhatIsBelowItsLastBit) {
  EXPECT_EQ(sum_of({std::ldexp(1.0, -129)}).value(), 0);
  EXPECT_EQ(sum_of({std::ldexp(1.5, -128)}).value(), std::ldexp(1.0, -128));
  EXPECT_EQ(sum_of({std::numeric_limits<double>::denorm_min()}).value(), 0);
}

TEST(ExactSum, LosesNoSmallNumberBesideALargeOne) {
  std::vector<double> numbers(1U << 12U, std::ldexp(1.0, -60));
  numbers.insert(numbers.begin(), 1);
  EXPECT_EQ(sum_of(numbers).value(), 1 + std::ldexp(1.0, -48));
}

TEST(ExactSum, HasTheSameBitsInAnyOrderAndOnAnyRanks) {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    std::vector<double> numbers = some_numbers(seed);
    const ExactSum expected = sum_of(numbers);
    std::shuffle(numbers.begin(), numbers.end(), std::mt19937_64(seed));
    EXPECT_EQ(sum_of(numbers).words(), expected.words());
    ExactSum first = sum_of({numbers.begin(), numbers.begin() + 300});
    const ExactSum second = sum_of({numbers.begin() + 300, numbers.end()});
    for (std::size_t w = 0; w < ExactSum::size; ++w) first.words().at(w) += second.words().at(w);
    EXPECT_EQ(first.value(), expected.value());
    double plain = 0;
    for (const double number : numbers) plain += number;
    EXPECT_NEAR(first.value(), plain, 1e-12 * plain);
  }
}

TEST(ExactSum, IsInfiniteBeyondItsRange) {
  for (const double number : {std::ldexp(1.0, 127), std::numeric_limits<double>::infinity(),
                              std::numeric_limits<double>::quiet_NaN()}) {
    EXPECT_TRUE(std::isinf(sum_of({1, number, 1}).value())) << number;
  }
  const double half = std::ldexp(1.0, 126);
  EXPECT_TRUE(std::isfinite(sum_of({half, half, half}).value()));
  EXPECT_TRUE(std::isinf(sum_of({half, half, half, half}).value()));
}

}  // namespace
}  // namespace zebroid
