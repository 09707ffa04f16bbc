#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/error.hpp"
#include "planner/searches.hpp"
#include "planner/zebra.hpp"
#include "planner/zebra_bound.hpp"
#include "schedule/files.hpp"
#include "schedule/verify.hpp"

namespace zebroid {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

class ZebraSearch {
 public:
  ZebraSearch(const Scenario& scenario, const PlanRequest& request, Trials& trials)
      : scenario_(scenario), request_(request), trials_(trials) {}

  void run() {
    std::string reason;
    bool tried = false;
    for (const RoleGroups& groups : role_groups(scenario_, request_, "zebra")) {
      try {
        with_roles(groups);
        tried = true;
      } catch (const Error& error) {  // other roles may do
        if (error.kind() != ErrorKind::input) throw;
        if (reason.empty()) reason = error.what();
      }
    }
    if (!tried) throw Error(ErrorKind::input, reason);
  }

 private:
  void with_roles(const RoleGroups& groups) {
    std::size_t owners = 0;
    for (const RoleGroup& group : groups) owners += group.attention.size();
    const std::uint32_t least =
        split_batch(scenario_.training.global_batch_sequences, static_cast<std::uint32_t>(owners),
                    request_.microbatches.value_or(1))
            .back();
    const std::vector<std::uint32_t> candidates =
        request_.microbatches ? std::vector{*request_.microbatches} : microbatch_candidates(least);
    ZebraShape shape = zebra_shape(groups, 1);
    shape.chunks = request_.chunks.value_or(1);
    const std::vector<std::uint32_t> moved = with_candidates(shape, candidates);
    if (request_.assignment != ExpertAssignment::optimal) return;
    search_optimal_assignment(scenario_, request_, {shape, candidates, moved}, order_, trials_);
  }

  /// Returns the last vector of Algorithm 1; [layers], or none.
  std::vector<std::uint32_t> with_candidates(ZebraShape& shape,
                                             const std::vector<std::uint32_t>& candidates) {
    std::vector<Bounded> bounded;
    const std::vector<Placement> choices = even_choices(shape);
    for (const std::uint32_t r : candidates) {
      const std::uint32_t order = order_;
      order_ += 2;  // even, and with experts moved
      if (!trials_.admits(r, shape.chunks)) continue;
      shape.microbatches = r;
      bounded.push_back({zebra_bound_of_all(scenario_, shape, choices), order, r});
    }
    if (!request_.exhaustive) best_bound_first(bounded);
    std::vector<std::uint32_t> moved;
    for (const Bounded& candidate : bounded) {
      if (!request_.exhaustive && !trials_.may_win(candidate.at_least)) break;
      shape.microbatches = candidate.count;
      moved = with_microbatches(shape, candidate.order);
    }
    return moved;
  }

  std::vector<Placement> even_choices(ZebraShape shape) const {
    std::vector<Placement> out;
    for (std::uint32_t offload = 0; offload <= most_offload(shape); ++offload) {
      place_evenly(scenario_.model, std::vector(scenario_.model.layers.size(), offload), shape);
      out.push_back(shape.groups.front().placement);
    }
    return out;
  }

  std::uint32_t most_offload(const ZebraShape& shape) const {
    if (request_.assignment == ExpertAssignment::even) return 0;
    const std::size_t attention = shape.groups.front().attention.size();
    const std::size_t experts = shape.groups.front().experts.size();
    if (attention % experts != 0 && experts % attention != 0) return 0;
    return scenario_.model.experts / static_cast<std::uint32_t>(experts);
  }

  /// Even, and as Algorithm 1 moves experts, which it returns; [layers], or none.
  std::vector<std::uint32_t> with_microbatches(ZebraShape shape, std::uint32_t order) {
    const std::vector<std::uint32_t> none_move(scenario_.model.layers.size(), 0);
    place_evenly(scenario_.model, none_move, shape);
    const Schedule schedule = zebra_schedule(scenario_, shape);
    if (most_offload(shape) == 0) {
      trials_.offer(trials_.evaluate_to_win(order, schedule));
      return {};
    }
    Candidate even = trials_.evaluate(order, schedule);
    std::vector<std::uint32_t> offload = gathered(shape, even);
    trials_.offer(std::move(even));
    if (offload == none_move) return {};
    place_evenly(scenario_.model, offload, shape);
    if (request_.exhaustive || trials_.may_win(zebra_bound(scenario_, shape))) {
      trials_.offer(trials_.evaluate_to_win(order + 1, zebra_schedule(scenario_, shape)));
    }
    return offload;
  }

  /// Algorithm 1 on the first group, whose times and memory stand for all.
  std::vector<std::uint32_t> gathered(const ZebraShape& shape, const Candidate& even) const {
    const ZebraGroup& group = shape.groups.front();
    GatherAndSqueeze in;
    in.experts = scenario_.model.experts;
    in.layers = scenario_.model.moe_layers();
    in.attention_gpus = static_cast<std::uint32_t>(group.attention.size());
    in.expert_gpus = static_cast<std::uint32_t>(group.experts.size());
    in.form = request_.assignment == ExpertAssignment::gather_and_squeeze_printed
                  ? SqueezeForm::printed
                  : SqueezeForm::prose;
    set_times(in, shape, even);
    set_memory_bounds(in, even);
    const Offload offload = gather_and_squeeze(in);
    std::vector<std::uint32_t> out;
    std::size_t moe_layer = 0;
    for (const Layer& layer : scenario_.model.layers) {
      out.push_back(layer.has_experts ? offload.per_layer[moe_layer++] : 0);
    }
    return out;
  }

  /// Times of a pool are those of its slowest kind, which the others wait for.
  void set_times(GatherAndSqueeze& in, const ZebraShape& shape, const Candidate& even) const {
    const std::vector<Gpu> gpus = gpus_of(scenario_.cluster);
    const std::vector<CostModel> costs = cost_models(scenario_);
    const ZebraGroup& group = shape.groups.front();
    std::uint64_t sequences = 0;  // of one microbatch in the group
    for (const Rank& rank : even.schedule.ranks) {
      if (rank.replica == 0) sequences += sequences_in(rank.sequences, 0, shape.microbatches);
    }
    const double tokens = static_cast<double>(sequences) * scenario_.training.sequence_length;
    const double rows = tokens * scenario_.model.top_k / in.expert_gpus;
    const double held = static_cast<double>(in.experts) / in.expert_gpus;
    for (const GpuId gpu : group.experts) {
      in.experts_on_expert_gpu =
          std::max(in.experts_on_expert_gpu,
                   costs[gpus[gpu.value].kind].expert(Direction::forward, rows, held).total());
    }
    for (const GpuId gpu : group.attention) {
      const CostModel& cost = costs[gpus[gpu.value].kind];
      in.experts_on_attention_gpu = std::max(in.experts_on_attention_gpu,
                                             cost.expert(Direction::forward, rows, held).total());
      in.attention = std::max(
          in.attention, mean_attention(cost, static_cast<double>(sequences) / in.attention_gpus));
    }
  }

  /// Forward, per layer with experts.
  Seconds mean_attention(const CostModel& cost, double sequences) const {
    Seconds sum;
    for (std::uint32_t l = 0; l < scenario_.model.layers.size(); ++l) {
      if (!scenario_.model.layers[l].has_experts) continue;
      sum += cost.attention(l, Direction::forward, sequences, scenario_.training.sequence_length)
                 .total();
    }
    return sum / scenario_.model.moe_layers();
  }

  /// How many experts have to leave an expert GPU for it to fit, and how many may before the
  /// attention GPUs are full: with their states and the inputs that they keep.
  void set_memory_bounds(GatherAndSqueeze& in, const Candidate& even) const {
    const std::vector<Gpu> gpus = gpus_of(scenario_.cluster);
    Bytes room{infinity};      // on the fullest attention GPU
    Bytes lacking{-infinity};  // on the fullest expert GPU
    Bytes inputs;              // kept on an expert GPU, all layers
    for (std::size_t r = 0; r < even.memory.size(); ++r) {
      const Bytes capacity = capacity_of(scenario_, gpus, even.schedule.ranks[r]);
      const Bytes used = even.memory[r].total();
      if (even.schedule.ranks[r].sequences > 0) {
        room = std::min(room, capacity - used);
      } else if (used - capacity > lacking) {
        lacking = used - capacity;
        inputs = even.memory[r].activations;
      }
    }
    const double per_gpu = static_cast<double>(in.experts) * in.layers / in.expert_gpus;
    std::uint32_t moe_layer = 0;
    while (!scenario_.model.layers[moe_layer].has_experts) ++moe_layer;
    const Bytes expert{layer_parameters(scenario_.model, moe_layer).expert *
                           bytes_per_parameter(scenario_.training.optimizer) +
                       inputs.value / per_gpu};
    in.least_offloaded = std::max(0.0, std::ceil(lacking / expert));
    const double arriving_per_leaving = static_cast<double>(in.expert_gpus) / in.attention_gpus;
    in.most_offloaded =
        std::min(per_gpu, std::max(0.0, std::floor(room / expert / arriving_per_leaving)));
  }

  const Scenario& scenario_;
  const PlanRequest& request_;
  Trials& trials_;
  std::uint32_t order_ = 0;
};

}  // namespace

void search_zebra(const Scenario& scenario, const PlanRequest& request, Trials& trials) {
  ZebraSearch(scenario, request, trials).run();
}

/// Why no experts moved though they were asked to; "" when they could.
std::string why_none_move(const Schedule& schedule) {
  std::size_t attention = 0;
  std::size_t experts = 0;
  const std::vector<std::string> rank_roles = roles(schedule);
  for (std::size_t r = 0; r < schedule.ranks.size(); ++r) {
    if (schedule.ranks[r].replica == 0) ++(rank_roles[r] == "attention" ? attention : experts);
  }
  if (attention == 0 || experts == 0) return "";
  if (attention % experts == 0 || experts % attention == 0) return "";
  return fmt::format(
      "zebra: all experts stay on expert GPUs, since gather-and-squeeze moves them only where one "
      "of {} and {} divides the other",
      count_of(attention, "attention GPU"), count_of(experts, "expert GPU"));
}

}  // namespace zebroid
