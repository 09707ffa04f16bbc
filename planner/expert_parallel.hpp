#pragma once

#include <cstdint>
#include <vector>

#include "models/scenario.hpp"
#include "planner/roles.hpp"
#include "schedule/schedule.hpp"

namespace zebroid {

struct ExpertParallelShape {
  /// Each holds a full copy of the model. In ep every GPU has both roles, in dist-ep one.
  std::vector<RoleGroup> groups;
  std::uint32_t microbatches = 1;  ///< one after the other: gradient accumulation
  std::uint32_t chunks = 1;        ///< of every all-to-all, overlapped with expert compute

  bool is_disaggregated() const { return groups.front().attention != groups.front().experts; }
};

/// A GPU that takes part.
struct ExpertParallelSeat {
  GpuId gpu;
  std::uint32_t group = 0;
  bool owns = true;   ///< sequences, whose attention it runs
  bool holds = true;  ///< experts
  std::uint32_t sequences = 0;
};
/// By GPU, ascending: the order of the ranks.
std::vector<ExpertParallelSeat> expert_parallel_seats(const Scenario& scenario,
                                                      const ExpertParallelShape& shape);
/// Which of so many GPUs with experts holds each expert of a layer.
std::vector<std::uint32_t> expert_parallel_holders(std::uint32_t experts, std::uint32_t members,
                                                   std::uint32_t layer);
/// What `automatic` means here: the whole layer, but with separate roles per module. Any other as
/// it is.
Recompute expert_parallel_recompute(const Scenario& scenario, const ExpertParallelShape& shape);

/// Expert parallelism, microbatch after microbatch. Over all GPUs alike (ep), every GPU owns
/// sequences and holds an equal part of its group's experts; disaggregated (dist-ep), it does one
/// of the two, and attention overlaps no experts but those that are recomputed. With whole-layer
/// recomputation the all-to-alls of a layer are repeated in backward.
Schedule expert_parallel_schedule(const Scenario& scenario, const ExpertParallelShape& shape);

}  // namespace zebroid
