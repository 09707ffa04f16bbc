#include "planner/pipeline.hpp"

#include <algorithm>

#include "planner/builder.hpp"
#include "planner/pipeline_run.hpp"

namespace zebroid {
namespace {

class PipelineBuilder {
 public:
  PipelineBuilder(const Scenario& scenario, const PipelineShape& shape)
      : scenario_(scenario),
        shape_(shape),
        builder_(scenario, shape.microbatches, 1),
        costs_(scenario) {}

  Schedule run() {
    add_ranks();
    const std::size_t layers = scenario_.model.layers.size();
    std::vector<std::vector<RankId>> holders(layers);
    for (std::uint32_t v = 0; v < ranks_.size(); ++v) {
      const auto& stages = shape_.pipelines[v].stages;
      for (std::size_t s = 0; s < stages.size(); ++s) {
        for (std::uint16_t l = stages[s].begin; l < stages[s].end; ++l) {
          place_experts(v, l, ranks_[v][s]);
          holders[l].push_back(ranks_[v][s]);
        }
      }
      list(v);
    }
    for (auto& ranks : holders) std::sort(ranks.begin(), ranks.end());
    builder_.finish_step(holders, pipeline_shards(scenario_.training));
    return builder_.finish();
  }

 private:
  /// Ranks count through the GPUs of all pipelines in ascending order.
  void add_ranks() {
    struct Seat {
      GpuId gpu;
      std::uint32_t pipeline;
      std::size_t stage;
    };
    std::vector<Seat> seats;
    for (std::uint32_t v = 0; v < shape_.pipelines.size(); ++v) {
      const auto& stages = shape_.pipelines[v].stages;
      ranks_.emplace_back(stages.size());
      for (std::size_t s = 0; s < stages.size(); ++s) seats.push_back({stages[s].gpu, v, s});
    }
    std::sort(seats.begin(), seats.end(),
              [](const Seat& a, const Seat& b) { return a.gpu < b.gpu; });
    for (const auto& [gpu, pipeline, stage] : seats) {
      ranks_[pipeline][stage] =
          builder_.add_rank(gpu, pipeline, shape_.pipelines[pipeline].sequences);
    }
  }

  void place_experts(std::uint32_t v, std::uint16_t l, RankId rank) {
    if (!scenario_.model.layers[l].has_experts) return;
    builder_.place(v, l, std::vector(scenario_.model.experts, rank));
  }

  /// Each stream in the order in which its ops start when no transfer waits for another: a stage
  /// that sends before it receives, or receives before it sends, out of turn makes others wait.
  void list(std::uint32_t v) {
    const Pipeline& pipeline = shape_.pipelines[v];
    std::vector<PipelineEvent> events = run_pipeline(costs_, pipeline, shape_.microbatches);
    std::stable_sort(
        events.begin(), events.end(),
        [](const PipelineEvent& a, const PipelineEvent& b) { return a.start < b.start; });
    for (const PipelineEvent& event : events) {
      switch (event.what) {
        case PipelineEvent::What::forward:
          forward(v, event);
          break;
        case PipelineEvent::What::backward:
          backward(v, event);
          break;
        case PipelineEvent::What::up:
          hand_over(v, event, Pass::forward);
          break;
        case PipelineEvent::What::down:
          hand_over(v, event, Pass::backward);
          break;
      }
    }
  }

  void hand_over(std::uint32_t v, const PipelineEvent& event, Pass pass) {
    const std::uint16_t layer = shape_.pipelines[v].stages[event.stage].begin;
    builder_.exchange(builder_.group({ranks_[v][event.stage - 1U], ranks_[v][event.stage]}),
                      {Work::stage, pass, 0, layer, event.microbatch, 0});
  }

  void layer(RankId rank, Work work, Pass pass, std::uint16_t l, std::uint16_t j) {
    if (work == Work::expert && !scenario_.model.layers[l].has_experts) return;
    builder_.compute(rank, {work, pass, 0, l, j, 0});
  }

  void forward(std::uint32_t v, const PipelineEvent& event) {
    const PipelineStage& stage = shape_.pipelines[v].stages[event.stage];
    const RankId rank = ranks_[v][event.stage];
    for (std::uint16_t l = stage.begin; l < stage.end; ++l) {
      layer(rank, Work::attention, Pass::forward, l, event.microbatch);
      layer(rank, Work::expert, Pass::forward, l, event.microbatch);
    }
    if (stage.end < scenario_.model.layers.size()) return;
    const auto last = static_cast<std::uint16_t>(stage.end - 1);
    layer(rank, Work::head, Pass::forward, last, event.microbatch);
    layer(rank, Work::head, Pass::backward, last, event.microbatch);
  }

  void backward(std::uint32_t v, const PipelineEvent& event) {
    const PipelineStage& stage = shape_.pipelines[v].stages[event.stage];
    const RankId rank = ranks_[v][event.stage];
    const std::uint16_t j = event.microbatch;
    for (std::uint16_t l = stage.end; l-- > stage.begin;) {
      if (pipeline_recomputes(scenario_.training.recompute)) {
        layer(rank, Work::attention, Pass::recompute, l, j);
        layer(rank, Work::expert, Pass::recompute, l, j);
      }
      layer(rank, Work::expert, Pass::backward, l, j);
      layer(rank, Work::attention, Pass::backward, l, j);
    }
  }

  const Scenario& scenario_;
  const PipelineShape& shape_;
  ScheduleBuilder builder_;
  PipelineCosts costs_;
  std::vector<std::vector<RankId>> ranks_;  // [pipelines][stages]
};

}  // namespace

Schedule pipeline_schedule(const Scenario& scenario, const PipelineShape& shape) {
  return PipelineBuilder(scenario, shape).run();
}

}  // namespace zebroid
