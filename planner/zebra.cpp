#include "planner/zebra.hpp"

#include <algorithm>
#include <array>

#include "planner/builder.hpp"
#include "schedule/exchanges.hpp"

namespace zebroid {
namespace {

/// One group while its ops are listed.
struct Members {
  std::vector<RankId> attention;
  std::vector<RankId> experts;
  GroupId all;
  std::vector<std::vector<RankId>> expert_on;  // [layers][experts]
  std::vector<std::vector<RankId>> holders;    // [layers] ranks with experts
};

class ZebraBuilder {
 public:
  ZebraBuilder(const Scenario& scenario, const ZebraShape& shape)
      : scenario_(scenario),
        shape_(shape),
        recompute_(scenario.training.recompute == Recompute::automatic
                       ? Recompute::module
                       : scenario.training.recompute),
        builder_(scenario, shape.microbatches, shape.chunks) {}

  Schedule run() {
    add_ranks();
    const auto layers = static_cast<std::uint16_t>(scenario_.model.layers.size());
    for (std::uint32_t g = 0; g < groups_.size(); ++g) place_experts(g);
    for (std::uint16_t l = 0; l < layers; ++l) {
      for (const Members& group : groups_) forward(group, l, Pass::forward);
    }
    for (const Members& group : groups_) head(group, static_cast<std::uint16_t>(layers - 1));
    for (std::uint16_t l = layers; l-- > 0;) {
      for (const Members& group : groups_) backward(group, l);
    }
    std::vector<RankId> owners;
    for (const Members& group : groups_) {
      owners.insert(owners.end(), group.attention.begin(), group.attention.end());
    }
    std::sort(owners.begin(), owners.end());
    builder_.finish_step(std::vector(layers, owners));
    return builder_.finish();
  }

 private:
  /// Ranks count through the GPUs of all groups in ascending order.
  void add_ranks() {
    struct Seat {
      GpuId gpu;
      std::uint32_t group;
      bool attention;
    };
    std::vector<Seat> seats;
    std::uint32_t owners = 0;
    for (std::uint32_t g = 0; g < shape_.groups.size(); ++g) {
      for (const GpuId gpu : shape_.groups[g].attention) seats.push_back({gpu, g, true});
      for (const GpuId gpu : shape_.groups[g].experts) seats.push_back({gpu, g, false});
      owners += static_cast<std::uint32_t>(shape_.groups[g].attention.size());
    }
    std::sort(seats.begin(), seats.end(),
              [](const Seat& a, const Seat& b) { return a.gpu < b.gpu; });
    const std::vector<std::uint32_t> sequences =
        split_batch(scenario_.training.global_batch_sequences, owners, shape_.microbatches);
    groups_.resize(shape_.groups.size());
    std::size_t owner = 0;
    for (const Seat& seat : seats) {
      const RankId rank =
          builder_.add_rank(seat.gpu, seat.group, seat.attention ? sequences[owner++] : 0);
      (seat.attention ? groups_[seat.group].attention : groups_[seat.group].experts)
          .push_back(rank);
    }
    for (Members& group : groups_) {
      std::vector<RankId> all = group.attention;
      all.insert(all.end(), group.experts.begin(), group.experts.end());
      group.all = builder_.group(all);
    }
  }

  void place_experts(std::uint32_t g) {
    Members& group = groups_[g];
    const auto expert_gpus = static_cast<std::uint32_t>(group.experts.size());
    for (std::uint32_t l = 0; l < scenario_.model.layers.size(); ++l) {
      auto& expert_on = group.expert_on.emplace_back();
      auto& holders = group.holders.emplace_back();
      if (!scenario_.model.layers[l].has_experts) continue;
      for (const std::uint32_t holder : shape_.groups[g].placement[l]) {
        expert_on.push_back(holder < expert_gpus ? group.experts[holder]
                                                 : group.attention[holder - expert_gpus]);
      }
      holders = expert_on;
      std::sort(holders.begin(), holders.end());
      holders.erase(std::unique(holders.begin(), holders.end()), holders.end());
      builder_.place(g, l, expert_on);
    }
  }

  template <class Body>
  void each_microbatch(const Body& body) {
    for (std::uint16_t j = 0; j < shape_.microbatches; ++j) body(j);
  }
  /// Of each microbatch, one after the other.
  template <class Body>
  void each_chunk(Op op, const Body& body) {
    for (op.microbatch = 0; op.microbatch < shape_.microbatches; ++op.microbatch) {
      for (op.chunk = 0; op.chunk < shape_.chunks; ++op.chunk) body(op);
    }
  }
  void exchange(const Members& group, const Op& op) {
    each_chunk(op, [&](const Op& chunk) { builder_.exchange(group.all, chunk); });
  }
  void compute(const std::vector<RankId>& ranks, const Op& op) {
    for (const RankId rank : ranks) builder_.compute(rank, op);
  }
  bool has_experts(std::uint16_t l) const { return scenario_.model.layers[l].has_experts; }

  /// A forward pass of one layer, also when it is recomputed as a whole.
  void forward(const Members& group, std::uint16_t l, Pass pass) {
    each_microbatch([&](std::uint16_t j) {
      compute(group.attention, {Work::attention, pass, 0, l, j, 0});
    });
    if (!has_experts(l)) return;
    exchange(group, {Work::dispatch, pass, 0, l, 0, 0});
    each_chunk({Work::expert, pass, 0, l, 0, 0},
               [&](const Op& chunk) { compute(group.holders[l], chunk); });
    exchange(group, {Work::combine, pass, 0, l, 0, 0});
  }

  void head(const Members& group, std::uint16_t last) {
    each_microbatch([&](std::uint16_t j) {
      compute(group.attention, {Work::head, Pass::forward, 0, last, j, 0});
      compute(group.attention, {Work::head, Pass::backward, 0, last, j, 0});
    });
  }

  void backward(const Members& group, std::uint16_t l) {
    const Pass pass = Pass::backward;
    if (recompute_ == Recompute::layer) forward(group, l, Pass::recompute);
    if (has_experts(l)) {
      exchange(group, {Work::dispatch, pass, 0, l, 0, 0});
      each_chunk({Work::expert, pass, 0, l, 0, 0},
                 [&](const Op& chunk) { recompute_then_backward(group.holders[l], chunk); });
      exchange(group, {Work::combine, pass, 0, l, 0, 0});
    }
    each_microbatch([&](std::uint16_t j) {
      recompute_then_backward(group.attention, {Work::attention, pass, 0, l, j, 0});
    });
  }

  void recompute_then_backward(const std::vector<RankId>& ranks, Op op) {
    if (recompute_ == Recompute::module) {
      op.pass = Pass::recompute;
      compute(ranks, op);
    }
    op.pass = Pass::backward;
    compute(ranks, op);
  }

  const Scenario& scenario_;
  const ZebraShape& shape_;
  Recompute recompute_;
  ScheduleBuilder builder_;
  std::vector<Members> groups_;
};

}  // namespace

ZebraShape zebra_shape(const RoleGroups& groups, std::uint32_t microbatches) {
  ZebraShape out;
  for (const RoleGroup& group : groups) out.groups.push_back({group, {}});
  out.microbatches = microbatches;
  return out;
}

void place_evenly(const MoeModel& model, const std::vector<std::uint32_t>& offload,
                  ZebraShape& shape) {
  for (ZebraGroup& group : shape.groups) {
    group.placement = even_placement(model, static_cast<std::uint32_t>(group.experts.size()),
                                     static_cast<std::uint32_t>(group.attention.size()), offload);
  }
}

Schedule zebra_schedule(const Scenario& scenario, const ZebraShape& shape) {
  return ZebraBuilder(scenario, shape).run();
}

}  // namespace zebroid
