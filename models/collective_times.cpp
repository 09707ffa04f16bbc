#include "models/collective_times.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

namespace zebroid {

double nccl_size(double bytes, std::uint32_t ranks) {
  constexpr double alignment = 16;  // bytes of a rank's part
  const double unit = alignment * ranks;
  return std::max(1.0, std::round(bytes / unit)) * unit;
}

std::optional<CollectiveTime> collective_time(const GpuCalibration& calibration, MeasuredOp op,
                                              const GroupShape& group, double bytes) {
  constexpr double micro = 1e-6;
  const auto fit = std::find_if(
      calibration.collectives.begin(), calibration.collectives.end(), [&](const CollectiveFit& f) {
        return f.op == op && GroupShape{f.ranks, f.ranks_per_node} == group;
      });
  if (fit == calibration.collectives.end()) return std::nullopt;
  CollectiveTime out{time_of(fit->pieces, bytes) / fit->rate, fit->evidence, &*fit, nullptr, {}};
  Shape shape = {bytes, static_cast<double>(group.ranks),
                 static_cast<double>(group.ranks_per_node)};
  const auto table = std::find_if(
      calibration.tables.begin(), calibration.tables.end(), [&](const MeasuredTable& t) {
        const Shape& first = t.points().front().shape;
        return t.key().op == op && first[1] == shape[1] && first[2] == shape[2];
      });
  if (table == calibration.tables.end()) return out;
  Estimate estimate = table->estimate(shape);
  if (estimate.evidence != Evidence::measured) {
    Shape nearby = shape;
    nearby[0] = nccl_size(bytes, group.ranks);
    const Estimate other = table->estimate(nearby);
    if (other.evidence == Evidence::measured) {
      estimate = other;
      shape = nearby;
    }
  }
  // As the pieces grow; but across the border of two, which may not meet, straight in logarithms.
  const std::size_t piece = piece_at(fit->pieces, shape[0]);
  bool one_piece = true;
  for (std::size_t i = 0; i < estimate.size; ++i) {
    const Shape& there = table->points()[estimate.parts.at(i).point].shape;
    one_piece = one_piece && piece_at(fit->pieces, there[0]) == piece;
  }
  const bool beyond = estimate.evidence == Evidence::extrapolated;
  const auto reference = [&](double size) {
    return one_piece || beyond ? time_of(fit->pieces, size) : Seconds{1};
  };
  double log_ratio = 0;
  for (std::size_t i = 0; i < estimate.size; ++i) {
    const MeasuredPoint& point = table->points()[estimate.parts.at(i).point];
    const double there = reference(point.shape[0]).value;
    log_ratio += estimate.parts.at(i).weight * std::log(point.time_us * micro / there);
  }
  out.seconds = reference(shape[0]) * std::exp(log_ratio) / fit->rate;
  out.evidence = estimate.evidence;
  out.table = &*table;
  out.estimate = estimate;
  return out;
}

std::string name_of_group(std::vector<std::string> kinds) {
  std::sort(kinds.begin(), kinds.end());
  kinds.erase(std::unique(kinds.begin(), kinds.end()), kinds.end());
  return fmt::format("{}", fmt::join(kinds, "+"));
}

GroupCalibration group_calibration(const Calibration& calibration,
                                   const std::vector<const GpuSpec*>& kinds) {
  const auto find = [&](const auto& name_of_kind) -> const GpuCalibration* {
    std::vector<std::string> names;
    for (const GpuSpec* gpu : kinds) names.push_back(name_of_kind(*gpu));
    const auto found = calibration.gpus.find(name_of_group(std::move(names)));
    const bool known = found != calibration.gpus.end() && !found->second.collectives.empty();
    return known ? &found->second : nullptr;
  };
  if (const auto* own = find([](const GpuSpec& gpu) { return gpu.name; })) return {own, true};
  return {find([](const GpuSpec& gpu) { return gpu.like.empty() ? gpu.name : gpu.like; }), false};
}

}  // namespace zebroid
