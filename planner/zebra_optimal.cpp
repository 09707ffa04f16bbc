#include <algorithm>
#include <cmath>
#include <limits>
#include <set>
#include <utility>

#include "planner/searches.hpp"
#include "planner/zebra.hpp"
#include "planner/zebra_bound.hpp"
#include "schedule/memory.hpp"
#include "schedule/verify.hpp"

namespace zebroid {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

/// Of one layer: how many experts' load goes to attention GPUs. [layers]
using Vector = std::vector<std::uint32_t>;
using Judgement = Trials::Judgement;
using Order = Trials::Order;

/// Climbs from vector to vector for each number of microbatches, those first that promise most.
class OptimalSearch {
 public:
  OptimalSearch(const Scenario& scenario, const PlanRequest& request, ZebraTried tried,
                std::uint32_t& order, Trials& trials)
      : scenario_(scenario),
        request_(request),
        shape_(std::move(tried.shape)),
        microbatches_(std::move(tried.microbatches)),
        gathered_(std::move(tried.gathered)),
        costs_(cost_models(scenario)),
        gpus_(gpus_of(scenario.cluster)),
        order_(order),
        trials_(trials) {
    step_ = std::max<std::uint32_t>(1, scenario.model.experts / most_steps);
    for (std::uint32_t l = 0; l < scenario.model.layers.size(); ++l) {
      if (!scenario.model.layers[l].has_experts) continue;
      moe_layers_.push_back(l);
      const auto& shares = scenario.shares[l];
      is_skewed_ = is_skewed_ || shares != std::vector(shares.size(), shares.front());
    }
    make_units();
  }

  void run() {
    std::vector<std::uint32_t> admitted;
    for (const std::uint32_t r : microbatches_) {
      if (trials_.admits(r, shape_.chunks)) admitted.push_back(r);
    }
    if (admitted.empty()) return;
    find_holders(admitted[admitted.size() / 2]);
    for (auto& group : holders_) {  // how much room there is depends on the microbatches
      for (Holder& holder : group) holder.room = infinity;
    }
    find_starts();
    spent_before_ = trials_.ops_simulated();
    probe(admitted);
    keep_best(3);
    for (Climb& climb : climbs_) start(climb);
    keep_best(2);
    for (Climb& climb : climbs_) finish(climb);
    try_variants();
  }

 private:
  struct Climb {
    std::uint32_t microbatches = 1;
    std::set<Vector> known;
    struct {
      Vector vector;
      Judgement judgement;
      double estimate = 0;
    } best;
  };

  static constexpr std::size_t most_steps = 32;
  static constexpr std::size_t most_units = 12;

  /// Counted in ops, since results must not depend on the clock: many small schedules, a few large
  /// ones. Ranks that all differ take longer.
  bool is_spent(double part = 1) const {
    constexpr double some_ops = 500'000;
    constexpr double many_ops = 8'000'000;
    constexpr double many = 24;
    constexpr double few = 4;
    const auto one = static_cast<double>(ops_of_one_);
    const double limit = some_ops + std::min(many * one, many_ops + few * one);
    const auto spent = static_cast<double>(trials_.ops_simulated() - spent_before_);
    return spent * (is_skewed_ ? 3 : 1) >= part * limit;
  }

  void keep_best(std::size_t most) {
    std::stable_sort(climbs_.begin(), climbs_.end(), [](const Climb& a, const Climb& b) {
      return a.best.judgement < b.best.judgement;
    });
    if (climbs_.size() > most) climbs_.resize(most);
  }

  // --- what is tried ---

  /// Layers that change together. Fill and drain make the first and the last one special.
  void make_units() {
    const std::size_t layers = moe_layers_.size();
    units_.push_back({moe_layers_.back()});
    if (layers > 1) units_.push_back({moe_layers_.front()});
    const std::size_t inner = layers > 2 ? layers - 2 : 0;
    const std::size_t runs = std::min(inner, most_units - 2);
    for (std::size_t u = 0; u < runs; ++u) {
      const auto begin = moe_layers_.begin() + 1;
      units_.emplace_back(begin + static_cast<std::ptrdiff_t>(u * inner / runs),
                          begin + static_cast<std::ptrdiff_t>((u + 1) * inner / runs));
    }
  }

  Vector constant(std::uint32_t moved) const {
    Vector out(scenario_.model.layers.size(), 0);
    for (const std::uint32_t l : moe_layers_) out[l] = moved;
    return out;
  }

  std::vector<Vector> constants() const {
    std::vector<Vector> out;
    for (std::uint32_t m = 0; m < scenario_.model.experts; m += step_) out.push_back(constant(m));
    out.push_back(constant(scenario_.model.experts));
    return out;
  }

  std::vector<Placement> placements(const std::vector<Vector>& vectors) const {
    std::vector<Placement> out;
    for (const Vector& vector : vectors) out.push_back(placement(0, vector));
    return out;
  }

  Placement placement(std::size_t group, const Vector& vector) const {
    return longest_first_placement(scenario_, holders_[group],
                                   static_cast<std::uint32_t>(shape_.groups[group].experts.size()),
                                   vector);
  }

  // --- what GPUs can take ---

  /// From an even schedule.
  void find_holders(std::uint32_t microbatches) {
    shape_.microbatches = microbatches;
    place_evenly(scenario_.model, constant(0), shape_);
    const Schedule even = zebra_schedule(scenario_, shape_);
    ops_of_one_ = 0;
    for (const Rank& rank : even.ranks) ops_of_one_ += even.programs[rank.program].size();
    const PredictedLoad load(even, scenario_);
    const std::vector<MemoryUse> memory = peak_memory(even, scenario_, load);
    std::vector<double> held;  // [ranks] experts
    for (std::uint32_t r = 0; r < even.ranks.size(); ++r) held.push_back(held_by(even, {r}));
    const Bytes expert = bytes_of_expert(even, memory, held);
    holders_.assign(shape_.groups.size(), {});
    for (const bool attention : {false, true}) {  // expert GPUs come first
      for (std::uint32_t r = 0; r < even.ranks.size(); ++r) {
        if ((even.ranks[r].sequences > 0) != attention) continue;
        Holder& holder = holders_[even.ranks[r].replica].emplace_back(timed(even, load, {r}));
        const Bytes left = capacity_of(scenario_, gpus_, even.ranks[r]) - memory[r].total();
        holder.room = std::max(0.0, held[r] + std::floor(left / expert));
      }
    }
  }

  static double held_by(const Schedule& schedule, RankId rank) {
    double out = 0;
    for (const auto& layer : schedule.replicas[schedule.ranks[rank.value].replica].expert_on) {
      out += static_cast<double>(std::count(layer.begin(), layer.end(), rank));
    }
    return out;
  }

  /// States, and the rows that it keeps.
  Bytes bytes_of_expert(const Schedule& even, const std::vector<MemoryUse>& memory,
                        const std::vector<double>& held) const {
    Bytes rows;
    for (std::size_t r = 0; r < memory.size(); ++r) {
      if (even.ranks[r].sequences > 0 || held[r] == 0) continue;
      rows = std::max(rows, memory[r].activations / held[r]);
    }
    return rows + Bytes{layer_parameters(scenario_.model, moe_layers_.front()).expert *
                        bytes_per_parameter(scenario_.training.optimizer)};
  }

  Op attention_of_first(Pass pass = Pass::forward) const {
    return {Work::attention, pass, 0, static_cast<std::uint16_t>(moe_layers_.back()), 0, 0};
  }

  /// What microbatch 0 takes the GPU in one layer, computed twice forward.
  Holder timed(const Schedule& even, const PredictedLoad& load, RankId rank) const {
    const Rank& own = even.ranks[rank.value];
    const auto all_passes = [](Seconds forward, Seconds backward) {
      return (2 * forward + backward).value;
    };
    double tokens = 0;
    for (std::uint32_t r = 0; r < even.ranks.size(); ++r) {
      if (even.ranks[r].replica == own.replica) tokens += load.tokens({r}, attention_of_first());
    }
    const auto experts = [&](Direction direction) {
      return costs_[gpus_[own.gpu.value].kind]
          .expert(direction, tokens * scenario_.model.top_k, scenario_.model.experts)
          .total();
    };
    Holder out;
    out.seconds = all_passes(experts(Direction::forward), experts(Direction::backward));
    if (own.sequences > 0) {
      out.busy = all_passes(load.seconds(rank, attention_of_first()),
                            load.seconds(rank, attention_of_first(Pass::backward)));
    }
    return out;
  }

  // --- the climb ---

  /// What a vector would take if nothing but experts and attention took time: between what the
  /// slowest GPU takes and the sum of what the slowest of each layer takes, for which the others
  /// wait as far as microbatches do not overlap.
  double estimate(const Vector& vector) const {
    const Placement held = placement(0, vector);
    const std::vector<Holder>& holders = holders_.front();
    std::vector<double> of_gpu(holders.size(), 0);
    double of_layers = 0;
    for (const std::uint32_t l : moe_layers_) {
      std::vector<double> share(holders.size(), 0);
      for (std::size_t e = 0; e < held[l].size(); ++e) share[held[l][e]] += scenario_.shares[l][e];
      double slowest = 0;
      for (std::size_t h = 0; h < holders.size(); ++h) {
        const double seconds = holders[h].busy + share[h] * holders[h].seconds;
        of_gpu[h] += seconds;
        slowest = std::max(slowest, seconds);
      }
      of_layers += slowest;
    }
    return (*std::max_element(of_gpu.begin(), of_gpu.end()) + of_layers) / 2;
  }

  /// Layers with experts, from one up to another.
  struct Range {
    std::size_t begin = 0;
    std::size_t end = 0;
  };

  /// `units` times `quantum` experts, spread evenly over a range of layers.
  Vector spread(std::uint64_t units, std::uint32_t quantum, Range range) const {
    Vector out = constant(0);
    const std::size_t layers = range.end - range.begin;
    for (std::size_t k = 0; k < layers; ++k) {
      const std::uint64_t here =
          (units * (k + 1) + layers / 2) / layers - (units * k + layers / 2) / layers;
      out[moe_layers_[range.begin + k]] = static_cast<std::uint32_t>(
          std::min<std::uint64_t>(scenario_.model.experts, here * quantum));
    }
    return out;
  }

  /// The spread vector that promises most, and the one with less next to it.
  void start_from_spread(std::uint32_t quantum, Range range) {
    constexpr std::uint64_t most = 64;
    const std::uint64_t all =
        std::uint64_t{scenario_.model.experts} * (range.end - range.begin) / quantum;
    const std::uint64_t step = std::max<std::uint64_t>(1, all / most);
    std::pair<double, std::uint64_t> best{infinity, 0};
    for (std::uint64_t units = 0; units <= all; units += step) {
      best = std::min(best, {estimate(spread(units, quantum, range)), units});
    }
    for (const std::uint64_t less : {std::uint64_t{0}, step}) {
      if (best.second >= less) start_from(spread(best.second - less, quantum, range));
    }
  }

  void start_from_constant() {
    std::pair<double, Vector> best{infinity, {}};
    for (Vector& vector : constants()) {
      best = std::min(best, {estimate(vector), std::move(vector)});
    }
    start_from(best.second);
  }

  void start_from(Vector vector) {
    if (std::find(starts_.begin(), starts_.end(), vector) == starts_.end()) {
      starts_.push_back(std::move(vector));
    }
  }

  /// The same in all layers, and spread in steps of one expert on each attention GPU or expert by
  /// expert; also without the last and the first layer, since the others wait for these while the
  /// pipeline fills and drains.
  void find_starts() {
    const auto owners = static_cast<std::uint32_t>(shape_.groups.front().attention.size());
    const std::size_t layers = moe_layers_.size();
    start_from_constant();
    for (const Range range : {Range{0, layers}, Range{0, layers - 1}, Range{1, layers - 1}}) {
      if (range.begin >= range.end) continue;
      for (const std::uint32_t quantum : {owners, 1U}) {
        if (quantum <= scenario_.model.experts) start_from_spread(quantum, range);
      }
    }
    if (!gathered_.empty()) start_from(gathered_as_moved());
  }

  /// Each number of microbatches with one vector.
  void probe(const std::vector<std::uint32_t>& microbatches) {
    const std::vector<Placement> choices = placements(constants());
    std::vector<Bounded> bounded;
    for (const std::uint32_t r : microbatches) {
      shape_.microbatches = r;
      bounded.push_back({zebra_bound_of_all(scenario_, shape_, choices, ComputeOrder::any), r, r});
    }
    best_bound_first(bounded);
    for (const Bounded& candidate : bounded) {
      if (!trials_.may_win(candidate.at_least) || is_spent(0.5)) return;
      shape_.microbatches = candidate.count;
      Climb climb;
      climb.microbatches = candidate.count;
      improve(climb, starts_.front());
      if (!climb.best.vector.empty()) climbs_.push_back(std::move(climb));
    }
  }

  void start(Climb& climb) {
    find_holders(climb.microbatches);
    climb.known.clear();  // with room for any number of experts
    for (const Vector& vector : starts_) {
      if (!is_spent()) improve(climb, vector);
    }
  }

  Vector gathered_as_moved() const {
    Vector out = gathered_;
    const std::size_t expert_gpus = shape_.groups.front().experts.size();
    for (std::uint32_t& moved : out) {
      moved = std::min(scenario_.model.experts, moved * static_cast<std::uint32_t>(expert_gpus));
    }
    return out;
  }

  /// First in steps of an expert on each attention GPU.
  void finish(Climb& climb) {
    find_holders(climb.microbatches);
    const auto all = static_cast<std::uint32_t>(shape_.groups.front().attention.size());
    for (std::uint32_t step = all; step > 0; step /= 2) {
      while (pass(climb, step)) {
      }
    }
  }

  bool pass(Climb& climb, std::uint32_t step) {
    bool improved = false;
    for (const std::vector<std::uint32_t>& unit : units_) {
      for (const bool up : {true, false}) {
        while (!is_spent() && improve(climb, changed(climb.best.vector, unit, up, step))) {
          improved = true;
        }
      }
    }
    return improved;
  }

  Vector changed(Vector out, const std::vector<std::uint32_t>& unit, bool up,
                 std::uint32_t step) const {
    for (const std::uint32_t l : unit) {
      out[l] =
          up ? std::min(scenario_.model.experts, out[l] + step) : out[l] - std::min(out[l], step);
    }
    return out;
  }

  /// Whether a vector is better than the best of this climb. Many are ruled out before they are
  /// simulated.
  bool improve(Climb& climb, const Vector& vector) {
    constexpr double hopeless = 1.05;
    if (!climb.known.insert(vector).second) return false;
    const double seconds = estimate(vector);
    auto& best = climb.best;
    if (!best.vector.empty() && seconds > hopeless * best.estimate) return false;
    place(vector);
    if (!trials_.may_win(zebra_bound(scenario_, shape_, ComputeOrder::any))) return false;
    const Judgement judgement = tried(Order::conserving);
    if (!best.vector.empty() && !(judgement < best.judgement)) return false;
    best = {vector, judgement, seconds};
    return true;
  }

  Judgement tried(Order order) {
    return trials_.offer_in(order, order_++, zebra_schedule(scenario_, shape_));
  }

  void place(const Vector& vector) {
    for (std::size_t g = 0; g < shape_.groups.size(); ++g) {
      shape_.groups[g].placement = placement(g, vector);
    }
  }

  /// Of the best vector: the order by layers, which seldom is better, and chunks.
  void try_variants() {
    if (climbs_.empty()) return;
    const Climb& best = *std::min_element(
        climbs_.begin(), climbs_.end(),
        [](const Climb& a, const Climb& b) { return a.best.judgement < b.best.judgement; });
    find_holders(best.microbatches);
    place(best.best.vector);
    tried(Order::as_listed);
    if (request_.chunks) return;
    Judgement whole = best.best.judgement;
    for (const std::uint32_t chunks : {2U, 4U}) {
      if (!trials_.admits(best.microbatches, chunks)) return;
      shape_.chunks = chunks;
      const Judgement judgement = tried(Order::conserving);
      if (!(judgement < whole)) return;
      whole = judgement;
    }
  }

  const Scenario& scenario_;
  const PlanRequest& request_;
  ZebraShape shape_;
  std::vector<std::uint32_t> microbatches_;
  Vector gathered_;
  std::vector<CostModel> costs_;  // [kinds]
  std::vector<Gpu> gpus_;
  std::uint32_t& order_;
  Trials& trials_;
  std::uint32_t step_ = 1;  // between constants
  std::vector<std::uint32_t> moe_layers_;
  std::vector<std::vector<std::uint32_t>> units_;
  std::vector<std::vector<Holder>> holders_;  // [groups]
  std::size_t ops_of_one_ = 0;                // schedule
  bool is_skewed_ = false;
  std::size_t spent_before_ = 0;
  std::vector<Vector> starts_;
  std::vector<Climb> climbs_;
};

}  // namespace

void search_optimal_assignment(const Scenario& scenario, const PlanRequest& request,
                               ZebraTried tried, std::uint32_t& order, Trials& trials) {
  OptimalSearch(scenario, request, std::move(tried), order, trials).run();
}

}  // namespace zebroid
