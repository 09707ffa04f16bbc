#include "planner/expert_parallel.hpp"

#include <algorithm>

#include "planner/assignment.hpp"
#include "planner/builder.hpp"

namespace zebroid {
namespace {

class ExpertParallelBuilder {
 public:
  ExpertParallelBuilder(const Scenario& scenario, const ExpertParallelShape& shape)
      : scenario_(scenario),
        shape_(shape),
        recompute_(expert_parallel_recompute(scenario.training.recompute)),
        builder_(scenario, shape.microbatches, shape.chunks) {}

  Schedule run() {
    add_ranks();
    const auto layers = static_cast<std::uint16_t>(scenario_.model.layers.size());
    for (std::uint16_t l = 0; l < layers; ++l) place_experts(l);
    for (std::uint16_t j = 0; j < shape_.microbatches; ++j) {
      for (std::uint16_t l = 0; l < layers; ++l)
        layer({Work::attention, Pass::forward, 0, l, j, 0});
      const auto last = static_cast<std::uint16_t>(layers - 1);
      compute({Work::head, Pass::forward, 0, last, j, 0});
      compute({Work::head, Pass::backward, 0, last, j, 0});
      for (std::uint16_t l = layers; l-- > 0;) backward(l, j);
    }
    builder_.finish_step(std::vector(layers, all_));
    return builder_.finish();
  }

 private:
  void add_ranks() {
    members_.resize(shape_.groups.size());
    for (const auto& [gpu, group, sequences] : expert_parallel_seats(scenario_, shape_)) {
      members_[group].push_back(builder_.add_rank(gpu, group, sequences));
      all_.push_back(members_[group].back());
    }
    for (const auto& members : members_) groups_.push_back(builder_.group(members));
  }

  void place_experts(std::uint16_t l) {
    if (!scenario_.model.layers[l].has_experts) return;
    for (std::uint32_t g = 0; g < members_.size(); ++g) {
      std::vector<RankId> expert_on;
      expert_on.reserve(scenario_.model.experts);
      for (const std::uint32_t holder : expert_parallel_holders(
               scenario_.model.experts, static_cast<std::uint32_t>(members_[g].size()), l)) {
        expert_on.push_back(members_[g][holder]);
      }
      builder_.place(g, l, std::move(expert_on));
    }
  }

  void compute(const Op& op) {
    for (const RankId rank : all_) builder_.compute(rank, op);
  }
  void exchange(const Op& op) {
    for (const GroupId group : groups_) builder_.exchange(group, op);
  }
  template <class Body>
  void each_chunk(Op op, const Body& body) {
    for (std::uint16_t c = 0; c < shape_.chunks; ++c) {
      op.chunk = c;
      body(op);
    }
  }
  /// Dispatch, experts and combine of one pass, all chunks.
  void experts(Op op) {
    if (!scenario_.model.layers[op.layer].has_experts) return;
    op.work = Work::dispatch;
    each_chunk(op, [this](const Op& chunk) { exchange(chunk); });
    op.work = Work::expert;
    each_chunk(op, [this](const Op& chunk) { compute(chunk); });
    op.work = Work::combine;
    each_chunk(op, [this](const Op& chunk) { exchange(chunk); });
  }
  /// Attention, then experts, of a forward or recompute pass.
  void layer(const Op& attention) {
    compute(attention);
    experts(attention);
  }

  void backward(std::uint16_t l, std::uint16_t j) {
    const bool has_experts = scenario_.model.layers[l].has_experts;
    if (recompute_ == Recompute::layer) layer({Work::attention, Pass::recompute, 0, l, j, 0});
    if (recompute_ == Recompute::module && has_experts) {
      each_chunk({Work::expert, Pass::recompute, 0, l, j, 0},
                 [this](const Op& chunk) { compute(chunk); });
    }
    experts({Work::dispatch, Pass::backward, 0, l, j, 0});
    if (recompute_ == Recompute::module) compute({Work::attention, Pass::recompute, 0, l, j, 0});
    compute({Work::attention, Pass::backward, 0, l, j, 0});
  }

  const Scenario& scenario_;
  const ExpertParallelShape& shape_;
  Recompute recompute_;
  ScheduleBuilder builder_;
  std::vector<std::vector<RankId>> members_;  // [groups]
  std::vector<GroupId> groups_;
  std::vector<RankId> all_;
};

}  // namespace

std::vector<ExpertParallelSeat> expert_parallel_seats(const Scenario& scenario,
                                                      const ExpertParallelShape& shape) {
  std::vector<ExpertParallelSeat> out;
  for (std::uint32_t g = 0; g < shape.groups.size(); ++g) {
    for (const GpuId gpu : shape.groups[g]) out.push_back({gpu, g, 0});
  }
  std::sort(out.begin(), out.end(),
            [](const ExpertParallelSeat& a, const ExpertParallelSeat& b) { return a.gpu < b.gpu; });
  const std::vector<std::uint32_t> sequences =
      split_batch(scenario.training.global_batch_sequences, static_cast<std::uint32_t>(out.size()),
                  shape.microbatches);
  for (std::size_t i = 0; i < out.size(); ++i) out[i].sequences = sequences[i];
  return out;
}

std::vector<std::uint32_t> expert_parallel_holders(std::uint32_t experts, std::uint32_t members,
                                                   std::uint32_t layer) {
  return deal_evenly(experts, members, layer * (experts % members));
}

Recompute expert_parallel_recompute(Recompute recompute) {
  return recompute == Recompute::automatic ? Recompute::layer : recompute;
}

Schedule expert_parallel_schedule(const Scenario& scenario, const ExpertParallelShape& shape) {
  return ExpertParallelBuilder(scenario, shape).run();
}

}  // namespace zebroid
