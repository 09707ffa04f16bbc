#include "traces/decimal.hpp"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <cmath>

namespace zebroid {
namespace {

template <class Number>
std::optional<Number> parse_whole(std::string_view text) {
  Number out{};
  const char* const end = text.data() + text.size();
  const auto [at, failure] = std::from_chars(text.data(), end, out);
  if (at != end || failure != std::errc()) return std::nullopt;
  return out;
}

constexpr int most_exponent = 100'000;  // beyond any double, far from the ends of int

/// "1.5e3" with its exponent moved; "" when what follows the e is no exponent.
std::string shifted(std::string_view text, int exponent) {
  const std::size_t mark = text.find_first_of("eE");
  if (mark == std::string_view::npos) return fmt::format("{}e{}", text, exponent);
  std::string_view digits = text.substr(mark + 1);
  if (digits.starts_with("+") && !digits.starts_with("+-")) digits.remove_prefix(1);
  const auto own = parse_whole<int>(digits);
  if (!own || *own > most_exponent || *own < -most_exponent) return "";
  return fmt::format("{}e{}", text.substr(0, mark), *own + exponent);
}

/// digits[0].digits[1]... * 10^exponent without an exponent.
std::string positional(std::string digits, int exponent) {
  if (exponent < 0)
    return "0." + std::string(static_cast<std::size_t>(-exponent - 1), '0') + digits;
  const std::size_t whole = static_cast<std::size_t>(exponent) + 1;
  if (digits.size() <= whole) return digits + std::string(whole - digits.size(), '0');
  return digits.insert(whole, ".");
}

}  // namespace

std::optional<double> parse_decimal(std::string_view text, int exponent) {
  const auto out =
      exponent == 0 ? parse_whole<double>(text) : parse_whole<double>(shifted(text, exponent));
  return out && std::isfinite(*out) ? out : std::nullopt;
}

std::string decimal_text(double value, int exponent) {
  constexpr int least_positional = -6;
  constexpr int most_positional = 16;
  std::array<char, 32> buffer{};
  const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), std::abs(value),
                                 std::chars_format::scientific);
  const std::string_view text(buffer.data(), static_cast<std::size_t>(end.ptr - buffer.data()));
  const std::size_t mark = text.find('e');
  std::string digits(1, text[0]);
  if (mark > 2) digits += text.substr(2, mark - 2);
  std::string_view own = text.substr(mark + 1);
  if (own.starts_with("+")) own.remove_prefix(1);
  const int point = parse_whole<int>(own).value_or(0) - exponent;
  const std::string sign = std::signbit(value) ? "-" : "";
  if (value == 0) return sign + "0";
  if (point >= least_positional && point <= most_positional) {
    return sign + positional(digits, point);
  }
  if (digits.size() > 1) digits.insert(1, ".");
  return fmt::format("{}{}e{}", sign, digits, point);
}

}  // namespace zebroid
