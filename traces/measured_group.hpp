#pragma once

#include <string>
#include <vector>

#include "models/collective_times.hpp"
#include "models/gpu.hpp"
#include "models/measured_table.hpp"
#include "traces/sample.hpp"

namespace zebroid {

/// Sound measurements of one operation on one GPU kind, of one library and dtype; of a collective:
/// over groups of one shape, whatever the dtype.
struct MeasuredGroup {
  const GpuSpec* gpu = nullptr;  ///< nothing for collectives over several kinds
  std::string gpu_name;
  MeasuredTable::Key key;
  GroupShape shape;                   ///< of collectives
  std::vector<std::string> sources;   ///< files
  std::vector<MeasuredPoint> points;  ///< by shape, each shape once
};

/// Sorts samples into groups, by GPU, key and group shape. What is left out or looks wrong becomes
/// a warning that names file and line (traces/calibrate.hpp says what). The GPUs outlive the
/// groups.
std::vector<MeasuredGroup> measured_groups(const std::vector<Sample>& samples,
                                           const std::vector<GpuSpec>& known,
                                           std::vector<std::string>& warnings);

}  // namespace zebroid
