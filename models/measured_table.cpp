#include "models/measured_table.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <boost/geometry.hpp>
#include <boost/geometry/index/rtree.hpp>
#include <cmath>
#include <iterator>
#include <limits>
#include <optional>
#include <utility>

#include "core/error.hpp"

namespace zebroid {
namespace {

namespace bg = boost::geometry;
using LogPoint = bg::model::point<double, most_axes, bg::cs::cartesian>;
using Entry = std::pair<LogPoint, std::uint32_t>;
using Tree = bg::index::rtree<Entry, bg::index::rstar<16>>;

constexpr std::size_t neighbours = 4;
constexpr double widest_gap = 2;     // octaves between two points of a bracket
constexpr double farthest_near = 1;  // octaves to each of several points around a shape

using Logs = std::array<double, most_axes>;

Logs log_of(const Shape& shape) {
  Logs out{};
  for (std::size_t a = 0; a < most_axes; ++a)
    out.at(a) = shape.at(a) > 0 ? std::log2(shape.at(a)) : 0;
  return out;
}

LogPoint point_of(const Logs& logs) {
  LogPoint out;
  bg::set<0>(out, logs[0]);
  bg::set<1>(out, logs[1]);
  bg::set<2>(out, logs[2]);
  bg::set<3>(out, logs[3]);
  bg::set<4>(out, logs[4]);
  return out;
}

double distance(const Logs& a, const Logs& b) {
  double sum = 0;
  for (std::size_t i = 0; i < most_axes; ++i) sum += (a.at(i) - b.at(i)) * (a.at(i) - b.at(i));
  return std::sqrt(sum);
}

/// Orders shapes by all axes but one, then by that one: shapes that differ in it alone stand
/// together.
struct AlongAxis {
  std::size_t axis;

  bool same_column(const Shape& a, const Shape& b) const {
    for (std::size_t i = 0; i < most_axes; ++i) {
      if (i != axis && a.at(i) != b.at(i)) return false;
    }
    return true;
  }
  bool operator()(const Shape& a, const Shape& b) const {
    for (std::size_t i = 0; i < most_axes; ++i) {
      if (i != axis && a.at(i) != b.at(i)) return a.at(i) < b.at(i);
    }
    return a.at(axis) < b.at(axis);
  }
};

}  // namespace

struct MeasuredTable::Data {
  Key key;
  std::vector<std::string> sources;
  std::vector<MeasuredPoint> points;
  std::vector<Logs> logs;                                   // [points]
  std::array<std::vector<std::uint32_t>, most_axes> along;  // [axes][points] by AlongAxis
  Tree tree;

  std::size_t axes() const { return axes_of(key.op).size(); }
  bool bracket(const Shape& shape, const Logs& at, std::size_t axis, Estimate& out) const;
  void nearest(const Logs& at, Estimate& out) const;
};

MeasuredTable::MeasuredTable(Key key, std::vector<std::string> sources,
                             std::vector<MeasuredPoint> points) {
  auto data = std::make_shared<Data>();
  ensure(!points.empty(), "a measured table has a point");
  std::sort(points.begin(), points.end(),
            [](const MeasuredPoint& a, const MeasuredPoint& b) { return a.shape < b.shape; });
  data->key = std::move(key);
  data->sources = std::move(sources);
  data->points = std::move(points);
  std::vector<Entry> entries;
  for (std::uint32_t p = 0; p < data->points.size(); ++p) {
    data->logs.push_back(log_of(data->points[p].shape));
    entries.emplace_back(point_of(data->logs.back()), p);
  }
  data->tree = Tree(entries);
  for (std::size_t axis = 0; axis < data->axes(); ++axis) {
    auto& order = data->along.at(axis);
    for (std::uint32_t p = 0; p < data->points.size(); ++p) order.push_back(p);
    const AlongAxis less{axis};
    std::sort(order.begin(), order.end(), [&](std::uint32_t a, std::uint32_t b) {
      return less(data->points[a].shape, data->points[b].shape);
    });
  }
  data_ = std::move(data);
}

const MeasuredTable::Key& MeasuredTable::key() const { return data_->key; }
const std::vector<std::string>& MeasuredTable::sources() const { return data_->sources; }
const std::vector<MeasuredPoint>& MeasuredTable::points() const { return data_->points; }

/// Adds the two points of the shape's column along `axis` that it lies between, or the one that it
/// is, with weights that sum to 1. False where there are none.
bool MeasuredTable::Data::bracket(const Shape& shape, const Logs& at, std::size_t axis,
                                  Estimate& out) const {
  const AlongAxis less{axis};
  const auto& order = along.at(axis);
  const auto above =
      std::lower_bound(order.begin(), order.end(), shape,
                       [&](std::uint32_t p, const Shape& s) { return less(points[p].shape, s); });
  if (above == order.end() || !less.same_column(points[*above].shape, shape)) return false;
  const double high = logs[*above].at(axis);
  if (points[*above].shape == shape) {
    out.add({*above, 1});
    out.evidence = Evidence::measured;
    return true;
  }
  if (above == order.begin()) return false;
  const auto below = std::prev(above);
  if (!less.same_column(points[*below].shape, shape)) return false;
  const double low = logs[*below].at(axis);
  if (high - low > widest_gap) return false;
  const double share = (at.at(axis) - low) / (high - low);
  out.add({*below, 1 - share});
  out.add({*above, share});
  return true;
}

void MeasuredTable::Data::nearest(const Logs& at, Estimate& out) const {
  std::vector<std::pair<double, std::uint32_t>> found;  // {distance, point}
  for (auto it = tree.qbegin(bg::index::nearest(point_of(at), neighbours)); it != tree.qend();
       ++it) {
    found.emplace_back(distance(logs[it->second], at), it->second);
  }
  std::sort(found.begin(), found.end());  // equally far ones too come in one order
  const std::uint32_t nearest_point = found.front().second;
  std::erase_if(found, [](const auto& entry) { return entry.first > farthest_near; });
  bool inside = !found.empty();
  for (std::size_t a = 0; a < axes() && inside; ++a) {
    double low = std::numeric_limits<double>::infinity();
    double high = -low;
    for (const auto& [far, p] : found) {
      low = std::min(low, logs[p].at(a));
      high = std::max(high, logs[p].at(a));
    }
    inside = low <= at.at(a) && at.at(a) <= high;
  }
  if (!inside) {
    out.add({nearest_point, 1});
    out.evidence = Evidence::extrapolated;
    return;
  }
  double sum = 0;
  for (const auto& [far, p] : found) sum += 1 / (far * far);
  for (const auto& [far, p] : found) out.add({p, 1 / (far * far) / sum});
  out.evidence = Evidence::interpolated;
}

Estimate MeasuredTable::estimate(const Shape& shape) const {
  Shape whole{};
  for (std::size_t a = 0; a < most_axes; ++a)
    whole.at(a) = std::max(std::round(shape.at(a)), a < data_->axes() ? 1.0 : 0.0);
  const Logs at = log_of(whole);
  Estimate out;
  double sum = 0;
  for (std::size_t axis = 0; axis < data_->axes(); ++axis) {
    const std::size_t before = out.size;
    if (!data_->bracket(whole, at, axis, out)) continue;
    if (out.evidence == Evidence::measured) {
      Estimate exact;
      exact.add(out.parts.at(before));
      exact.evidence = Evidence::measured;
      return exact;
    }
    // Narrow brackets know more.
    const double gap = distance(data_->logs[out.parts.at(before).point],
                                data_->logs[out.parts.at(before + 1).point]);
    for (std::size_t p = before; p < out.size; ++p) out.parts.at(p).weight /= gap * gap;
    sum += 1 / (gap * gap);
  }
  if (out.size == 0) {
    data_->nearest(at, out);
    return out;
  }
  for (std::size_t p = 0; p < out.size; ++p) out.parts.at(p).weight /= sum;
  out.evidence = Evidence::interpolated;
  return out;
}

Json MeasuredTable::to_json() const {
  Json out;
  out["op"] = name_of(key().op);
  out["kernel"] = key().kernel;
  out["dtype"] = key().dtype;
  out["direction"] = key().backward ? "backward" : "forward";
  out["sources"] = sources();
  Json& rows = out["points"] = Json::array();
  for (const MeasuredPoint& point : points()) {
    Json row = Json::array();
    for (std::size_t a = 0; a < data_->axes(); ++a) row.push_back(point.shape.at(a));
    row.push_back(point.time_us);
    row.push_back(point.source);
    row.push_back(point.line);
    rows.push_back(std::move(row));
  }
  return out;
}

std::optional<MeasuredTable> MeasuredTable::read(const JsonView& view) {
  constexpr double largest = 1e13;
  constexpr double longest_us = 1e10;
  constexpr std::int64_t most_lines = 1'000'000'000;
  const std::size_t before = view.faults().all().size();
  view.only_keys({"op", "kernel", "dtype", "direction", "sources", "points"});
  Key key;
  std::vector<std::string> ops;
  for (std::size_t o = 0; o < measured_op_count; ++o) {
    ops.emplace_back(name_of(static_cast<MeasuredOp>(o)));
  }
  const std::string op = view.at("op").name_of("operation", ops);
  key.op = static_cast<MeasuredOp>(std::find(ops.begin(), ops.end(), op) - ops.begin());
  key.kernel = view.at("kernel").text();
  const bool collective = is_collective(key.op);
  key.dtype = collective ? view.at("dtype").text()
                         : view.at("dtype").name_of("half precision", {"bf16", "fp16"});
  key.backward = view.at("direction").name_of("direction", {"forward", "backward"}) == "backward";
  std::vector<std::string> sources;
  for (const JsonView& source : view.at("sources").elements()) sources.push_back(source.text());
  const auto most_source = static_cast<std::int64_t>(sources.size()) - 1;
  if (sources.empty()) view.at("sources").fault("expected at least one file");
  if (view.faults().all().size() > before) return std::nullopt;

  const std::size_t axes = axes_of(key.op).size();
  std::vector<MeasuredPoint> points;
  for (const JsonView& row : view.at("points").elements()) {
    const std::vector<JsonView> cells = row.elements();
    if (cells.size() != axes + 3) {
      row.fault(fmt::format("expected {} sizes, time_us, source and line", axes));
      return std::nullopt;
    }
    MeasuredPoint& point = points.emplace_back();
    for (std::size_t a = 0; a < axes; ++a) point.shape.at(a) = cells[a].number(1, largest);
    point.time_us = cells[axes].number(1e-6, longest_us);
    point.source = static_cast<std::uint32_t>(cells[axes + 1].integer(0, most_source));
    point.line = static_cast<std::uint32_t>(cells[axes + 2].integer(0, most_lines));
    if (view.faults().all().size() > before) return std::nullopt;
  }
  if (points.empty()) view.at("points").fault("expected at least one measured point");
  const bool one_group = std::all_of(points.begin(), points.end(), [&](const MeasuredPoint& point) {
    const Shape& first = points.front().shape;
    return !collective || (point.shape[1] == first[1] && point.shape[2] == first[2]);
  });
  if (!one_group) view.at("points").fault("expected groups of one shape: a table for each");
  std::vector<Shape> shapes;
  for (const MeasuredPoint& point : points) shapes.push_back(point.shape);
  std::sort(shapes.begin(), shapes.end());
  if (const auto twice = std::adjacent_find(shapes.begin(), shapes.end()); twice != shapes.end()) {
    view.at("points").fault(fmt::format("{} is there twice", text_of(key.op, *twice)));
  }
  if (view.faults().all().size() > before) return std::nullopt;
  return MeasuredTable(std::move(key), std::move(sources), std::move(points));
}

std::string text_of(MeasuredOp op, const Shape& shape) {
  std::string out;
  const auto& axes = axes_of(op);
  for (std::size_t a = 0; a < axes.size(); ++a) {
    out += fmt::format("{}{}={:.0f}", a > 0 ? " " : "", axes[a],
                       std::max(1.0, std::round(shape.at(a))));
  }
  return out;
}

}  // namespace zebroid
