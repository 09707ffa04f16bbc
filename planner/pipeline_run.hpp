#pragma once

#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "models/scenario.hpp"
#include "planner/pipeline.hpp"

namespace zebroid {

/// What the stages of pipelines cost.
class PipelineCosts {
 public:
  /// Seconds of one microbatch on one GPU kind, summed up over the layers before each.
  struct LayerSums {
    std::vector<double> forward;   ///< [layers + 1]
    std::vector<double> backward;  ///< [layers + 1] with recomputation
    double head = 0;               ///< forward and backward
  };

  /// The scenario outlives it.
  explicit PipelineCosts(const Scenario& scenario);

  const LayerSums& layers(std::uint32_t kind, std::uint32_t sequences);
  /// Of hidden states between stages, when nothing else moves.
  double handover(GpuId from, GpuId to, std::uint32_t sequences) const;
  /// Of a message when nothing else moves, without the latency.
  double transfer(GpuId from, GpuId to, double bytes) const;
  double latency() const { return network_.latency().value; }
  double step(std::uint32_t kind, double parameters) const;
  bool recomputes() const { return pipeline_recomputes(scenario_.training.recompute); }
  std::uint32_t kind_of(GpuId gpu) const { return gpus_[gpu.value].kind; }
  const std::vector<Gpu>& gpus() const { return gpus_; }

 private:
  const Scenario& scenario_;
  Network network_;
  std::vector<Gpu> gpus_;
  std::vector<CostModel> costs_;
  std::vector<std::uint32_t> experts_with_rows_;                         // [layers]
  std::map<std::pair<std::uint32_t, std::uint32_t>, LayerSums> layers_;  // by kind and sequences
};

/// One microbatch in one stage, or on its way into a stage (up) or out of it (down).
struct PipelineEvent {
  enum class What : std::uint8_t { forward, backward, up, down };
  What what = What::forward;
  std::uint16_t stage = 0;
  std::uint16_t microbatch = 0;
  double start = 0;
  double end = 0;
};

/// One pipeline as if it were alone and no transfer waited for another: it ends no later than in
/// any simulation. What an event waits for comes before it.
std::vector<PipelineEvent> run_pipeline(PipelineCosts& costs, const Pipeline& pipeline,
                                        std::uint32_t microbatches);

/// A time below which the schedule of a shape cannot end, found without making it: each kind of
/// pipeline runs alone, then sums of gradients, step and gathers take at least what their own bytes
/// take alone. O(stages * microbatches + layers) for each kind of pipeline.
Seconds pipeline_bound(const Scenario& scenario, PipelineCosts& costs, const PipelineShape& shape);

}  // namespace zebroid
