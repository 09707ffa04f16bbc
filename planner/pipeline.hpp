#pragma once

#include <cstdint>
#include <vector>

#include "models/scenario.hpp"
#include "schedule/schedule.hpp"

namespace zebroid {

/// Consecutive layers on one GPU, with all their experts.
struct PipelineStage {
  GpuId gpu;
  std::uint16_t begin = 0;  ///< layer
  std::uint16_t end = 0;    ///< layer after the last one; > begin
};

/// One copy of the model, from the embedding to the head.
struct Pipeline {
  std::vector<PipelineStage> stages;
  std::uint32_t sequences = 0;  ///< of the global batch; at least one for each microbatch
};

struct PipelineShape {
  std::vector<Pipeline> pipelines;
  std::uint32_t microbatches = 1;
};

/// Whether layers are computed again in backward. Whole layers or modules are the same here, where
/// no tokens travel within a layer.
inline bool pipeline_recomputes(Recompute recompute) { return recompute != Recompute::none; }
/// Whether pipelines share optimizer states.
inline bool pipeline_shards(const Training& training) {
  return training.optimizer_sharding.value_or(true);
}

/// Pipeline parallelism, one forward one backward (1F1B): a stage runs as many forwards ahead as
/// there are stages after it, then by turns one forward and one backward. Several pipelines are
/// data parallel.
Schedule pipeline_schedule(const Scenario& scenario, const PipelineShape& shape);

}  // namespace zebroid
