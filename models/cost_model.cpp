#include "models/cost_model.hpp"

#include <algorithm>
#include <cmath>

namespace zebroid {
namespace {

bool has_grouped(const std::vector<MeasuredTable>& tables) {
  return std::any_of(tables.begin(), tables.end(), [](const MeasuredTable& table) {
    return table.key().op == MeasuredOp::grouped_gemm;
  });
}

/// The largest table of the call's operation and direction.
const MeasuredTable* find_table(const std::vector<MeasuredTable>& tables, const KernelCall& call,
                                Direction direction) {
  const MeasuredTable* out = nullptr;
  for (const MeasuredTable& table : tables) {
    const MeasuredTable::Key& key = table.key();
    const bool fits = key.op == call.op && key.backward == (direction == Direction::backward) &&
                      (call.op != MeasuredOp::elementwise || key.kernel == call.kernel);
    if (fits && (out == nullptr || table.points().size() > out->points().size())) out = &table;
  }
  return out;
}

}  // namespace

CostModel::CostModel(const MoeModel& model, const GpuSpec& gpu, const Calibration& calibration)
    : model_(model),
      gpu_(gpu),
      own_(calibration.tables(gpu.name)),
      like_(calibration.tables(gpu.like)),
      grouped_(has_grouped(own_) || has_grouped(like_)) {
  for (std::size_t k = 0; k < kernel_class_count; ++k) {
    const auto curve = calibration.curve(gpu, static_cast<KernelClass>(k));
    if (!curve) continue;
    curves_.at(k) = *curve;
    if (static_cast<KernelClass>(k) == KernelClass::grouped_gemm) grouped_ = true;
  }
  // Tables of grouped products without a curve are scaled along that of dense ones.
  KernelCurve& grouped = curves_.at(static_cast<std::size_t>(KernelClass::grouped_gemm));
  if (grouped.efficiency <= 0) grouped = of(KernelClass::gemm);
}

Seconds CostModel::curve_time(const KernelCall& call) const {
  const KernelCurve& curve = of(class_of(call.op));
  const Seconds traffic =
      call.bytes / (gpu_.memory_bandwidth * of(KernelClass::memory_bound).efficiency);
  const double rate =
      curve.efficiency * (call.direction == Direction::backward ? curve.backward : 1);
  const Seconds math =
      call.flops / (gpu_.half_peak * rate) * (1 + curve.half_size / std::max(call.size, 1.0));
  return curve.launch + std::max(math, traffic);
}

CostModel::Measured CostModel::find(const KernelCall& call) const {
  for (const Direction direction : {call.direction, Direction::forward}) {
    if (const auto* table = find_table(own_, call, direction)) return {table, true};
    if (const auto* table = find_table(like_, call, direction)) return {table, false};
  }
  return {};
}

KernelTime CostModel::time_of(const KernelCall& call) const {
  const KernelCurve& curve = of(class_of(call.op));
  KernelTime out;
  out.curve = curve_time(call);
  out.seconds = out.curve;
  out.evidence = curve.evidence;
  const Measured measured = find(call);
  if (measured.table != nullptr) {
    const MeasuredTable& table = *measured.table;
    const Direction direction = table.key().backward ? Direction::backward : Direction::forward;
    out.table = &table;
    out.estimate = table.estimate(call.shape);
    double log_ratio = 0;
    for (std::size_t i = 0; i < out.estimate.size; ++i) {
      const Estimate::Part& part = out.estimate.parts.at(i);
      const MeasuredPoint& point = table.points()[part.point];
      const KernelCall at_point = kernel_call(call.op, point.shape, direction, call.kernel);
      constexpr double micro = 1e-6;
      log_ratio += part.weight * std::log(point.time_us * micro / curve_time(at_point).value);
    }
    out.seconds = out.curve * std::exp(log_ratio);
    out.evidence = out.estimate.evidence;
    const bool direct = measured.of_this_gpu && call.as_measured && direction == call.direction;
    if (!direct) out.evidence = std::max(out.evidence, Evidence::extrapolated);
  }
  out.seconds = out.seconds / curve.rate;
  return out;
}

Cost CostModel::sum(const std::vector<KernelCall>& calls) const {
  Cost out;
  for (const KernelCall& call : calls) {
    const KernelTime time = time_of(call);
    out.add(time.evidence, time.seconds * call.count);
  }
  return out;
}

std::vector<KernelCall> CostModel::expert_calls(Direction direction, double rows,
                                                double experts) const {
  if (rows <= 0 || experts <= 0) return {};
  if (!grouped_) return expert_kernels(model_, direction, rows, experts);
  return {grouped_expert_kernel(model_, direction, rows, experts)};
}

Cost CostModel::attention(std::uint32_t layer, Direction direction, double sequences,
                          double sequence_length) const {
  return sum(attention_kernels(model_, layer, direction, sequences, sequence_length));
}

Cost CostModel::expert(Direction direction, double rows, double experts) const {
  return sum(expert_calls(direction, rows, experts));
}

Cost CostModel::head(Direction direction, double tokens) const {
  return sum(head_kernels(model_, direction, tokens));
}

Cost CostModel::step(double parameters) const { return sum(step_kernels(parameters)); }

}  // namespace zebroid
