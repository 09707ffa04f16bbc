#pragma once

#include <cstdint>
#include <optional>

#include "models/calibration.hpp"

namespace zebroid {

struct GroupShape {
  std::uint32_t ranks = 0;
  std::uint32_t ranks_per_node = 0;

  friend auto operator<=>(const GroupShape&, const GroupShape&) = default;
};

/// How long a collective takes, and why.
struct CollectiveTime {
  Seconds seconds;
  Evidence evidence = Evidence::extrapolated;
  const CollectiveFit* fit = nullptr;
  const MeasuredTable* table = nullptr;  ///< nothing: the time is the fit's
  Estimate estimate;                     ///< of the table
};

/// Of `bytes` as nccl-tests counts them; nothing where no group of this shape was measured. The
/// calibration outlives the answer.
std::optional<CollectiveTime> collective_time(const GpuCalibration& calibration, MeasuredOp op,
                                              const GroupShape& group, double bytes);

}  // namespace zebroid
