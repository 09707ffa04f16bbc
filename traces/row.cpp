#include "traces/row.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>
#include <limits>
#include <utility>

#include "traces/decimal.hpp"

namespace zebroid {
namespace {

constexpr double tiny = std::numeric_limits<double>::denorm_min();  // the least above 0
constexpr double huge = std::numeric_limits<double>::max();

std::string lower(std::string text) {
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

std::optional<int> exponent_of(std::string_view unit) {
  constexpr std::array<std::pair<std::string_view, int>, 9> units = {{{"s", 0},
                                                                      {"sec", 0},
                                                                      {"ms", -3},
                                                                      {"msec", -3},
                                                                      {"us", -6},
                                                                      {"usec", -6},
                                                                      {"\xC2\xB5s", -6},  // micro
                                                                      {"\xCE\xBCs", -6},  // mu
                                                                      {"ns", -9}}};
  for (const auto& [name, exponent] : units) {
    if (name == unit) return exponent;
  }
  return std::nullopt;
}

bool is_time(std::string_view name) {
  return name.starts_with("time") || name.starts_with("latency");
}

/// Splits "latency (us)" and "latency_us" into base and exponent of the unit.
std::pair<std::string, std::optional<int>> split_unit(const std::string& name) {
  constexpr std::string_view before = " _([";
  std::string_view rest = name;
  if (rest.ends_with(')') || rest.ends_with(']')) rest.remove_suffix(1);
  const std::size_t mark = rest.find_last_of(before);
  if (mark == std::string_view::npos) return {name, std::nullopt};
  const auto exponent = exponent_of(rest.substr(mark + 1));
  if (!exponent) return {name, std::nullopt};
  const std::size_t end = rest.find_last_not_of(before, mark);
  return {std::string(rest.substr(0, end == std::string_view::npos ? 0 : end + 1)), exponent};
}

}  // namespace

Header::Header(const std::vector<std::string>& names) {
  for (const std::string& written : names) {
    const std::size_t at = names_.size();
    names_.push_back(lower(written));
    const std::string& name = names_.back();
    if (name.empty()) continue;
    if (!position_.emplace(name, at).second) said_twice_ = name;
    if (!is_time(name)) continue;
    auto [base, exponent] = split_unit(name);
    if (!times_.emplace(base, TimeColumn{at, exponent}).second) said_twice_ = base;
  }
}

std::optional<std::size_t> Header::find(std::string_view name) const {
  const auto found = position_.find(name);
  if (found == position_.end()) return std::nullopt;
  return found->second;
}

std::optional<TimeColumn> Header::time(std::string_view base) const {
  const auto found = times_.find(base);
  if (found == times_.end()) return std::nullopt;
  return found->second;
}

std::string_view Row::text(std::string_view name) const {
  const auto position = header_.find(name);
  return position ? std::string_view(fields_[*position]) : std::string_view();
}

double Row::number(std::string_view name, std::string_view what, double low, double high) {
  const std::string_view field = text(name);
  const auto value = parse_decimal(field);
  if (value && *value >= low && *value <= high) return *value;
  refuse(fmt::format("{}: {}", name, expected(what, field)));
  return std::max(low, 0.0);
}

double Row::size(std::string_view name) {
  return number(name, "a size above 0 and up to 1e12", tiny, most_size);
}

double Row::whole(std::string_view name, double most) {
  const double value = number(name, fmt::format("a whole number from 1 to {:g}", most), 1, most);
  if (value == std::floor(value)) return value;
  refuse(fmt::format("{}: {}", name, expected("a whole number", text(name))));
  return 1;
}

double Row::at_least_0(std::string_view name) {
  return number(name, "a number of at least 0", 0, huge);
}

bool Row::has_time(std::string_view base) const {
  const auto column = header_.time(base);
  return column && !fields_[column->position].empty();
}

double Row::time_at(std::string_view base, int exponent, std::string_view what, double low) {
  const auto column = header_.time(base);
  const std::string_view field = column ? std::string_view(fields_[column->position]) : "";
  const auto value = parse_decimal(field, column ? column->exponent.value_or(exponent) : exponent);
  if (value && *value >= low) return *value;
  refuse(expected(what, field));
  return low;
}

Seconds Row::time(std::string_view base, int exponent) {
  return {time_at(base, exponent, "a time above 0", tiny)};
}

Seconds Row::spread(std::string_view base, int exponent) {
  return {time_at(base, exponent, "a standard deviation of at least 0", 0)};
}

void Row::refuse(std::string_view message) {
  if (ok_) complaints_.add(line_, message);
  ok_ = false;
}

}  // namespace zebroid
