#include "report/landscape.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "core/error.hpp"

namespace zebroid {
namespace {

constexpr std::size_t most_cells = 100'000;

/// Words for the path, where there are shorter ones than itself.
void name_axis(LandscapeAxis& axis) {
  constexpr std::string_view cluster = "cluster.";
  const std::string_view path = axis.path;
  const bool top_level = path.find('.', cluster.size()) == std::string_view::npos;
  if (path == "training.sequence_length") {
    axis.label = "sequence length (tokens)";
    axis.lead = "sequence length ";
    axis.tail = " tokens";
  } else if (path == "training.global_batch_sequences") {
    axis.label = "global batch (sequences)";
    axis.lead = "global batch ";
    axis.tail = " sequences";
  } else if (path.starts_with(cluster) && path.size() > cluster.size() && top_level &&
             axis.numeric) {
    axis.label = fmt::format("{} GPUs", path.substr(cluster.size()));
    axis.tail = " " + axis.label;
  } else {
    axis.label = axis.path;
    axis.lead = axis.path + " ";
  }
}

[[noreturn]] void refuse(std::size_t line, std::string_view what) {
  throw Error(ErrorKind::input, fmt::format("sweep point {}: {}", line + 1, what));
}

void check(const Json& line, std::size_t number) {
  const auto has = [&line](const char* key, Json::value_t type) {
    return line.contains(key) && line[key].type() == type;
  };
  if (!line.is_object() || !has("schema", Json::value_t::string) ||
      line["schema"] != "zebroid.sweep-point/1") {
    refuse(number, "no zebroid.sweep-point/1 document");
  }
  if (!has("point", Json::value_t::object) || line["point"].empty()) {
    refuse(number, "'point' is no object with varied fields");
  }
  if (!has("results", Json::value_t::array)) refuse(number, "'results' is no list");
  for (const Json& result : line["results"]) {
    if (!result.is_object() || !result.contains("strategy") || !result["strategy"].is_string()) {
      refuse(number, "a result without a 'strategy'");
    }
  }
}

/// Values in use of one path.
using Values = std::map<Json, std::size_t>;  ///< number in order of appearance

std::vector<Values> values_of(std::span<const Json> points, std::vector<LandscapeAxis>& axes) {
  std::vector<Values> out(axes.size());
  for (std::size_t n = 0; n < points.size(); ++n) {
    check(points[n], n);
    const Json& point = points[n]["point"];
    bool same = point.size() == axes.size();
    for (std::size_t a = 0; same && a < axes.size(); ++a) {
      same = point.contains(axes[a].path);
      if (same && out[a].try_emplace(point[axes[a].path], out[a].size()).second) {
        axes[a].values.push_back(point[axes[a].path]);
      }
    }
    if (!same) refuse(n, "varies other fields than the first point");
  }
  return out;
}

/// Numbers ascend; positions in `values` follow.
void put_in_order(LandscapeAxis& axis, Values& values) {
  axis.numeric = std::all_of(axis.values.begin(), axis.values.end(),
                             [](const Json& value) { return value.is_number(); });
  name_axis(axis);
  if (!axis.numeric) return;
  std::sort(axis.values.begin(), axis.values.end());
  std::size_t position = 0;
  for (auto& [value, at] : values) at = position++;
}

void refuse_axes(const std::vector<LandscapeAxis>& axes) {
  std::string list;
  for (const LandscapeAxis& axis : axes) {
    if (axis.values.size() < 2) continue;
    list += fmt::format("{}{} ({})", list.empty() ? "" : ", ", axis.path, axis.values.size());
  }
  throw Error(ErrorKind::input,
              fmt::format("a picture of a sweep shows 1 to {} axes with more than one value, this "
                          "sweep has more: {}",
                          most_landscape_axes, list));
}

void check_size(const Landscape& landscape) {
  double cells = static_cast<double>(landscape.strategies.size());
  for (const LandscapeAxis& axis : landscape.axes) cells *= static_cast<double>(axis.values.size());
  if (cells <= static_cast<double>(most_cells)) return;
  throw Error(ErrorKind::input, fmt::format("a picture of a sweep has at most {} cells, this one "
                                            "would have {:.0f}",
                                            most_cells, cells));
}

std::vector<std::string> strategies_of(std::span<const Json> points) {
  std::vector<std::string> out;
  std::set<std::string> seen;
  for (const Json& line : points) {
    for (const Json& result : line["results"]) {
      auto name = result["strategy"].get<std::string>();
      if (seen.insert(name).second) out.push_back(std::move(name));
    }
  }
  if (out.empty()) throw Error(ErrorKind::input, "the sweep has no results");
  return out;
}

LandscapeCell cell_of(const Json& result, std::size_t line) {
  LandscapeCell out{.state = LandscapeState::unplanned, .tokens_per_s = 0, .result = &result};
  if (!result.contains("iteration_s")) return out;
  const auto speed = result.find("tokens_per_s");
  constexpr double least = 1e-9;  // keeps ratios and scales within double
  constexpr double most = 1e18;
  if (speed == result.end() || !speed->is_number() || !(speed->get<double>() >= least) ||
      !(speed->get<double>() <= most)) {
    refuse(line, "a result with 'iteration_s' and without 'tokens_per_s' from 1e-9 to 1e18");
  }
  out.tokens_per_s = speed->get<double>();
  const auto feasible = result.find("feasible");
  const bool fits = feasible != result.end() && feasible->is_boolean() && feasible->get<bool>();
  out.state = fits ? LandscapeState::fits : LandscapeState::over_memory;
  return out;
}

void fill(Landscape& landscape, std::span<const Json> points,
          const std::map<std::string, Values>& values) {
  std::map<std::string, std::size_t> numbers;
  for (const std::string& name : landscape.strategies) numbers.emplace(name, numbers.size());
  landscape.cells.resize(landscape.strategies.size());
  for (const LandscapeAxis& axis : landscape.axes) {
    landscape.cells.resize(landscape.cells.size() * axis.values.size());
  }
  for (std::size_t n = 0; n < points.size(); ++n) {
    LandscapePlace place{};
    for (std::size_t a = 0; a < landscape.axes.size(); ++a) {
      const std::string& path = landscape.axes[a].path;
      place.at(a) = values.at(path).at(points[n]["point"][path]);
    }
    for (const Json& result : points[n]["results"]) {
      const std::size_t strategy = numbers.at(result["strategy"].get<std::string>());
      LandscapeCell& cell = landscape.cells[landscape.index(strategy, place)];
      if (cell.result != nullptr) refuse(n, "a strategy has a second result at the same point");
      cell = cell_of(result, n);
    }
  }
}

}  // namespace

std::size_t Landscape::index(std::size_t strategy, const LandscapePlace& place) const {
  std::size_t out = strategy;
  for (std::size_t a = 0; a < axes.size(); ++a) out = out * axes[a].values.size() + place.at(a);
  return out;
}

Landscape read_landscape(std::span<const Json> points) {
  if (points.empty()) throw Error(ErrorKind::input, "the sweep has no points");
  check(points[0], 0);
  std::vector<LandscapeAxis> all;
  for (const auto& [path, value] : points[0]["point"].items()) all.push_back({.path = path});
  std::vector<Values> found = values_of(points, all);
  Landscape out;
  out.points = points.size();
  std::map<std::string, Values> values;
  for (std::size_t a = 0; a < all.size(); ++a) {
    put_in_order(all[a], found[a]);
    values.emplace(all[a].path, std::move(found[a]));
    (all[a].values.size() > 1 ? out.axes : out.fixed).push_back(all[a]);
  }
  if (out.axes.size() > most_landscape_axes) refuse_axes(all);
  if (out.axes.empty()) {
    out.axes.push_back(out.fixed.front());
    out.fixed.erase(out.fixed.begin());
  }
  out.strategies = strategies_of(points);
  check_size(out);
  fill(out, points, values);
  return out;
}

}  // namespace zebroid
