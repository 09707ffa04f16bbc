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

/// A GPU that takes part.
struct ExpertParallelSeat {
  GpuId gpu;
  std::uint32_t group = 0;
  std::uint32_t sequences = 0;
};
/// By GPU, ascending: the order of the ranks.
std::vector<ExpertParallelSeat> expert_parallel_seats(const Scenario& scenario,
                                                      const ExpertParallelShape& shape);
/// Which member of a group of so many holds each expert of a layer, by its place in the group.
std::vector<std::uint32_t> expert_parallel_holders(std::uint32_t experts, std::uint32_t members,
                                                   std::uint32_t layer);
/// What `automatic` means here; any other as it is.
Recompute expert_parallel_recompute(Recompute recompute);

/// Expert parallelism over all GPUs alike: every GPU owns sequences and holds an equal part of its
/// group's experts. With whole-layer recomputation the all-to-alls of a layer are repeated in
/// backward.
Schedule expert_parallel_schedule(const Scenario& scenario, const ExpertParallelShape& shape);

}  // namespace zebroid
