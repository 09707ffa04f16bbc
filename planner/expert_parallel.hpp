#pragma once

#include <cstdint>
#include <vector>

#include "models/scenario.hpp"
#include "planner/pools.hpp"
#include "schedule/schedule.hpp"

namespace zebroid {

struct ExpertParallelShape {
  std::vector<GpuList> groups;     ///< each holds a full copy of the model
  std::uint32_t microbatches = 1;  ///< one after the other: gradient accumulation
  std::uint32_t chunks = 1;        ///< of every all-to-all, overlapped with expert compute
};

/// Expert parallelism over all GPUs alike: every GPU owns sequences and holds an equal part of its
/// group's experts. With whole-layer recomputation the all-to-alls of a layer are repeated in
/// backward.
Schedule expert_parallel_schedule(const Scenario& scenario, const ExpertParallelShape& shape);

}  // namespace zebroid
