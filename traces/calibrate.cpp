#include "traces/calibrate.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <map>
#include <numeric>
#include <optional>
#include <set>
#include <utility>

#include "core/error.hpp"
#include "models/collective_times.hpp"
#include "traces/alpha_beta.hpp"
#include "traces/curve_fit.hpp"
#include "traces/measured_group.hpp"

namespace zebroid {
namespace {

constexpr double micro = 1e-6;

HeldOut summary(std::vector<double> errors) {
  if (errors.empty()) return {};
  std::sort(errors.begin(), errors.end());
  constexpr double nine_tenths = 0.9;
  const auto at = [&](double share) {
    return errors[static_cast<std::size_t>(share * static_cast<double>(errors.size() - 1))];
  };
  return {errors.size(), at(1.0 / 2), at(nine_tenths)};
}

using Points = std::vector<MeasuredPoint>;

/// How far predictions of some points from others are off, as shares of the measured times.
struct Errors {
  std::vector<double> table;  ///< of table and fit together
  std::vector<double> fit;
};
using Predictor = std::function<Errors(const Points& known, const Points& held)>;

std::vector<TimedCall> timed_calls(const MeasuredGroup& group, const Points& points) {
  const Direction direction = group.key.backward ? Direction::backward : Direction::forward;
  std::vector<TimedCall> out;
  for (const MeasuredPoint& point : points) {
    out.push_back({kernel_call(group.key.op, point.shape, direction, group.key.kernel),
                   {point.time_us * micro}});
  }
  return out;
}

KernelCurve fitted(const std::vector<TimedCall>& calls, const GpuSpec& gpu,
                   const Calibration& base) {
  const KernelClass kernel = class_of(calls.front().call.op);
  const double memory =
      base.curve(gpu, KernelClass::memory_bound).value_or(KernelCurve{.efficiency = 1}).efficiency;
  const auto known = base.curve(gpu, kernel);
  KernelCurve out = fit_curve(calls, memory, {gpu.half_peak, gpu.memory_bandwidth});
  constexpr std::size_t few = 16;
  out.evidence = calls.size() < few ? Evidence::extrapolated : Evidence::interpolated;
  if (known) out.backward = known->backward;
  const KernelCall& first = calls.front().call;
  if (first.direction == Direction::backward && first.op != MeasuredOp::elementwise) {
    // What was fitted is the rate of the backward kernel, efficiency * backward.
    const double rate = out.efficiency;
    out.efficiency = std::min(rate / out.backward, 1.0);
    out.backward = rate / out.efficiency;
  }
  return out;
}

Errors kernel_errors(const MeasuredGroup& group, const Calibration& base, const Points& known,
                     const Points& held) {
  const GpuSpec& gpu = *group.gpu;
  Calibration calibration = base;
  GpuCalibration& own = calibration.gpus[gpu.name];
  own.curves.at(static_cast<std::size_t>(class_of(group.key.op))) =
      fitted(timed_calls(group, known), gpu, base);
  own.tables = {MeasuredTable(group.key, group.sources, known)};
  const KernelTimes times(gpu, calibration);
  Errors out;
  for (const auto& [call, time] : timed_calls(group, held)) {
    const KernelTime predicted = times.of(call);
    out.table.push_back(std::abs(predicted.seconds / time - 1));
    out.fit.push_back(std::abs(predicted.curve / time - 1));
  }
  return out;
}

std::vector<AlphaBeta> fitted_pieces(const Points& points) {
  std::vector<Transfer> transfers;
  for (const MeasuredPoint& point : points) transfers.push_back({point.shape[0], point.time_us});
  std::sort(transfers.begin(), transfers.end(),
            [](const Transfer& a, const Transfer& b) { return a.bytes < b.bytes; });
  return fit_alpha_beta(transfers);
}

CollectiveFit fitted_collective(const MeasuredGroup& group, const Points& points) {
  return {group.key.op,          group.shape.ranks,      group.shape.ranks_per_node,
          fitted_pieces(points), Evidence::interpolated, ""};
}

Errors collective_errors(const MeasuredGroup& group, const Points& known, const Points& held) {
  const GpuCalibration calibration{
      {}, {MeasuredTable(group.key, group.sources, known)}, {fitted_collective(group, known)}};
  Errors out;
  for (const MeasuredPoint& point : held) {
    const double bytes = point.shape[0];
    const Seconds time{point.time_us * micro};
    const auto predicted = collective_time(calibration, group.key.op, group.shape, bytes);
    if (!predicted) throw Error(ErrorKind::internal, "a group of this shape was fitted");
    out.table.push_back(std::abs(predicted->seconds / time - 1));
    out.fit.push_back(std::abs(time_of(predicted->fit->pieces, bytes) / time - 1));
  }
  return out;
}

/// Sizes that occur along one axis, ascending.
std::vector<double> sizes_along(const Points& points, std::size_t axis) {
  std::set<double> out;
  for (const MeasuredPoint& point : points) out.insert(point.shape.at(axis));
  return {out.begin(), out.end()};
}

/// The points of one size of an axis, and the others.
std::pair<Points, Points> split(const Points& points, std::size_t axis, double size) {
  std::pair<Points, Points> out;
  for (const MeasuredPoint& point : points) {
    (point.shape.at(axis) == size ? out.first : out.second).push_back(point);
  }
  return out;
}

void hold_out_fifths(const Predictor& predictor, const Points& points, FitReport& report) {
  constexpr std::size_t fifth = 5;
  constexpr std::size_t first = 2;
  Points held;
  Points known;
  for (std::size_t i = 0; i < points.size(); ++i) {
    (i % fifth == first ? held : known).push_back(points[i]);
  }
  if (held.empty()) return;
  const auto [table, fit] = predictor(known, held);
  report.interpolated = summary(table);
  report.curve = summary(fit);
}

void hold_out_edges(const Predictor& predictor, const Points& points, FitReport& report) {
  constexpr double octave = 2.001;
  std::vector<double> all;
  for (std::size_t axis = 0; axis < axes_of(report.key.op).size(); ++axis) {
    const std::vector<double> sizes = sizes_along(points, axis);
    if (sizes.size() < 3) continue;
    for (const auto& [edge, next] :
         {std::pair{sizes[0], sizes[1]}, std::pair{sizes.back(), sizes[sizes.size() - 2]}}) {
      if (std::max(edge / next, next / edge) > octave) continue;
      const auto [held, known] = split(points, axis, edge);
      const std::vector<double> here = predictor(known, held).table;
      all.insert(all.end(), here.begin(), here.end());
    }
  }
  report.extrapolated = summary(std::move(all));
}

FitReport report_of(const MeasuredGroup& group, const Calibration& base) {
  FitReport out{group.gpu_name, group.key, group.shape.ranks, group.shape.ranks_per_node,
                group.points.size()};
  const Predictor predictor = [&](const Points& known, const Points& held) {
    return is_collective(group.key.op) ? collective_errors(group, known, held)
                                       : kernel_errors(group, base, known, held);
  };
  hold_out_fifths(predictor, group.points, out);
  hold_out_edges(predictor, group.points, out);
  return out;
}

std::string source_text(const MeasuredGroup& group, const FitReport& report) {
  constexpr double hundred = 100;
  std::string out =
      fmt::format("fit to {} points of {}", group.points.size(), fmt::join(group.sources, ", "));
  if (report.curve.points > 0) {
    out += fmt::format(", median error {:.1f} % on {} held back", hundred * report.curve.median,
                       report.curve.points);
  }
  return out;
}

/// The largest group of each class on each GPU, of forward kernels where there is one; elementwise
/// kernels are fitted as one.
class Curves {
 public:
  void add(const MeasuredGroup& group, const FitReport& report) {
    Entry& entry = entries_[{group.gpu_name, class_of(group.key.op)}];
    const bool pooled = group.key.op == MeasuredOp::elementwise;
    if (!pooled && !entry.calls.empty()) {
      if (group.key.backward && entry.calls.front().call.direction == Direction::forward) return;
      const bool better =
          !group.key.backward && entry.calls.front().call.direction == Direction::backward;
      if (!better && group.points.size() <= entry.calls.size()) return;
    }
    if (!pooled) entry = {};
    const std::vector<TimedCall> calls = timed_calls(group, group.points);
    entry.gpu = group.gpu;
    entry.calls.insert(entry.calls.end(), calls.begin(), calls.end());
    if (!pooled) {
      entry.source = source_text(group, report);
      return;
    }
    entry.files.insert(group.sources.begin(), group.sources.end());
    entry.source =
        fmt::format("fit to {} points of {}", entry.calls.size(), fmt::join(entry.files, ", "));
  }

  /// Adds those of the memory-bound class, or of all others, to both.
  void fit(bool memory_bound, Calibration& known, Calibration& out) const {
    for (const auto& [key, entry] : entries_) {
      const auto& [gpu, kernel] = key;
      if ((kernel == KernelClass::memory_bound) != memory_bound) continue;
      KernelCurve curve = fitted(entry.calls, *entry.gpu, known);
      curve.source = entry.source;
      for (Calibration* calibration : {&known, &out}) {
        calibration->gpus[gpu].curves.at(static_cast<std::size_t>(kernel)) = curve;
      }
    }
  }

 private:
  struct Entry {
    const GpuSpec* gpu = nullptr;
    std::vector<TimedCall> calls;
    std::set<std::string> files;
    std::string source;
  };
  std::map<std::pair<std::string, KernelClass>, Entry> entries_;
};

}  // namespace

Calibrated calibrate(const std::vector<Sample>& samples, const std::vector<GpuSpec>& known,
                     const Calibration& base,
                     const std::function<void(std::size_t, std::size_t)>& progress) {
  Calibrated out;
  Curves curves;
  const std::vector<MeasuredGroup> groups = measured_groups(samples, known, out.warnings);
  out.reports.resize(groups.size());
  std::size_t done = 0;
  // Memory-bound ones first: the traffic of the others runs at their rate.
  Calibration fitted_so_far = base;
  for (const bool elementwise : {true, false}) {
    for (std::size_t g = 0; g < groups.size(); ++g) {
      const MeasuredGroup& group = groups[g];
      if ((group.key.op == MeasuredOp::elementwise) != elementwise) continue;
      if (progress) progress(done++, groups.size());
      const FitReport& report = out.reports[g] = report_of(group, fitted_so_far);
      GpuCalibration& gpu = out.calibration.gpus[group.gpu_name];
      gpu.tables.emplace_back(group.key, group.sources, group.points);
      if (is_collective(group.key.op)) {
        gpu.collectives.push_back(fitted_collective(group, group.points));
        gpu.collectives.back().source = source_text(group, report);
      } else {
        curves.add(group, report);
      }
    }
    curves.fit(elementwise, fitted_so_far, out.calibration);
  }
  for (auto& [name, gpu] : out.calibration.gpus) {
    std::sort(gpu.tables.begin(), gpu.tables.end(),
              [](const MeasuredTable& a, const MeasuredTable& b) { return a.key() < b.key(); });
  }
  return out;
}

}  // namespace zebroid
