#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

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

/// The nearest size that nccl-tests runs: it cuts buffers into equal parts of whole 16 bytes.
double nccl_size(double bytes, std::uint32_t ranks);

/// Of `bytes` as nccl-tests counts them; nothing where no group of this shape was measured. The
/// calibration outlives the answer.
std::optional<CollectiveTime> collective_time(const GpuCalibration& calibration, MeasuredOp op,
                                              const GroupShape& group, double bytes);

/// What a group of GPUs of these kinds is called in a calibration: "A40+V100-16GB".
std::string name_of_group(std::vector<std::string> kinds);

/// What is known of collectives over a group.
struct GroupCalibration {
  const GpuCalibration* calibration = nullptr;  ///< nothing: no collective was measured
  bool of_these = true;                         ///< else of kinds that its kinds are like
};
/// Of a group of GPUs of these kinds, in any order and number. The calibration outlives the answer.
GroupCalibration group_calibration(const Calibration& calibration,
                                   const std::vector<const GpuSpec*>& kinds);

}  // namespace zebroid
