#include "core/exact_sum.hpp"

#include <cmath>
#include <limits>

namespace zebroid {
namespace {

constexpr int word_bits = 32;
constexpr int fraction_bits = 128;
constexpr int whole_bits = 127;
constexpr std::size_t beyond = ExactSum::size - 1;  // the word that counts what does not fit

}  // namespace

void ExactSum::add(double number) {
  if (!(number < std::ldexp(1.0, whole_bits))) {
    ++words_[beyond];
    return;
  }
  int exponent = 0;
  const double fraction = std::frexp(number, &exponent);
  constexpr int digits = std::numeric_limits<double>::digits;
  auto mantissa = static_cast<std::uint64_t>(std::ldexp(fraction, digits));
  int lowest = exponent - digits + fraction_bits;  // bit of the sum
  if (lowest < 0) {
    mantissa = lowest > -digits ? mantissa >> static_cast<unsigned>(-lowest) : 0;
    lowest = 0;
  }
  auto word = static_cast<std::size_t>(lowest / word_bits);
  const auto shift = static_cast<unsigned>(lowest % word_bits);
  for (; mantissa > 0; mantissa >>= static_cast<unsigned>(word_bits), ++word) {
    const std::uint64_t bits = (mantissa & UINT32_MAX) << shift;
    words_.at(word) += static_cast<std::int64_t>(bits & UINT32_MAX);
    words_.at(word + 1) += static_cast<std::int64_t>(bits >> static_cast<unsigned>(word_bits));
  }
}

double ExactSum::value() const {
  if (words_[beyond] != 0) return std::numeric_limits<double>::infinity();
  Words carried = words_;
  for (std::size_t w = 0; w < beyond; ++w) {
    carried.at(w + 1) += carried.at(w) >> word_bits;
    carried.at(w) &= UINT32_MAX;
  }
  if (carried[beyond] != 0) return std::numeric_limits<double>::infinity();
  double out = 0;
  for (std::size_t w = beyond; w-- > 0;) {
    const int exponent = static_cast<int>(w) * word_bits - fraction_bits;
    out += std::ldexp(static_cast<double>(carried.at(w)), exponent);
  }
  return out;
}

}  // namespace zebroid
