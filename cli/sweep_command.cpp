#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <exception>
#include <optional>

#include "cli/commands.hpp"
#include "cli/result.hpp"
#include "core/error.hpp"

namespace zebroid {
namespace {

struct Axis {
  std::string path;
  std::vector<Json> values;
};

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

Axis parse_axis(const std::string& text) {
  const auto equals = text.find('=');
  if (equals == std::string::npos || equals == 0 || equals + 1 == text.size()) {
    throw Error(ErrorKind::input, fmt::format("--vary: expected PATH=VALUES, got '{}'", text));
  }
  Axis axis{text.substr(0, equals), {}};
  const std::string values = text.substr(equals + 1);
  if (auto range = parse_range(values)) {
    axis.values = std::move(*range);
    return axis;
  }
  for (std::size_t begin = 0; begin <= values.size();) {
    const std::size_t comma = std::min(values.find(',', begin), values.size());
    if (comma == begin) {
      throw Error(ErrorKind::input, fmt::format("--vary: a value is missing in '{}'", text));
    }
    axis.values.push_back(parse_setting("v=" + values.substr(begin, comma - begin)).second);
    begin = comma + 1;
  }
  return axis;
}

/// One line: what was varied, and for each strategy its result or why there is none.
Json run_point(const Resolver& resolver, const std::vector<std::pair<std::string, Json>>& point) {
  Json out;
  out["schema"] = "zebroid.sweep-point/1";
  Json& varied = out["point"] = Json::object();
  for (const auto& [path, value] : point) varied[path] = value;
  Json& results = out["results"] = Json::array();
  const auto without_result = [&](const PlanRequest& request, const Error& error) {
    if (error.kind() == ErrorKind::internal) throw error;
    results.push_back(
        {{"strategy", name_of(request.strategy)}, {"feasible", false}, {"reason", error.what()}});
  };
  try {
    Resolved resolved = resolver.resolve(point);
    settle_batch(resolved, resolver.plans());
    for (const PlanRequest& request : resolver.plans()) {
      try {
        results.push_back(
            result_json(plan(resolved.scenario, request, make_scorer()), resolved, request));
      } catch (const Error& error) {
        without_result(request, error);
      }
    }
  } catch (const Error& error) {
    for (const PlanRequest& request : resolver.plans()) without_result(request, error);
  }
  return out;
}

/// Throws what is wrong with the first values when no scenario can be read whichever values are
/// set: a field does not exist, or its values are all out of range.
void check_axes(const Resolver& resolver, const std::vector<Axis>& axes) {
  constexpr std::size_t most_tried = 1000;
  std::size_t longest = 0;
  for (const Axis& axis : axes) longest = std::max(longest, axis.values.size());
  std::exception_ptr first;
  for (std::size_t i = 0; i < std::min(longest, most_tried); ++i) {
    std::vector<std::pair<std::string, Json>> point;
    for (const Axis& axis : axes) {
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

}  // namespace

int sweep_command(const Request& request, const std::vector<std::string>& vary,
                  const Output& output) {
  const Resolver resolver(request);
  std::vector<Axis> axes;
  std::size_t points = 1;
  constexpr std::size_t most_points = 10'000'000;
  for (const std::string& text : vary) {
    axes.push_back(parse_axis(text));
    points *= axes.back().values.size();
    if (points > most_points) {
      throw Error(ErrorKind::input, fmt::format("a sweep of more than {} points", most_points));
    }
  }
  check_axes(resolver, axes);
  Progress progress("points", points, output.quiet);
  double best = 0;
  for (std::size_t p = 0; p < points; ++p) {
    stop_if_interrupted();
    std::vector<std::pair<std::string, Json>> point;
    std::size_t rest = p;
    for (auto axis = axes.rbegin(); axis != axes.rend(); ++axis) {  // the last axis varies fastest
      point.emplace_back(axis->path, axis->values[rest % axis->values.size()]);
      rest /= axis->values.size();
    }
    std::reverse(point.begin(), point.end());
    const Json line = run_point(resolver, point);
    print_out(to_text(line) + "\n");
    for (const Json& result : line["results"]) {
      if (result["feasible"].get<bool>())
        best = std::max(best, result["tokens_per_s"].get<double>());
    }
    progress.update(p + 1, best > 0 ? fmt::format("{:.0f} tokens/s", best) : "");
  }
  return 0;
}

}  // namespace zebroid
