#include "models/collective_times.hpp"

#include <algorithm>
#include <cmath>

namespace zebroid {

std::optional<CollectiveTime> collective_time(const GpuCalibration& calibration, MeasuredOp op,
                                              const GroupShape& group, double bytes) {
  constexpr double micro = 1e-6;
  const auto fit = std::find_if(
      calibration.collectives.begin(), calibration.collectives.end(),
      [&](const CollectiveFit& f) {
        return f.op == op && GroupShape{f.ranks, f.ranks_per_node} == group;
      });
  if (fit == calibration.collectives.end()) return std::nullopt;
  CollectiveTime out{time_of(fit->pieces, bytes), fit->evidence, &*fit, nullptr, {}};
  const auto table =
      std::find_if(calibration.tables.begin(), calibration.tables.end(),
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

}  // namespace zebroid
