#include "models/kernel_times.hpp"

#include <algorithm>
#include <cmath>

namespace zebroid {
namespace {

constexpr double micro = 1e-6;

bool has_grouped(const std::vector<MeasuredTable>& tables) {
  return std::any_of(tables.begin(), tables.end(), [](const MeasuredTable& table) {
    return table.key().op == MeasuredOp::grouped_gemm;
  });
}

Peaks peaks_of(const GpuSpec& gpu) { return {gpu.half_peak, gpu.memory_bandwidth}; }

/// Peaks of the catalogue's GPU that this one was described by.
Peaks peaks_of_like(const GpuSpec& gpu) {
  const auto at = position_of(gpu.like, gpu_catalogue());
  return peaks_of(at ? gpu_catalogue()[*at] : gpu);
}

/// The table of the call's operation and direction that knows most about its shape; of equally
/// good ones the largest.
const MeasuredTable* find_table(const std::vector<MeasuredTable>& tables, const KernelCall& call,
                                Direction direction) {
  const MeasuredTable* out = nullptr;
  Evidence best = Evidence::roofline;
  for (const MeasuredTable& table : tables) {
    const MeasuredTable::Key& key = table.key();
    const bool fits = key.op == call.op && key.backward == (direction == Direction::backward) &&
                      (call.op != MeasuredOp::elementwise || key.kernel == call.kernel);
    if (!fits) continue;
    const Evidence evidence = table.estimate(call.shape).evidence;
    const bool larger = out != nullptr && table.points().size() > out->points().size();
    if (out != nullptr && !(evidence < best || (evidence == best && larger))) continue;
    out = &table;
    best = evidence;
  }
  return out;
}

}  // namespace

Seconds curve_time(const KernelCall& call, const KernelCurve& curve, const Peaks& peaks) {
  const double rate =
      curve.efficiency * (call.direction == Direction::backward ? curve.backward : 1);
  const Seconds math =
      call.flops / (peaks.half * rate) * (1 + curve.half_size / std::max(call.size, 1.0));
  const Seconds traffic = call.bytes / (peaks.memory * curve.memory_efficiency);
  return curve.launch + std::max(math, traffic);
}

KernelTimes::KernelTimes(const GpuSpec& gpu, const Calibration& calibration)
    : peaks_(peaks_of(gpu)),
      like_peaks_(peaks_of_like(gpu)),
      own_(calibration.tables(gpu.name)),
      like_(calibration.tables(gpu.like)),
      grouped_(has_grouped(own_) || has_grouped(like_)) {
  for (std::size_t k = 0; k < kernel_class_count; ++k) {
    const auto curve = calibration.curve(gpu, static_cast<KernelClass>(k));
    if (!curve) continue;
    curves_.at(k) = *curve;
    if (static_cast<KernelClass>(k) == KernelClass::grouped_gemm) grouped_ = true;
  }
  curves_.back().memory_efficiency = curves_.back().efficiency;
  for (KernelCurve& curve : curves_) {
    if (curve.memory_efficiency <= 0) curve.memory_efficiency = curves_.back().efficiency;
  }
  // Tables of grouped products without a curve are scaled along that of dense ones.
  KernelCurve& grouped = curves_.at(static_cast<std::size_t>(KernelClass::grouped_gemm));
  if (grouped.efficiency <= 0) grouped = curve_of(KernelClass::gemm);
}

Seconds KernelTimes::curve(const KernelCall& call) const { return curve(call, peaks_); }

Seconds KernelTimes::curve(const KernelCall& call, const Peaks& peaks) const {
  return curve_time(call, curve_of(class_of(call.op)), peaks);
}

KernelTimes::Measured KernelTimes::find(const KernelCall& call) const {
  for (const Direction direction : {call.direction, Direction::forward}) {
    if (const auto* table = find_table(own_, call, direction)) return {table, true};
    if (const auto* table = find_table(like_, call, direction)) return {table, false};
  }
  return {};
}

/// Of the measured times that the estimate rests on, over those of the curve there, on the GPU kind
/// that was measured.
double KernelTimes::log_ratio(const Measured& measured, const Estimate& estimate,
                              const KernelCall& call) const {
  const MeasuredTable& table = *measured.table;
  const Peaks& peaks = measured.of_this_gpu ? peaks_ : like_peaks_;
  const Direction direction = table.key().backward ? Direction::backward : Direction::forward;
  double out = 0;
  for (std::size_t i = 0; i < estimate.size; ++i) {
    const Estimate::Part& part = estimate.parts.at(i);
    const MeasuredPoint& point = table.points()[part.point];
    const KernelCall there = kernel_call(call.op, point.shape, direction, call.kernel);
    out += part.weight * std::log(point.time_us * micro / curve(there, peaks).value);
  }
  return out;
}

KernelTime KernelTimes::of(const KernelCall& call) const {
  const KernelCurve& own_curve = curve_of(class_of(call.op));
  KernelTime out{.seconds = curve(call), .evidence = own_curve.evidence, .curve = curve(call)};
  const Measured measured = find(call);
  if (measured.table != nullptr) {
    out.table = measured.table;
    out.estimate = measured.table->estimate(call.shape);
    out.seconds = out.curve * std::exp(log_ratio(measured, out.estimate, call));
    out.evidence = out.estimate.evidence;
    const bool backward = call.direction == Direction::backward;
    const bool direct =
        measured.of_this_gpu && call.as_measured && measured.table->key().backward == backward;
    if (!direct) out.evidence = std::max(out.evidence, Evidence::extrapolated);
  }
  out.seconds = out.seconds / own_curve.rate;
  return out;
}

}  // namespace zebroid
