#include "planner/pipeline_run.hpp"

#include <algorithm>
#include <limits>
#include <set>
#include <tuple>

#include "schedule/verify.hpp"

namespace zebroid {
namespace {

constexpr double half_bytes = 2;

/// Advances all stages as far as what they wait for has come.
class Runner {
 public:
  Runner(PipelineCosts& costs, const Pipeline& pipeline, std::uint32_t microbatches)
      : costs_(costs),
        pipeline_(pipeline),
        microbatches_(microbatches),
        stages_(pipeline.stages.size()),
        next_(stages_, 0),
        free_(stages_, 0),
        from_below_(stages_, std::vector<double>(microbatches, unknown)),
        from_above_(stages_, std::vector<double>(microbatches, unknown)) {
    std::fill(from_below_.front().begin(), from_below_.front().end(), 0);
    std::fill(from_above_.back().begin(), from_above_.back().end(), 0);
    find_durations();
    events_.reserve(4 * stages_ * microbatches);
  }

  std::vector<PipelineEvent> run() {
    while (next_.front() < 2 * microbatches_) {
      for (std::size_t s = 0; s < stages_; ++s) advance(s);
      for (std::size_t s = stages_; s-- > 0;) advance(s);
    }
    return std::move(events_);
  }

 private:
  static constexpr double unknown = std::numeric_limits<double>::infinity();
  struct Durations {
    double forward = 0, up = 0, down = 0;
    double backward = 0;
  };

  /// Microbatches are of at most two sizes.
  void find_durations() {
    for (std::uint32_t j = 0; j < microbatches_; ++j) {
      sizes_.push_back(sequences_in(pipeline_.sequences, j, microbatches_));
    }
    least_ = *std::min_element(sizes_.begin(), sizes_.end());
    for (const std::uint32_t more : {0U, 1U}) {
      for (std::size_t s = 0; s < stages_; ++s) {
        durations_[more].push_back(durations(s, least_ + more));
      }
    }
  }

  Durations durations(std::size_t s, std::uint32_t sequences) {
    const PipelineStage& stage = pipeline_.stages[s];
    const auto& layers = costs_.layers(costs_.kind_of(stage.gpu), sequences);
    Durations out;
    out.forward = layers.forward[stage.end] - layers.forward[stage.begin];
    out.backward = layers.backward[stage.end] - layers.backward[stage.begin];
    if (s + 1 == stages_) out.forward += layers.head;
    if (s > 0) {
      const GpuId below = pipeline_.stages[s - 1].gpu;
      out.up = costs_.handover(below, stage.gpu, sequences);
      out.down = costs_.handover(stage.gpu, below, sequences);
    }
    return out;
  }
  const Durations& of(std::size_t s, std::uint32_t j) const {
    return durations_[sizes_[j] - least_][s];
  }

  /// The i-th op of a stage: whether it is a forward, and of which microbatch.
  std::pair<bool, std::uint32_t> op(std::size_t s, std::uint32_t i) const {
    const auto ahead = std::min(microbatches_, static_cast<std::uint32_t>(stages_ - 1 - s));
    if (i < ahead) return {true, i};
    if (i >= 2 * microbatches_ - ahead) return {false, i - microbatches_};
    const std::uint32_t turn = (i - ahead) / 2;
    return (i - ahead) % 2 == 0 ? std::pair{true, ahead + turn} : std::pair{false, turn};
  }

  void advance(std::size_t s) {
    while (next_[s] < 2 * microbatches_) {
      const auto [is_forward, j] = op(s, next_[s]);
      const double there = (is_forward ? from_below_ : from_above_)[s][j];
      if (there == unknown) return;
      ++next_[s];
      run(s, j, is_forward, there);
    }
  }

  void run(std::size_t s, std::uint32_t j, bool is_forward, double there) {
    using What = PipelineEvent::What;
    const double start = std::max(there, free_[s]);
    free_[s] = start + (is_forward ? of(s, j).forward : of(s, j).backward);
    add(is_forward ? What::forward : What::backward, s, j, start, free_[s]);
    if (is_forward && s + 1 < stages_) {
      from_below_[s + 1][j] = free_[s] + of(s + 1, j).up;
      add(What::up, s + 1, j, free_[s], from_below_[s + 1][j]);
    }
    if (!is_forward && s > 0) {
      from_above_[s - 1][j] = free_[s] + of(s, j).down;
      add(What::down, s, j, free_[s], from_above_[s - 1][j]);
    }
  }
  void add(PipelineEvent::What what, std::size_t s, std::uint32_t j, double start, double end) {
    events_.push_back(
        {what, static_cast<std::uint16_t>(s), static_cast<std::uint16_t>(j), start, end});
  }

  PipelineCosts& costs_;
  const Pipeline& pipeline_;
  std::uint32_t microbatches_;
  std::size_t stages_;
  std::vector<std::uint32_t> sizes_;  // [microbatches] sequences
  std::uint32_t least_ = 0;
  std::vector<Durations> durations_[2];          // [sequences beyond the least][stages]
  std::vector<std::uint32_t> next_;              // [stages] op
  std::vector<double> free_;                     // [stages]
  std::vector<std::vector<double>> from_below_;  // [stages][microbatches] when it has come
  std::vector<std::vector<double>> from_above_;
  std::vector<PipelineEvent> events_;
};

/// What follows backward, for one shape.
class StepBound {
 public:
  StepBound(const Scenario& scenario, PipelineCosts& costs, const PipelineShape& shape)
      : scenario_(scenario), costs_(costs), shape_(shape), n_(shape.pipelines.size()) {
    const Pipeline& first = shape.pipelines.front();
    uniform_ = std::all_of(shape.pipelines.begin(), shape.pipelines.end(),
                           [&](const Pipeline& other) { return alike(first, other); });
    if (uniform_) {
      for (std::size_t s = 0; s < first.stages.size(); ++s) slowest_.push_back(slowest(s));
    } else {
      count_holders();
    }
  }

  Seconds run() {
    std::set<std::vector<std::uint32_t>> seen;  // sequences, then layers and kind of each stage
    double sums_end = 0;
    double tail = 0;
    for (std::size_t v = 0; v < n_; ++v) {
      const Pipeline& pipeline = shape_.pipelines[v];
      std::vector<std::uint32_t> makeup = {pipeline.sequences};
      for (const PipelineStage& stage : pipeline.stages) {
        makeup.insert(makeup.end(), {stage.end, costs_.kind_of(stage.gpu)});
      }
      if (!seen.insert(std::move(makeup)).second) continue;
      const std::vector<double> ends = backward_ends(pipeline);
      for (std::size_t s = 0; s < pipeline.stages.size(); ++s) {
        sums_end = std::max(sums_end, end_of_sums(v, s, ends[s]));
        tail = std::max(tail, after_norm(v, s));
      }
    }
    const bool alone = n_ == 1 && shape_.pipelines.front().stages.size() == 1;
    return {sums_end + (alone ? 0 : costs_.latency()) + tail};
  }

 private:
  bool alike(const Pipeline& a, const Pipeline& b) const {
    return std::equal(a.stages.begin(), a.stages.end(), b.stages.begin(), b.stages.end(),
                      [&](const PipelineStage& x, const PipelineStage& y) {
                        return x.end == y.end && costs_.kind_of(x.gpu) == costs_.kind_of(y.gpu);
                      });
  }

  void count_holders() {
    holders_.resize(scenario_.model.layers.size());
    for (const Pipeline& pipeline : shape_.pipelines) {
      for (const PipelineStage& stage : pipeline.stages) {
        for (std::uint16_t l = stage.begin; l < stage.end; ++l) {
          ++holders_[l][costs_.kind_of(stage.gpu)];
        }
      }
    }
  }
  /// Ranks of one GPU kind that hold a layer, who share its optimizer states.
  double sharing(std::uint16_t layer, std::uint32_t kind) const {
    return static_cast<double>(uniform_ ? n_ : holders_[layer].at(kind));
  }

  /// Seconds a byte takes between neighbours in the ring of a stage, where it takes longest.
  double slowest(std::size_t s) const {
    double out = 0;
    for (std::size_t v = 0; v < n_ && n_ > 1; ++v) {
      out = std::max(out, costs_.transfer(shape_.pipelines[v].stages[s].gpu,
                                          shape_.pipelines[(v + 1) % n_].stages[s].gpu, 1));
    }
    return out;
  }
  double seconds_per_byte(std::size_t v, std::size_t s, std::uint16_t layer) const {
    if (uniform_) return slowest_[s];
    const auto& next = shape_.pipelines[(v + 1) % n_].stages;
    const auto holder = std::find_if(next.begin(), next.end(),
                                     [&](const PipelineStage& stage) { return layer < stage.end; });
    return costs_.transfer(shape_.pipelines[v].stages[s].gpu, holder->gpu, 1);
  }

  std::vector<double> backward_ends(const Pipeline& pipeline) {
    std::vector<double> out(pipeline.stages.size(), 0);
    for (const PipelineEvent& event : run_pipeline(costs_, pipeline, shape_.microbatches)) {
      if (event.what == PipelineEvent::What::backward) out[event.stage] = event.end;
    }
    return out;
  }

  double shared_bytes(std::uint16_t layer) const {
    return shared_parameters(scenario_.model, layer) * half_bytes;
  }
  double expert_bytes(std::uint16_t layer) const {
    const MoeModel& model = scenario_.model;
    if (!model.layers[layer].has_experts) return 0;
    return layer_parameters(model, layer).expert * model.experts * half_bytes;
  }

  /// Sums of a layer go out when its last gradient is there, one after the other. A sum whose ring
  /// is not known for sure counts as the least that it may be.
  double end_of_sums(std::size_t v, std::size_t s, double backward_end) {
    if (n_ == 1) return backward_end;
    const Pipeline& pipeline = shape_.pipelines[v];
    const PipelineStage& stage = pipeline.stages[s];
    const std::uint32_t j = shape_.microbatches - 1;
    const auto& layers = costs_.layers(costs_.kind_of(stage.gpu),
                                       sequences_in(pipeline.sequences, j, shape_.microbatches));
    const double n = static_cast<double>(n_);
    const bool shards = pipeline_shards(scenario_.training);
    double end = 0;
    for (std::uint16_t l = stage.end; l-- > stage.begin;) {
      const bool scatters = shards && sharing(l, costs_.kind_of(stage.gpu)) == n;
      const double per_byte = (scatters ? 1 : 2) * (n - 1) / n * seconds_per_byte(v, s, l);
      end = std::max(end, backward_end - (layers.backward[l] - layers.backward[stage.begin]));
      if (uniform_) end += costs_.latency() + shared_bytes(l) * per_byte;
      if (expert_bytes(l) > 0) end += costs_.latency() + expert_bytes(l) * per_byte;
    }
    return end;
  }

  double after_norm(std::size_t v, std::size_t s) const {
    const PipelineStage& stage = shape_.pipelines[v].stages[s];
    const std::uint32_t kind = costs_.kind_of(stage.gpu);
    const bool shards = pipeline_shards(scenario_.training);
    double kept = 0;
    double gathers = 0;
    for (std::uint16_t l = stage.begin; l < stage.end; ++l) {
      const double bytes = shared_bytes(l) + expert_bytes(l);
      const double sharers = shards ? sharing(l, kind) : 1;
      kept += bytes / sharers;
      if (sharers == 1) continue;
      gathers += costs_.latency();
      if (uniform_) gathers += (bytes - bytes / sharers) * slowest_[s];
    }
    return costs_.step(kind, kept / half_bytes) + gathers;
  }

  const Scenario& scenario_;
  PipelineCosts& costs_;
  const PipelineShape& shape_;
  std::size_t n_;
  bool uniform_ = false;
  std::vector<double> slowest_;                                  // [stages] when uniform
  std::vector<std::map<std::uint32_t, std::uint32_t>> holders_;  // [layers][kind] when not
};

}  // namespace

PipelineCosts::PipelineCosts(const Scenario& scenario)
    : scenario_(scenario),
      network_(network_of(scenario)),
      gpus_(gpus_of(scenario.cluster)),
      costs_(cost_models(scenario)) {
  for (const auto& shares : scenario.shares) {
    experts_with_rows_.push_back(static_cast<std::uint32_t>(
        std::count_if(shares.begin(), shares.end(), [](double share) { return share > 0; })));
  }
}

const PipelineCosts::LayerSums& PipelineCosts::layers(std::uint32_t kind, std::uint32_t sequences) {
  const auto [at, is_new] = layers_.try_emplace({kind, sequences});
  LayerSums& out = at->second;
  if (!is_new) return out;
  const CostModel& cost = costs_[kind];
  const double length = scenario_.training.sequence_length;
  const double tokens = sequences * length;
  out.forward = out.backward = {0};
  for (std::uint32_t l = 0; l < scenario_.model.layers.size(); ++l) {
    const auto seconds = [&](Direction direction) {
      const double sum = cost.attention(l, direction, sequences, length).total().value;
      if (!scenario_.model.layers[l].has_experts) return sum;
      const double rows = tokens * scenario_.model.top_k;
      return sum + cost.expert(direction, rows, experts_with_rows_[l]).total().value;
    };
    const double forward = seconds(Direction::forward);
    out.forward.push_back(out.forward.back() + forward);
    out.backward.push_back(out.backward.back() + (recomputes() ? forward : 0) +
                           seconds(Direction::backward));
  }
  out.head = (cost.head(Direction::forward, tokens).total() +
              cost.head(Direction::backward, tokens).total())
                 .value;
  return out;
}

double PipelineCosts::transfer(GpuId from, GpuId to, double bytes) const {
  double out = 0;
  for (const PortId port : network_.path(from, to)) {
    out = std::max(out, bytes / network_.ports()[port.value].bandwidth.value);
  }
  return out;
}

double PipelineCosts::handover(GpuId from, GpuId to, std::uint32_t sequences) const {
  const double tokens = static_cast<double>(sequences) * scenario_.training.sequence_length;
  return latency() + transfer(from, to, tokens * scenario_.model.hidden * half_bytes);
}

double PipelineCosts::step(std::uint32_t kind, double parameters) const {
  return costs_[kind].step(parameters).total().value;
}

std::vector<PipelineEvent> run_pipeline(PipelineCosts& costs, const Pipeline& pipeline,
                                        std::uint32_t microbatches) {
  return Runner(costs, pipeline, microbatches).run();
}

Seconds pipeline_bound(const Scenario& scenario, PipelineCosts& costs, const PipelineShape& shape) {
  return StepBound(scenario, costs, shape).run();
}

}  // namespace zebroid
