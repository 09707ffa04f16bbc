#include "models/collective_times.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

namespace zebroid {

std::optional<CollectiveTime> collective_time(const GpuCalibration& calibration, MeasuredOp op,
                                              const GroupShape& group, double bytes) {
  constexpr double micro = 1e-6;
  const auto fit = std::find_if(
      calibration.collectives.begin(), calibration.collectives.end(), [&](const CollectiveFit& f) {
        return f.op == op && GroupShape{f.ranks, f.ranks_per_node} == group;
      });
  if (fit == calibration.collectives.end()) return std::nullopt;
  CollectiveTime out{time_of(fit->pieces, bytes) / fit->rate, fit->evidence, &*fit, nullptr, {}};
  const auto table = std::find_if(calibration.tables.begin(), calibration.tables.end(),
                                  [&](const MeasuredTable& t) { return t.key().op == op; });
  if (table == calibration.tables.end()) return out;
  const Shape shape = {bytes, static_cast<double>(group.ranks),
                       static_cast<double>(group.ranks_per_node)};
  const Estimate estimate = table->estimate(shape);
  double log_ratio = 0;
  for (std::size_t i = 0; i < estimate.size; ++i) {
    const MeasuredPoint& point = table->points()[estimate.parts.at(i).point];
    const Seconds there = time_of(fit->pieces, point.shape[0]);
    log_ratio += estimate.parts.at(i).weight * std::log(point.time_us * micro / there.value);
  }
  out.seconds = out.seconds * std::exp(log_ratio);
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
