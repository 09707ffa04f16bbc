#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <exception>
#include <optional>
#include <thread>

#include "cli/commands.hpp"
#include "cli/result.hpp"
#include "core/error.hpp"
#include "core/process.hpp"

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

using Point = std::vector<std::pair<std::string, Json>>;  ///< path and value of each field varied

/// The first axis varies slowest.
Point point_at(const std::vector<Axis>& axes, std::size_t number) {
  Point out;
  for (auto axis = axes.rbegin(); axis != axes.rend(); ++axis) {
    out.emplace_back(axis->path, axis->values[number % axis->values.size()]);
    number /= axis->values.size();
  }
  std::reverse(out.begin(), out.end());
  return out;
}

/// The line of a point, as yet without results.
Json line_of(const Point& point) {
  Json out;
  out["schema"] = "zebroid.sweep-point/1";
  Json& varied = out["point"] = Json::object();
  for (const auto& [path, value] : point) varied[path] = value;
  out["results"] = Json::array();
  return out;
}

Json no_result(const PlanRequest& request, const std::string& reason) {
  return {{"strategy", name_of(request.strategy)}, {"feasible", false}, {"reason", reason}};
}

/// For each strategy its result or why there is none.
Json run_point(const Resolver& resolver, const Point& point) {
  Json out = line_of(point);
  Json& results = out["results"];
  const auto without_result = [&](const PlanRequest& request, const Error& error) {
    if (error.kind() == ErrorKind::internal) throw error;
    results.push_back(no_result(request, error.what()));
  };
  try {
    const Scorer score = make_scorer(resolver.predictor().fast_fidelity());
    Resolved resolved = resolver.resolve(point);
    settle_batch(resolved, resolver.plans(), score);
    for (const PlanRequest& request : resolver.plans()) {
      try {
        Plan best = plan(resolved.scenario, request, score);
        const Prediction prediction = resolver.predictor().predict(best, resolved.scenario);
        results.push_back(result_json(best, prediction, resolved, request));
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
    Point point;
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

int sweep_command(const Request& request, const SweepRequest& sweep, const Output& output) {
  const Resolver resolver(request);
  std::vector<Axis> axes;
  std::size_t points = 1;
  constexpr std::size_t most_points = 10'000'000;
  for (const std::string& text : sweep.vary) {
    axes.push_back(parse_axis(text));
    points *= axes.back().values.size();
    if (points > most_points) {
      throw Error(ErrorKind::input, fmt::format("a sweep of more than {} points", most_points));
    }
  }
  constexpr std::uint64_t most_jobs = 1024;
  const std::size_t jobs = sweep.jobs ? parse_count("--jobs", *sweep.jobs, 1, most_jobs)
                                      : std::max(1U, std::thread::hardware_concurrency());
  check_axes(resolver, axes);
  Progress progress("points", points, output.quiet);
  double best = 0;
  std::size_t failed = 0;
  const auto work = [&](std::size_t p) { return to_text(run_point(resolver, point_at(axes, p))); };
  const auto done = [&](std::size_t p, ProcessResult result) {
    Json line;
    try {
      line = Json::parse(result.take());
    } catch (const Error& error) {  // costs this point, not the sweep
      ++failed;
      line = line_of(point_at(axes, p));
      for (const PlanRequest& plan : resolver.plans()) {
        line["results"].push_back(no_result(plan, error.what()));
      }
    }
    print_out(to_text(line) + "\n");
    for (const Json& result_line : line["results"]) {
      if (!result_line["feasible"].get<bool>()) continue;
      best = std::max(best, result_line["tokens_per_s"].get<double>());
    }
    progress.update(p + 1, best > 0 ? fmt::format("{:.0f} tokens/s", best) : "");
  };
  run_in_processes(
      points, work, done,
      {.jobs = jobs, .poll = stop_if_interrupted, .what = "the process of this point"});
  if (failed == 0) return 0;
  print_note(fmt::format("zebroid: {} of {} points failed; their lines say why", failed, points));
  return static_cast<int>(ErrorKind::internal);
}

}  // namespace zebroid
