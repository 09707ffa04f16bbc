#include "planner/expert_parallel.hpp"

#include <map>

#include "planner/assignment.hpp"
#include "planner/builder.hpp"

namespace zebroid {
namespace {

class ExpertParallelBuilder {
 public:
  ExpertParallelBuilder(const Scenario& scenario, const ExpertParallelShape& shape)
      : scenario_(scenario),
        shape_(shape),
        recompute_(expert_parallel_recompute(scenario, shape)),
        builder_(scenario, shape.microbatches, shape.chunks) {}

  Schedule run() {
    add_ranks();
    const auto layers = static_cast<std::uint16_t>(scenario_.model.layers.size());
    for (std::uint16_t l = 0; l < layers; ++l) place_experts(l);
    for (std::uint16_t j = 0; j < shape_.microbatches; ++j) {
      for (std::uint16_t l = 0; l < layers; ++l) forward(l, j);
      const auto last = static_cast<std::uint16_t>(layers - 1);
      compute({Work::head, Pass::forward, 0, last, j, 0});
      compute({Work::head, Pass::backward, 0, last, j, 0});
      for (std::uint16_t l = layers; l-- > 0;) backward(l, j);
    }
    builder_.finish_step(std::vector(layers, owners_));
    return builder_.finish();
  }

 private:
  void add_ranks() {
    holders_of_.resize(shape_.groups.size());
    std::vector<std::vector<RankId>> members(shape_.groups.size());
    for (const ExpertParallelSeat& seat : expert_parallel_seats(scenario_, shape_)) {
      const RankId rank = builder_.add_rank(seat.gpu, seat.group, seat.sequences);
      members[seat.group].push_back(rank);
      if (seat.owns) owners_.push_back(rank);
      if (seat.holds) holders_.push_back(rank);
      if (seat.holds) holders_of_[seat.group].push_back(rank);
    }
    for (const auto& group : members) groups_.push_back(builder_.group(group));
  }

  void place_experts(std::uint16_t l) {
    if (!scenario_.model.layers[l].has_experts) return;
    for (std::uint32_t g = 0; g < holders_of_.size(); ++g) {
      std::vector<RankId> expert_on;
      expert_on.reserve(scenario_.model.experts);
      for (const std::uint32_t holder : expert_parallel_holders(
               scenario_.model.experts, static_cast<std::uint32_t>(holders_of_[g].size()), l)) {
        expert_on.push_back(holders_of_[g][holder]);
      }
      builder_.place(g, l, std::move(expert_on));
    }
  }

  void compute(const Op& op) {
    for (const RankId rank : op.work == Work::expert ? holders_ : owners_) {
      builder_.compute(rank, op);
    }
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
  void forward(std::uint16_t l, std::uint16_t j) {
    const Pass pass = Pass::forward;
    compute({Work::attention, pass, 0, l, j, 0});
    if (!scenario_.model.layers[l].has_experts) return;
    each_chunk({Work::dispatch, pass, 0, l, j, 0}, [this](const Op& chunk) { exchange(chunk); });
    each_chunk({Work::expert, pass, 0, l, j, 0}, [this](const Op& chunk) { compute(chunk); });
    each_chunk({Work::combine, pass, 0, l, j, 0}, [this](const Op& chunk) { exchange(chunk); });
  }

  /// Chunk by chunk, experts are recomputed right before their backward, so that the internals of
  /// one chunk alone are kept. With whole-layer recomputation their input is sent again, and so is,
  /// as the layer's forward does, their output.
  void backward(std::uint16_t l, std::uint16_t j) {
    const bool by_layer = recompute_ == Recompute::layer;
    const bool by_module = recompute_ == Recompute::module;
    const Op attention{Work::attention, Pass::backward, 0, l, j, 0};
    if (by_layer) compute(as(Pass::recompute, attention));
    if (scenario_.model.layers[l].has_experts) {
      each_chunk({Work::dispatch, Pass::backward, 0, l, j, 0}, [&](const Op& chunk) {
        if (by_layer) exchange(as(Pass::recompute, chunk));
        exchange(chunk);
      });
      each_chunk({Work::expert, Pass::backward, 0, l, j, 0}, [&](const Op& chunk) {
        if (by_layer || by_module) compute(as(Pass::recompute, chunk));
        compute(chunk);
      });
      each_chunk({Work::combine, Pass::backward, 0, l, j, 0}, [&](const Op& chunk) {
        if (by_layer) exchange(as(Pass::recompute, chunk));
        exchange(chunk);
      });
    }
    if (by_module) compute(as(Pass::recompute, attention));
    compute(attention);
  }
  static Op as(Pass pass, Op op) {
    op.pass = pass;
    return op;
  }

  const Scenario& scenario_;
  const ExpertParallelShape& shape_;
  Recompute recompute_;
  ScheduleBuilder builder_;
  std::vector<std::vector<RankId>> holders_of_;  // [groups]
  std::vector<GroupId> groups_;
  std::vector<RankId> owners_;   // of all groups
  std::vector<RankId> holders_;  // of all groups
};

}  // namespace

std::vector<ExpertParallelSeat> expert_parallel_seats(const Scenario& scenario,
                                                      const ExpertParallelShape& shape) {
  std::map<GpuId, ExpertParallelSeat> seats;
  std::uint32_t owners = 0;
  for (std::uint32_t g = 0; g < shape.groups.size(); ++g) {
    const auto& [attention, experts] = shape.groups[g];
    for (const GpuId gpu : attention) seats[gpu] = {gpu, g, true, false, 0};
    for (const GpuId gpu : experts) {
      const auto [at, is_new] = seats.try_emplace(gpu, ExpertParallelSeat{gpu, g, false, true, 0});
      at->second.holds = true;
    }
    owners += static_cast<std::uint32_t>(attention.size());
  }
  const std::vector<std::uint32_t> sequences =
      split_batch(scenario.training.global_batch_sequences, owners, shape.microbatches);
  std::vector<ExpertParallelSeat> out;
  std::size_t owner = 0;
  for (auto& [gpu, seat] : seats) {
    if (seat.owns) seat.sequences = sequences[owner++];
    out.push_back(seat);
  }
  return out;
}

std::vector<std::uint32_t> expert_parallel_holders(std::uint32_t experts, std::uint32_t members,
                                                   std::uint32_t layer) {
  return deal_evenly(experts, members, layer * (experts % members));
}

Recompute expert_parallel_recompute(const Scenario& scenario, const ExpertParallelShape& shape) {
  if (scenario.training.recompute != Recompute::automatic) return scenario.training.recompute;
  return shape.is_disaggregated() ? Recompute::module : Recompute::layer;
}

Schedule expert_parallel_schedule(const Scenario& scenario, const ExpertParallelShape& shape) {
  return ExpertParallelBuilder(scenario, shape).run();
}

}  // namespace zebroid
