#include "cli/sweep_points.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <exception>
#include <optional>

#include "core/error.hpp"

namespace zebroid {
namespace {

/// "2:12" or "2:12:2", both ends included; nothing when it is no range.
std::optional<std::vector<Json>> parse_range(std::string_view text) {
  std::vector<std::int64_t> parts;
  const char* at = text.data();
  const char* const end = text.data() + text.size();
  for (;;) {
    std::int64_t number = 0;
    const auto [next, failure] = std::from_chars(at, end, number);
    if (failure != std::errc()) return std::nullopt;
    parts.push_back(number);
    at = next;
    if (at == end) break;
    if (*at++ != ':') return std::nullopt;
  }
  constexpr std::size_t with_step = 3;
  if (parts.size() < 2 || parts.size() > with_step) return std::nullopt;
  const std::int64_t step = parts.size() == with_step ? parts[2] : 1;
  constexpr std::int64_t most = 1'000'000;
  const bool sane = step >= 1 && parts[0] >= -most * most && parts[1] <= most * most &&
                    parts[1] >= parts[0] && (parts[1] - parts[0]) / step < most;
  if (!sane) {
    throw Error(
        ErrorKind::input,
        fmt::format("--vary: expected FROM:TO or FROM:TO:STEP with FROM <= TO, STEP >= 1 and at "
                    "most {} values, got '{}'",
                    most, text));
  }
  std::vector<Json> out;
  for (std::int64_t v = parts[0]; v <= parts[1]; v += step) out.emplace_back(v);
  return out;
}

/// "a,b,c".
std::vector<Json> parse_list(const std::string& text, const std::string& values) {
  std::vector<Json> out;
  for (std::size_t begin = 0; begin <= values.size();) {
    const std::size_t comma = std::min(values.find(',', begin), values.size());
    if (comma == begin) {
      throw Error(ErrorKind::input, fmt::format("--vary: a value is missing in '{}'", text));
    }
    out.push_back(parse_setting("v=" + values.substr(begin, comma - begin)).second);
    begin = comma + 1;
  }
  return out;
}

}  // namespace

SweepPoints::Axis SweepPoints::parse_axis(const std::string& text) {
  const auto equals = text.find('=');
  if (equals == std::string::npos || equals == 0 || equals + 1 == text.size()) {
    throw Error(ErrorKind::input, fmt::format("--vary: expected PATH=VALUES, got '{}'", text));
  }
  Axis axis{text.substr(0, equals), {}, {}};
  const std::string values = text.substr(equals + 1);
  auto range = parse_range(values);
  axis.values = range ? std::move(*range) : parse_list(text, values);
  for (const Json& value : axis.values) axis.identities.push_back(identity_of(value));
  return axis;
}

SweepPoints::SweepPoints(const std::vector<std::string>& vary) {
  constexpr std::size_t most_points = 10'000'000;
  for (const std::string& text : vary) {
    axes_.push_back(parse_axis(text));
    size_ *= axes_.back().values.size();
    if (size_ > most_points) {
      throw Error(ErrorKind::input, fmt::format("a sweep of more than {} points", most_points));
    }
  }
}

std::size_t SweepPoints::dimensions() const {
  return static_cast<std::size_t>(std::count_if(
      axes_.begin(), axes_.end(), [](const Axis& axis) { return axis.values.size() > 1; }));
}

std::vector<std::size_t> SweepPoints::positions(std::size_t number) const {
  std::vector<std::size_t> out(axes_.size());
  for (std::size_t a = axes_.size(); a-- > 0; number /= axes_[a].values.size()) {
    out[a] = number % axes_[a].values.size();
  }
  return out;
}

Point SweepPoints::at(std::size_t number) const {
  const std::vector<std::size_t> at = positions(number);
  Point out;
  for (std::size_t a = 0; a < axes_.size(); ++a) {
    out.emplace_back(axes_[a].path, axes_[a].values[at[a]]);
  }
  return out;
}

std::string SweepPoints::identity(std::size_t number) const {
  const std::vector<std::size_t> at = positions(number);
  std::string out;
  for (std::size_t a = 0; a < axes_.size(); ++a) {
    out += axes_[a].path + "=" + axes_[a].identities[at[a]] + "\n";
  }
  return out;
}

void SweepPoints::check(const Resolver& resolver) const {
  constexpr std::size_t most_tried = 1000;
  std::size_t longest = 0;
  for (const Axis& axis : axes_) longest = std::max(longest, axis.values.size());
  std::exception_ptr first;
  for (std::size_t i = 0; i < std::min(longest, most_tried); ++i) {
    Point point;
    for (const Axis& axis : axes_) {
      point.emplace_back(axis.path, axis.values[std::min(i, axis.values.size() - 1)]);
    }
    try {
      resolver.resolve(point);
      return;
    } catch (const Error&) {
      if (!first) first = std::current_exception();
    }
  }
  std::rethrow_exception(first);
}

}  // namespace zebroid
