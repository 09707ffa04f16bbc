#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "core/error.hpp"
#include "planner/expert_parallel.hpp"
#include "planner/expert_parallel_bound.hpp"
#include "planner/listing.hpp"
#include "planner/planner.hpp"
#include "planner/zebra.hpp"
#include "planner/zebra_bound.hpp"
#include "schedule/files.hpp"
#include "schedule/verify.hpp"

namespace zebroid {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

/// One schedule on trial.
struct Candidate {
  std::uint32_t order = 0;  ///< among all; of equally good ones the first is best
  Schedule schedule;        ///< listed by transfer starts
  std::vector<MemoryUse> memory;
  Seconds makespan;
  Bytes excess;  ///< of the rank that lacks most; <= 0 when all fit

  bool fits() const { return excess.value <= 0; }
  bool better_than(const Candidate& other) const {
    if (fits() != other.fits()) return fits();
    return std::pair(makespan, order) < std::pair(other.makespan, other.order);
  }
};

Bytes capacity_of(const Scenario& scenario, const std::vector<Gpu>& gpus, const Rank& rank) {
  return scenario.cluster.kinds[gpus[rank.gpu.value].kind].memory;
}

/// Experts on attention GPUs, per layer.
std::vector<std::uint32_t> offloaded(const Plan& plan) {
  const std::vector<std::string> rank_roles = roles(plan.schedule);
  std::vector<std::uint32_t> out(plan.schedule.layers, 0);
  for (const Replica& replica : plan.schedule.replicas) {
    for (std::size_t l = 0; l < replica.expert_on.size(); ++l) {
      for (const RankId rank : replica.expert_on[l]) {
        if (rank_roles[rank.value] == "attention") ++out[l];
      }
    }
  }
  return out;
}

/// Settings that need less memory than those of the scenario.
std::string what_saves(const Scenario& scenario) {
  std::string out = "a smaller --global-batch (max: the largest that fits)";
  if (scenario.training.recompute != Recompute::layer) out += ", --recompute layer";
  if (scenario.training.optimizer == Optimizer::adamw) out += ", --optimizer adamw-8bit";
  return out;
}

/// Why the rank that lacks most memory does not fit; "" when all do.
std::string lack(const Plan& plan, const Scenario& scenario) {
  const std::vector<Gpu> gpus = gpus_of(scenario.cluster);
  std::size_t worst = 0;
  Bytes excess{-infinity};
  for (std::size_t r = 0; r < plan.memory.size(); ++r) {
    const Bytes here = plan.memory[r].total() - capacity_of(scenario, gpus, plan.schedule.ranks[r]);
    if (here > excess) {
      excess = here;
      worst = r;
    }
  }
  if (excess.value <= 0) return "";
  constexpr double gib = 1024.0 * 1024.0 * 1024.0;
  const Rank& rank = plan.schedule.ranks[worst];
  const MemoryUse& use = plan.memory[worst];
  return fmt::format(
      "rank {} ({}, {}) lacks {:.0f} bytes: it needs {:.2f} GiB (weights {:.2f}, gradients {:.2f}, "
      "optimizer {:.2f}, activations {:.2f}, receive buffers {:.2f}, runtime {:.2f}) of {:.2f} "
      "GiB; "
      "try {}",
      worst, scenario.cluster.kinds[gpus[rank.gpu.value].kind].name, roles(plan.schedule)[worst],
      excess.value, use.total().value / gib, use.weights.value / gib, use.gradients.value / gib,
      use.optimizer.value / gib, use.activations.value / gib, use.receive_buffers.value / gib,
      use.runtime.value / gib, capacity_of(scenario, gpus, rank).value / gib, what_saves(scenario));
}

std::string count_of(std::size_t n, std::string_view noun, std::string_view plural = "s") {
  return fmt::format("{} {}{}", n, noun, n == 1 ? "" : plural);
}

class Trials {
 public:
  Trials(const Scenario& scenario, const Scorer& score)
      : scenario_(scenario), score_(score), gpus_(gpus_of(scenario.cluster)) {}

  /// Whether a schedule is small enough to be made. One rank lists, for each layer and microbatch,
  /// attention in three passes, and for each chunk dispatch, experts and combine in three; gradient
  /// sums look at all pairs of GPUs.
  bool admits(std::uint32_t microbatches, std::uint32_t chunks) {
    constexpr double most_ops = 50e6;
    constexpr std::size_t most_gpus = 16384;
    const double per_rank =
        static_cast<double>(scenario_.model.layers.size()) * microbatches * (3.0 + 9.0 * chunks);
    const double ops = per_rank * static_cast<double>(gpus_.size());
    if (ops <= most_ops && gpus_.size() <= most_gpus) return true;
    if (refused_.empty()) {
      refused_ = fmt::format(
          "{} GPUs with {} of {} make about {:.0f} million ops; at most {} GPUs and {:.0f} million "
          "ops can be planned",
          gpus_.size(), count_of(microbatches, "microbatch", "es"), count_of(chunks, "chunk"),
          ops / 1e6, most_gpus, most_ops / 1e6);
    }
    return false;
  }

  /// Whether a candidate that takes at least so long can still be best.
  bool may_win(Seconds at_least) const {
    constexpr double rounding = 1 + 1e-9;
    if (!best_.has_value() || (!best_->fits() && some_may_fit_)) return true;
    return at_least <= best_->makespan * rounding;
  }

  /// Nothing for a candidate that is slower than the best one that fits.
  std::optional<Candidate> evaluate_to_win(std::uint32_t order, const Schedule& schedule) {
    const Timeline free_run = simulate(schedule);
    if (!may_win(free_run.makespan())) return std::nullopt;
    return judged(order, schedule, free_run);
  }
  Candidate evaluate(std::uint32_t order, const Schedule& schedule) {
    return judged(order, schedule, simulate(schedule));
  }

  void offer(std::optional<Candidate> candidate) {
    if (!candidate) return;
    if (!best_.has_value() || candidate->better_than(*best_)) best_ = std::move(candidate);
  }
  bool has_fitting() const { return best_.has_value() && best_->fits(); }

  /// For candidates that differ in activations and buffers alone: when the rest does not fit, none
  /// will, and the fastest is best.
  void look_at_parameters() {
    if (!best_.has_value()) return;
    for (std::size_t r = 0; r < best_->memory.size(); ++r) {
      const MemoryUse& use = best_->memory[r];
      const Bytes fixed = use.weights + use.gradients + use.optimizer + use.runtime;
      if (fixed > capacity_of(scenario_, gpus_, best_->schedule.ranks[r])) some_may_fit_ = false;
    }
  }

  Plan finish() {
    if (!best_.has_value()) throw Error(ErrorKind::input, refused_);
    Plan out;
    out.schedule = std::move(best_->schedule);
    const std::vector<Fault> faults = verify(out.schedule);
    if (!faults.empty()) {
      throw Error(ErrorKind::internal, "the planner made a faulty schedule: " + faults[0].message);
    }
    out.timeline = score_(out.schedule, PredictedLoad(out.schedule, scenario_), true);
    out.memory = std::move(best_->memory);
    out.candidates_simulated = simulated_;
    judge(out, scenario_);
    return out;
  }

 private:
  Timeline simulate(const Schedule& schedule) {
    ++simulated_;
    return score_(schedule, PredictedLoad(schedule, scenario_), false);
  }

  Candidate judged(std::uint32_t order, const Schedule& schedule, const Timeline& free_run) const {
    Candidate out;
    out.order = order;
    out.makespan = free_run.makespan();
    out.schedule = list_by_start(schedule, free_run);
    out.memory = peak_memory(out.schedule, scenario_, PredictedLoad(out.schedule, scenario_));
    out.excess = {-infinity};
    for (std::size_t r = 0; r < out.memory.size(); ++r) {
      out.excess = std::max(
          out.excess, out.memory[r].total() - capacity_of(scenario_, gpus_, out.schedule.ranks[r]));
    }
    return out;
  }

  const Scenario& scenario_;
  const Scorer& score_;
  std::vector<Gpu> gpus_;
  std::optional<Candidate> best_;
  std::string refused_;  ///< why the first candidate that was too large is
  std::uint32_t simulated_ = 0;
  bool some_may_fit_ = true;
};

/// A candidate before its schedule is made.
struct Bounded {
  Seconds at_least;
  std::uint32_t order = 0;
  std::uint32_t count = 0;  ///< of what is tried: microbatches or chunks
};

/// Those that promise most come first, so that their times rule out the others.
void best_bound_first(std::vector<Bounded>& candidates) {
  std::stable_sort(candidates.begin(), candidates.end(),
                   [](const Bounded& a, const Bounded& b) { return a.at_least < b.at_least; });
}

// --- zebra ---

class ZebraPlanner {
 public:
  ZebraPlanner(const Scenario& scenario, const PlanRequest& request, Trials& trials)
      : scenario_(scenario), request_(request), trials_(trials) {}

  void run() {
    const std::vector<std::uint32_t> kinds = kinds_by_attention_gain(scenario_);
    if (kinds.size() < 2) {
      throw Error(
          ErrorKind::input,
          fmt::format("zebra parallelism needs GPUs of at least two kinds, the cluster has {} "
                      "only; try --strategy ep",
                      scenario_.cluster.kinds[kinds.front()].name));
    }
    std::string reason;
    bool tried = false;
    for (std::size_t cut = 1; cut < kinds.size(); ++cut) {
      const auto at = kinds.begin() + static_cast<std::ptrdiff_t>(cut);
      const GpuList attention = gpus_of_kinds(scenario_.cluster, {kinds.begin(), at});
      const GpuList experts = gpus_of_kinds(scenario_.cluster, {at, kinds.end()});
      try {
        with_roles(attention, experts);
        tried = true;
      } catch (const Error& error) {  // another cut may do
        if (error.kind() != ErrorKind::input) throw;
        if (reason.empty()) reason = error.what();
      }
    }
    if (!tried) throw Error(ErrorKind::input, reason);
  }

 private:
  std::uint32_t choose_groups(const GpuList& attention, const GpuList& experts) const {
    const auto most = static_cast<std::uint32_t>(std::min(attention.size(), experts.size()));
    const std::uint32_t n = scenario_.model.experts;
    const auto per_group = [&](std::uint32_t groups) {
      return static_cast<std::uint32_t>((experts.size() + groups - 1) / groups);
    };
    if (request_.groups) {
      const std::uint32_t groups = *request_.groups;
      if (groups > most) {
        throw Error(ErrorKind::input,
                    fmt::format("{} need at least that many GPUs of each role; there are {} and {}",
                                count_of(groups, "zebra group"),
                                count_of(attention.size(), "attention GPU"),
                                count_of(experts.size(), "expert GPU")));
      }
      if (per_group(groups) > n) {
        throw Error(ErrorKind::input,
                    fmt::format("{} cannot be spread over {} in one zebra group; use more groups",
                                count_of(n, "expert"), count_of(per_group(groups), "expert GPU")));
      }
      return groups;
    }
    for (std::uint32_t groups = 1; groups <= most; ++groups) {
      if (per_group(groups) <= n) return groups;
    }
    throw Error(
        ErrorKind::input,
        fmt::format("{} are fewer than the expert GPUs of a zebra group: {} for {}, in at most {}",
                    count_of(n, "expert"), count_of(experts.size(), "expert GPU"),
                    count_of(attention.size(), "attention GPU"), count_of(most, "group")));
  }

  void with_roles(const GpuList& attention, const GpuList& experts) {
    const std::uint32_t groups = choose_groups(attention, experts);
    const auto attention_of = cut_into_groups(scenario_.cluster, attention, groups);
    const auto experts_of = cut_into_groups(scenario_.cluster, experts, groups);
    ZebraShape shape;
    for (std::uint32_t g = 0; g < groups; ++g)
      shape.groups.push_back({attention_of[g], experts_of[g]});
    const auto owners = static_cast<std::uint32_t>(attention.size());
    const std::uint32_t least = split_batch(scenario_.training.global_batch_sequences, owners,
                                            request_.microbatches.value_or(1))
                                    .back();
    const std::vector<std::uint32_t> candidates =
        request_.microbatches ? std::vector{*request_.microbatches} : microbatch_candidates(least);
    with_candidates(shape, candidates);
  }

  void with_candidates(ZebraShape& shape, const std::vector<std::uint32_t>& candidates) {
    std::vector<Bounded> bounded;
    for (const std::uint32_t r : candidates) {
      const std::uint32_t order = order_;
      order_ += 2;  // even, and with experts moved
      if (!trials_.admits(r, 1)) continue;
      shape.microbatches = r;
      bounded.push_back({zebra_bound_of_all(scenario_, shape, most_offload(shape)), order, r});
    }
    if (!request_.exhaustive) best_bound_first(bounded);
    for (const Bounded& candidate : bounded) {
      if (!request_.exhaustive && !trials_.may_win(candidate.at_least)) break;
      shape.microbatches = candidate.count;
      with_microbatches(shape, candidate.order);
    }
  }

  std::uint32_t most_offload(const ZebraShape& shape) const {
    if (request_.assignment == ExpertAssignment::even) return 0;
    const std::size_t attention = shape.groups.front().attention.size();
    const std::size_t experts = shape.groups.front().experts.size();
    if (attention % experts != 0 && experts % attention != 0) return 0;
    return scenario_.model.experts / static_cast<std::uint32_t>(experts);
  }

  void with_microbatches(ZebraShape shape, std::uint32_t order) {
    shape.offload.assign(scenario_.model.layers.size(), 0);
    const Schedule schedule = zebra_schedule(scenario_, shape);
    if (most_offload(shape) == 0) {
      trials_.offer(trials_.evaluate_to_win(order, schedule));
      return;
    }
    Candidate even = trials_.evaluate(order, schedule);
    const std::vector<std::uint32_t> offload = gathered(shape, even);
    trials_.offer(std::move(even));
    if (offload == shape.offload) return;
    shape.offload = offload;
    if (!request_.exhaustive && !trials_.may_win(zebra_bound(scenario_, shape))) return;
    trials_.offer(trials_.evaluate_to_win(order + 1, zebra_schedule(scenario_, shape)));
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

// --- expert parallelism ---

std::uint32_t expert_parallel_groups(const Scenario& scenario, const PlanRequest& request,
                                     std::size_t gpus) {
  const std::uint32_t n = scenario.model.experts;
  const auto per_group = [&](std::size_t groups) { return (gpus + groups - 1) / groups; };
  if (!request.groups) {
    std::uint32_t groups = 1;
    while (per_group(groups) > n) ++groups;
    return groups;
  }
  if (*request.groups > gpus) {
    throw Error(ErrorKind::input,
                fmt::format("{} need at least as many GPUs; there are {}",
                            count_of(*request.groups, "expert-parallel group"), gpus));
  }
  if (per_group(*request.groups) > n) {
    throw Error(
        ErrorKind::input,
        fmt::format("{} cannot be spread over {} in one expert-parallel group; use more groups",
                    count_of(n, "expert"), count_of(per_group(*request.groups), "GPU")));
  }
  return *request.groups;
}

void plan_expert_parallel(const Scenario& scenario, const PlanRequest& request, Trials& trials) {
  GpuList all;
  const std::size_t gpus = gpus_of(scenario.cluster).size();
  for (std::uint32_t g = 0; g < gpus; ++g) all.push_back({g});
  const std::uint32_t groups = expert_parallel_groups(scenario, request, all.size());
  ExpertParallelShape shape;
  shape.groups = cut_into_groups(scenario.cluster, all, groups);
  const std::uint32_t least =
      split_batch(scenario.training.global_batch_sequences, static_cast<std::uint32_t>(all.size()),
                  request.microbatches.value_or(1))
          .back();
  // Gradient accumulation only when the whole share does not fit at once.
  const std::vector<std::uint32_t> microbatches =
      request.microbatches ? std::vector{*request.microbatches} : microbatch_candidates(least);
  const std::vector<std::uint32_t> chunks =
      request.chunks ? std::vector{*request.chunks} : std::vector<std::uint32_t>{1, 2, 3, 4, 6, 8};
  std::uint32_t order = 0;
  for (const std::uint32_t r : microbatches) {
    shape.microbatches = r;
    std::vector<Bounded> bounded;
    for (const std::uint32_t c : chunks) {
      shape.chunks = c;
      if (!trials.admits(r, c)) continue;
      bounded.push_back({expert_parallel_bound(scenario, shape), order++, c});
    }
    if (!request.exhaustive) best_bound_first(bounded);
    for (const Bounded& candidate : bounded) {
      if (!request.exhaustive && !trials.may_win(candidate.at_least)) break;
      shape.chunks = candidate.count;
      trials.offer(
          trials.evaluate_to_win(candidate.order, expert_parallel_schedule(scenario, shape)));
      trials.look_at_parameters();
    }
    if (trials.has_fitting()) return;
  }
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

}  // namespace

const std::vector<std::string>& strategy_names() {
  static const std::vector<std::string> names = {"ep", "zebra"};
  return names;
}

const std::vector<std::string>& expert_assignment_names() {
  static const std::vector<std::string> names = {"even", "gather-and-squeeze",
                                                 "gather-and-squeeze-printed"};
  return names;
}

void judge(Plan& plan, const Scenario& scenario) {
  plan.groups = static_cast<std::uint32_t>(plan.schedule.replicas.size());
  plan.offloaded = offloaded(plan);
  plan.lacks_memory = lack(plan, scenario);
}

Plan plan(const Scenario& scenario, const PlanRequest& request, const Scorer& score) {
  if (scenario.model.layers.size() > UINT16_MAX || scenario.model.experts > UINT16_MAX) {
    throw Error(ErrorKind::input,
                fmt::format("a schedule holds at most {} layers and experts", UINT16_MAX));
  }
  Trials trials(scenario, score);
  switch (request.strategy) {
    case Strategy::zebra:
      ZebraPlanner(scenario, request, trials).run();
      break;
    case Strategy::expert_parallel:
      plan_expert_parallel(scenario, request, trials);
      break;
  }
  Plan out = trials.finish();
  if (request.strategy == Strategy::zebra && request.assignment != ExpertAssignment::even) {
    const std::string why = why_none_move(out.schedule);
    if (!why.empty()) out.notes.push_back(why);
  }
  return out;
}

}  // namespace zebroid
