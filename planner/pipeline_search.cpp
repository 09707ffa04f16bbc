#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <numeric>
#include <set>
#include <tuple>

#include "core/error.hpp"
#include "planner/pipeline.hpp"
#include "planner/pipeline_run.hpp"
#include "planner/pools.hpp"
#include "planner/searches.hpp"
#include "schedule/memory.hpp"
#include "schedule/verify.hpp"

namespace zebroid {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr double half_bytes = 2;

/// Layers before the end of each stage: the last is all of them.
using Split = std::vector<std::uint16_t>;

/// Consecutive ones.
struct Layers {
  std::uint32_t begin = 0;
  std::uint32_t end = 0;
};

/// How many pipelines, and in which order the GPU kinds follow each other in each.
struct Layout {
  std::vector<GpuList> pipelines;      ///< GPUs in the order of the stages
  std::vector<std::uint32_t> makeups;  ///< [pipelines] those with equal kinds are equal
  std::vector<std::uint32_t> first;    ///< [makeups] pipeline
};

/// A layout with a number of microbatches.
struct Branch {
  const Layout* layout = nullptr;
  std::uint32_t microbatches = 1;
  std::vector<std::uint32_t> sequences;  ///< [pipelines]
  std::uint32_t order = 0;
};

/// A branch, or one candidate out of it.
struct Node {
  Seconds at_least;
  std::uint32_t order = 0;
  std::uint32_t branch = 0;
  std::vector<Split> splits;  ///< [makeups]; none: the whole branch

  bool operator<(const Node& other) const {  // the top of a heap is the most promising one
    return std::tie(at_least, order) > std::tie(other.at_least, other.order);
  }
};

/// Every split of `layers` over `stages`, unless there are more than `most`.
std::vector<Split> all_splits(std::uint32_t layers, std::size_t stages, std::size_t most) {
  std::vector<Split> out = {{}};
  for (std::size_t s = 0; s + 1 < stages; ++s) {
    std::vector<Split> longer;
    for (const Split& split : out) {
      const std::uint32_t from = split.empty() ? 0 : split.back();
      for (std::uint32_t end = from + 1; end + (stages - s - 1) <= layers; ++end) {
        longer.push_back(split);
        longer.back().push_back(static_cast<std::uint16_t>(end));
      }
    }
    out = std::move(longer);
    if (out.size() > most) return {};
  }
  for (Split& split : out) split.push_back(static_cast<std::uint16_t>(layers));
  return out;
}

class PipelineSearch {
 public:
  PipelineSearch(const Scenario& scenario, const PlanRequest& request, Trials& trials)
      : scenario_(scenario),
        request_(request),
        trials_(trials),
        costs_(scenario),
        layers_(static_cast<std::uint32_t>(scenario.model.layers.size())) {
    sum_up_parameters();
  }

  void run() {
    const std::vector<std::uint32_t> pipelines = counts();
    for (const std::uint32_t count : pipelines) add_layouts(count);
    if (layouts_.empty()) throw Error(ErrorKind::input, why_none(pipelines.back()));
    for (const Layout& layout : layouts_) add_branches(layout);
    if (branches_.empty() && !some_refused_) throw Error(ErrorKind::input, why_no_batch());
    best_first(may_fit_, true);
    if (trials_.has_fitting() || gave_up_) return;
    best_first(hopeless_, false);
  }

 private:
  // ---- what is tried ----

  void sum_up_parameters() {
    const MoeModel& model = scenario_.model;
    parameters_ = moe_layers_ = {0};
    for (std::uint32_t l = 0; l < layers_; ++l) {
      double sum = shared_parameters(model, l);
      if (model.layers[l].has_experts) sum += layer_parameters(model, l).expert * model.experts;
      parameters_.push_back(parameters_.back() + sum);
      moe_layers_.push_back(moe_layers_.back() + (model.layers[l].has_experts ? 1 : 0));
    }
  }

  /// Numbers of pipelines, of two stages and more: beyond that it is data parallelism, which one
  /// has to ask for. All small ones; on large clusters those that deal the GPUs of a kind out
  /// evenly, and powers of two.
  std::vector<std::uint32_t> counts() const {
    const auto gpus = static_cast<std::uint32_t>(costs_.gpus().size());
    if (request_.groups) {
      if (*request_.groups > gpus) {
        throw Error(ErrorKind::input, fmt::format("{} need at least as many GPUs; there are {}",
                                                  count_of(*request_.groups, "pipeline"), gpus));
      }
      return {*request_.groups};
    }
    constexpr std::uint32_t few = 8;
    std::vector<std::uint32_t> of_kind(scenario_.cluster.kinds.size(), 0);
    for (const Gpu& gpu : costs_.gpus()) ++of_kind[gpu.kind];
    const std::uint32_t common =
        std::accumulate(of_kind.begin(), of_kind.end(), 0U,
                        [](std::uint32_t a, std::uint32_t b) { return std::gcd(a, b); });
    std::vector<std::uint32_t> out;
    const std::uint32_t most = (gpus + 1) / 2;
    for (std::uint32_t count = 1; count <= most; ++count) {
      const bool is_count = std::find(of_kind.begin(), of_kind.end(), count) != of_kind.end();
      const bool is_power = (count & (count - 1)) == 0;
      if (count <= few || common % count == 0 || is_count || is_power || count == most) {
        out.push_back(count);
      }
    }
    return out;
  }

  /// Every order of the kinds; of many kinds those by how much they gain from attention.
  std::vector<std::vector<std::uint32_t>> orders() const {
    constexpr std::size_t few = 4;
    std::vector<std::uint32_t> kinds = kinds_by_attention_gain(scenario_);
    if (kinds.size() > few) {
      std::vector<std::uint32_t> reversed(kinds.rbegin(), kinds.rend());
      return {std::move(kinds), std::move(reversed)};
    }
    std::sort(kinds.begin(), kinds.end());
    std::vector<std::vector<std::uint32_t>> out;
    do {
      out.push_back(kinds);
    } while (std::next_permutation(kinds.begin(), kinds.end()));
    return out;
  }

  void add_layouts(std::uint32_t count) {
    GpuList all(costs_.gpus().size());
    for (std::uint32_t g = 0; g < all.size(); ++g) all[g] = {g};
    const auto groups = cut_into_groups(scenario_.cluster, all, count);
    for (const GpuList& group : groups) {
      if (group.size() > layers_) return;  // a stage without layers
    }
    for (const auto& order : orders()) {
      Layout layout;
      std::vector<std::vector<std::uint32_t>> seen;  // [makeups] kinds
      for (GpuList group : groups) {
        const auto place = [&](GpuId gpu) {
          return std::find(order.begin(), order.end(), costs_.kind_of(gpu)) - order.begin();
        };
        std::stable_sort(group.begin(), group.end(),
                         [&](GpuId a, GpuId b) { return place(a) < place(b); });
        std::vector<std::uint32_t> kinds;
        for (const GpuId gpu : group) kinds.push_back(costs_.kind_of(gpu));
        const auto at = std::find(seen.begin(), seen.end(), kinds);
        layout.makeups.push_back(static_cast<std::uint32_t>(at - seen.begin()));
        if (at == seen.end()) {
          layout.first.push_back(static_cast<std::uint32_t>(layout.pipelines.size()));
          seen.push_back(std::move(kinds));
        }
        layout.pipelines.push_back(std::move(group));
      }
      const bool known = std::any_of(layouts_.begin(), layouts_.end(), [&](const Layout& other) {
        return other.pipelines == layout.pipelines;
      });
      if (!known) layouts_.push_back(std::move(layout));
    }
  }

  std::string why_none(std::size_t pipelines) const {
    const auto gpus = costs_.gpus().size();
    const std::size_t least = (gpus + layers_ - 1) / layers_;
    return fmt::format(
        "{} have more stages than the model has layers: {} for {}; use at least {} (--groups)",
        count_of(pipelines, "pipeline"), count_of(gpus, "GPU"), count_of(layers_, "layer"),
        count_of(least, "pipeline"));
  }

  std::string why_no_batch() const {
    const std::uint64_t pipelines = layouts_.front().pipelines.size();
    const std::uint64_t microbatches = request_.microbatches.value_or(1);
    return fmt::format(
        "a global batch of {} sequences cannot be split over {} with {} each: it takes at least {} "
        "sequences",
        scenario_.training.global_batch_sequences, count_of(pipelines, "pipeline"),
        count_of(microbatches, "microbatch", "es"), pipelines * microbatches);
  }

  /// Long pipelines take more microbatches than other strategies to fill, and to have little of
  /// each under way.
  std::vector<std::uint32_t> microbatches_of(const Layout& layout, std::uint64_t share) const {
    if (request_.microbatches) return {*request_.microbatches};
    constexpr std::uint64_t per_stage = 8;
    std::uint64_t most = 0;
    for (const GpuList& gpus : layout.pipelines) {
      most = std::max<std::uint64_t>(most, per_stage * gpus.size());
    }
    std::vector<std::uint32_t> out = microbatch_candidates(
        static_cast<std::uint32_t>(std::min<std::uint64_t>(share, UINT32_MAX)));
    if (out.back() == share) return out;
    for (std::uint32_t r = out.back() * 3 / 2; r <= std::min(share, most); r = r * 3 / 2) {
      out.push_back(r);
    }
    return out;
  }

  void add_branches(const Layout& layout) {
    const std::uint64_t batch = scenario_.training.global_batch_sequences;
    const auto share = batch / layout.pipelines.size();
    if (share == 0) return;
    for (const std::uint32_t microbatches : microbatches_of(layout, share)) {
      if (microbatches > share) continue;
      if (!trials_.admits(microbatches, 1)) {
        some_refused_ = true;
        continue;
      }
      Branch branch{&layout, microbatches, {}, 0};
      branch.order = static_cast<std::uint32_t>(branches_.size()) * most_in_branch;
      branch.sequences = shares_of(branch, static_cast<std::uint32_t>(share));
      const Node node{
          least_of(branch), branch.order, static_cast<std::uint32_t>(branches_.size()), {}};
      push(some_split_may_fit(branch) ? may_fit_ : hopeless_, node);
      branches_.push_back(std::move(branch));
    }
  }

  // ---- sequences ----

  /// The batch in proportion to what each pipeline trains in a second, at least one sequence for
  /// each microbatch.
  std::vector<std::uint32_t> shares_of(const Branch& branch, std::uint32_t equal) {
    const Layout& layout = *branch.layout;
    std::vector<double> rates;  // [makeups]
    for (const std::uint32_t v : layout.first) {
      const GpuList& gpus = layout.pipelines[v];
      const double bottleneck = balanced(branch, gpus, equal, false).first;
      const double filling = static_cast<double>(gpus.size() - 1) / branch.microbatches;
      rates.push_back(1 / (bottleneck * (1 + filling)));
    }
    double all = 0;
    for (const std::uint32_t makeup : layout.makeups) all += rates[makeup];
    const auto batch = static_cast<std::int64_t>(scenario_.training.global_batch_sequences);
    std::vector<double> wanted;
    std::vector<std::uint32_t> out;
    std::int64_t left = batch;
    for (const std::uint32_t makeup : layout.makeups) {
      wanted.push_back(static_cast<double>(batch) * rates[makeup] / all);
      out.push_back(std::max(branch.microbatches, static_cast<std::uint32_t>(wanted.back())));
      left -= out.back();
    }
    for (; left != 0; left += left < 0 ? 1 : -1) {
      const std::size_t v =
          left > 0 ? least_served(wanted, out) : most_served(wanted, out, branch.microbatches);
      out[v] += left > 0 ? 1 : UINT32_MAX;  // one more or one fewer
    }
    return out;
  }
  static std::size_t least_served(const std::vector<double>& wanted,
                                  const std::vector<std::uint32_t>& got) {
    std::size_t best = 0;
    for (std::size_t v = 1; v < got.size(); ++v) {
      if (wanted[v] - got[v] > wanted[best] - got[best]) best = v;
    }
    return best;
  }
  static std::size_t most_served(const std::vector<double>& wanted,
                                 const std::vector<std::uint32_t>& got, std::uint32_t least) {
    std::size_t best = got.size();
    for (std::size_t v = 0; v < got.size(); ++v) {
      if (got[v] <= least) continue;
      if (best == got.size() || got[v] - wanted[v] > got[best] - wanted[best]) best = v;
    }
    return best;
  }

  // ---- layers ----

  /// No schedule needs less than this.
  bool may_fit(const Branch& branch, const GpuList& gpus, std::uint32_t sequences, std::size_t s,
               Layers layers) const {
    const auto under_way = std::min<std::uint64_t>(branch.microbatches, gpus.size() - s);
    const std::uint64_t waiting = under_way * sequences / branch.microbatches;
    const std::uint32_t first = sequences / branch.microbatches;
    return fixed_memory(branch, layers) + least_values(waiting, first, layers) <=
           scenario_.cluster.kinds[costs_.kind_of(gpus[s])].memory;
  }

  /// What waits for backward when most microbatches are under way, `waiting` sequences of them, and
  /// what the experts of a layer take when the `first` of these go backward.
  Bytes least_values(std::uint64_t waiting, std::uint32_t first, Layers layers) const {
    const MoeModel& model = scenario_.model;
    const double length = scenario_.training.sequence_length;
    const double waiting_tokens = length * static_cast<double>(waiting);
    const double inputs = waiting_tokens * half_bytes * model.hidden * (layers.end - layers.begin);
    const double moe_layers = moe_layers_[layers.end] - moe_layers_[layers.begin];
    if (moe_layers == 0) return {inputs};
    const double rows = model.top_k * half_bytes * model.hidden;
    const double internals = model.top_k * half_bytes * 3 * model.expert_ffn;
    // Rows in and out and what is in between, and as many gradients.
    const double backward = length * first * (2 * rows + internals);
    if (pipeline_recomputes(scenario_.training.recompute)) return {inputs + 2 * backward};
    return {inputs + waiting_tokens * moe_layers * (rows + internals) + backward};
  }

  Bytes fixed_memory(const Branch& branch, Layers layers) const {
    const Training& training = scenario_.training;
    const double shards =
        pipeline_shards(training) ? static_cast<double>(branch.layout->pipelines.size()) : 1;
    const double unsharded = 2 * half_bytes;
    const double per_parameter =
        unsharded + (bytes_per_parameter(training.optimizer) - unsharded) / shards;
    return runtime_memory() +
           Bytes{(parameters_[layers.end] - parameters_[layers.begin]) * per_parameter};
  }

  /// Compute of the whole batch on one GPU kind, summed up over the layers before each.
  struct Work {
    std::vector<double> layers;  ///< [layers + 1]
    double head = 0;

    double of(std::uint32_t begin, std::uint32_t end) const {
      return layers[end] - layers[begin] + (end + 1U == layers.size() ? head : 0);
    }
  };

  Work work(const Branch& branch, std::uint32_t kind, std::uint32_t sequences) {
    Work out{std::vector<double>(layers_ + 1, 0), 0};
    const std::uint32_t least = sequences / branch.microbatches;
    const std::uint32_t larger = sequences % branch.microbatches;
    for (const std::uint32_t more : {0U, 1U}) {
      const std::uint32_t times = more == 1 ? larger : branch.microbatches - larger;
      if (times == 0) continue;
      const auto& once = costs_.layers(kind, least + more);
      for (std::uint32_t l = 0; l <= layers_; ++l) {
        out.layers[l] += times * (once.forward[l] + once.backward[l]);
      }
      out.head += times * once.head;
    }
    return out;
  }

  /// The split whose slowest stage is fastest, and the time of that stage; an empty split when no
  /// split may fit into memory.
  std::pair<double, Split> balanced(const Branch& branch, const GpuList& gpus,
                                    std::uint32_t sequences, bool within_memory) {
    const std::size_t stages = gpus.size();
    std::vector<double> best(layers_ + 1, infinity);  // [layers so far] of the stages so far
    best[0] = 0;
    std::vector<std::vector<std::uint16_t>> begins(stages);
    Work own;
    for (std::size_t s = 0; s < stages; ++s) {
      const std::uint32_t kind = costs_.kind_of(gpus[s]);
      if (s == 0 || kind != costs_.kind_of(gpus[s - 1])) own = work(branch, kind, sequences);
      const auto fits = [&](std::uint32_t begin, std::uint32_t end) {
        return !within_memory || may_fit(branch, gpus, sequences, s, {begin, end});
      };
      std::tie(best, begins[s]) = with_stage(own, s, stages, fits, best);
    }
    if (best[layers_] == infinity) return {infinity, {}};
    Split split(stages);
    auto end = static_cast<std::uint16_t>(layers_);
    for (std::size_t s = stages; s-- > 0;) {
      split[s] = end;
      end = begins[s][end];
    }
    return {best[layers_], std::move(split)};
  }

  /// The slowest stage up to stage s, for every number of layers up to its end, and where stage s
  /// begins then. Earlier is `before`.
  template <class Fits>
  std::pair<std::vector<double>, std::vector<std::uint16_t>> with_stage(
      const Work& work, std::size_t s, std::size_t stages, const Fits& fits,
      const std::vector<double>& before) const {
    std::vector<double> best(layers_ + 1, infinity);
    std::vector<std::uint16_t> begins(layers_ + 1, 0);
    const std::size_t after = stages - 1 - s;
    const auto first = after == 0 ? layers_ : static_cast<std::uint32_t>(s) + 1;
    for (std::uint32_t end = first; end + after <= layers_; ++end) {
      for (std::uint32_t begin = end; begin-- > s;) {
        const double own = work.of(begin, end);
        if (own >= best[end]) break;  // more layers take longer, and more memory
        if (before[begin] == infinity) continue;
        if (!fits(begin, end)) break;
        const double slowest = std::max(before[begin], own);
        if (slowest < best[end]) {
          best[end] = slowest;
          begins[end] = static_cast<std::uint16_t>(begin);
        }
      }
    }
    return {std::move(best), std::move(begins)};
  }

  /// Calls look(gpus, sequences) for one of each kind of pipeline.
  template <class Look>
  void each_different(const Branch& branch, const Look& look) {
    std::set<std::pair<std::uint32_t, std::uint32_t>> seen;
    for (std::size_t v = 0; v < branch.sequences.size(); ++v) {
      if (!seen.insert({branch.layout->makeups[v], branch.sequences[v]}).second) continue;
      look(branch.layout->pipelines[v], branch.sequences[v]);
    }
  }

  /// No candidate of the branch ends earlier.
  Seconds least_of(const Branch& branch) {
    double out = 0;
    each_different(branch, [&](const GpuList& gpus, std::uint32_t sequences) {
      out = std::max(out, balanced(branch, gpus, sequences, false).first);
    });
    return {out * (1 - 1e-9)};  // times of the same layers, added up in another order
  }

  bool some_split_may_fit(const Branch& branch) {
    bool out = true;
    each_different(branch, [&](const GpuList& gpus, std::uint32_t sequences) {
      out = out && !balanced(branch, gpus, sequences, true).second.empty();
    });
    return out;
  }

  PipelineShape shape_of(const Branch& branch, const std::vector<Split>& splits) const {
    PipelineShape out;
    out.microbatches = branch.microbatches;
    for (std::size_t v = 0; v < branch.sequences.size(); ++v) {
      Pipeline& pipeline = out.pipelines.emplace_back();
      pipeline.sequences = branch.sequences[v];
      const Split& split = splits[branch.layout->makeups[v]];
      std::uint16_t begin = 0;
      for (std::size_t s = 0; s < split.size(); ++s) {
        pipeline.stages.push_back({branch.layout->pipelines[v][s], begin, split[s]});
        begin = split[s];
      }
    }
    return out;
  }

  bool may_fit(const Branch& branch, const std::vector<Split>& splits) const {
    for (std::size_t v = 0; v < branch.sequences.size(); ++v) {
      if (v > 0 && branch.layout->makeups[v] == branch.layout->makeups[v - 1] &&
          branch.sequences[v] == branch.sequences[v - 1]) {
        continue;
      }
      const GpuList& gpus = branch.layout->pipelines[v];
      std::uint32_t begin = 0;
      const Split& split = splits[branch.layout->makeups[v]];
      for (std::size_t s = 0; s < split.size(); ++s) {
        if (!may_fit(branch, gpus, branch.sequences[v], s, {begin, split[s]})) return false;
        begin = split[s];
      }
    }
    return true;
  }

  // ---- candidates of one branch ----

  /// Balanced splits of all makeups, then for each makeup the others worth trying.
  void expand(std::uint32_t number) {
    const Branch& branch = branches_[number];
    std::vector<Split> splits;
    for (const std::uint32_t v : branch.layout->first) {
      const GpuList& gpus = branch.layout->pipelines[v];
      Split split = balanced(branch, gpus, branch.sequences[v], true).second;
      if (split.empty()) split = balanced(branch, gpus, branch.sequences[v], false).second;
      splits.push_back(std::move(split));
    }
    std::set<std::vector<Split>> seen;
    std::uint32_t order = branch.order;
    const auto look_at = [&](const std::vector<Split>& candidate) {
      const Node node{pipeline_bound(scenario_, costs_, shape_of(branch, candidate)), order, number,
                      candidate};
      const bool fits = may_fit(branch, candidate);
      if (seen.size() < most_in_branch && seen.insert(candidate).second) {
        ++order;
        push(fits ? may_fit_ : hopeless_, node);
      }
      return std::pair{!fits, node.at_least};
    };
    auto best = look_at(splits);
    for (std::size_t makeup = 0; makeup < splits.size(); ++makeup) {
      vary(splits, makeup, best, look_at);
    }
  }

  /// Tries all splits of a makeup where they are few; else steps from boundary to boundary as long
  /// as that helps.
  template <class LookAt>
  void vary(std::vector<Split>& splits, std::size_t makeup, std::pair<bool, Seconds>& best,
            const LookAt& look_at) const {
    constexpr std::size_t few = 64;
    std::vector<Split> others = all_splits(layers_, splits[makeup].size(), few);
    const bool climbs = others.empty();
    for (bool better = true; better;) {
      if (climbs) others = neighbours(splits[makeup]);
      better = false;
      Split chosen = splits[makeup];
      for (Split& other : others) {
        splits[makeup] = std::move(other);
        const auto here = look_at(splits);
        if (here >= best) continue;
        best = here;
        chosen = splits[makeup];
        better = climbs;
      }
      splits[makeup] = std::move(chosen);
    }
  }

  /// One layer moves from a stage to the next or back.
  static std::vector<Split> neighbours(const Split& split) {
    std::vector<Split> out;
    for (std::size_t s = 0; s + 1 < split.size(); ++s) {
      const std::uint16_t begin = s == 0 ? 0 : split[s - 1];
      if (split[s] > begin + 1) {
        out.push_back(split);
        --out.back()[s];
      }
      if (split[s] + 1 < split[s + 1]) {
        out.push_back(split);
        ++out.back()[s];
      }
    }
    return out;
  }

  // ---- the search ----

  using Heap = std::vector<Node>;
  static void push(Heap& heap, Node node) {
    heap.push_back(std::move(node));
    std::push_heap(heap.begin(), heap.end());
  }

  /// may_fit: as the nodes of the heap do.
  void best_first(Heap& heap, bool may_fit) {
    while (!heap.empty()) {
      std::pop_heap(heap.begin(), heap.end());
      const Node node = std::move(heap.back());
      heap.pop_back();
      if (!request_.exhaustive && !trials_.may_win(node.at_least, may_fit)) return;
      if (node.splits.empty()) {
        expand(node.branch);
        continue;
      }
      if (!request_.exhaustive && ops_ > most_ops) return give_up(node.at_least);
      const PipelineShape shape = shape_of(branches_[node.branch], node.splits);
      const Schedule schedule = pipeline_schedule(scenario_, shape);
      if (!may_fit && request_.fitting_only) return trials_.refuse(schedule);
      for (const Rank& rank : schedule.ranks) ops_ += schedule.programs[rank.program].size();
      trials_.offer(trials_.evaluate_to_win(node.order, schedule));
    }
  }

  /// Large clusters that are uneven or short of memory have thousands of candidates about as good.
  void give_up(Seconds at_least) {
    gave_up_ = true;
    trials_.add_note(fmt::format(
        "pp: the search stopped after its most promising candidates; another one may take {:.4g} s",
        at_least.value));
  }

  static constexpr std::uint32_t most_in_branch = 4096;
  static constexpr std::size_t most_ops = 4'000'000;  // simulated in about a second

  const Scenario& scenario_;
  const PlanRequest& request_;
  Trials& trials_;
  PipelineCosts costs_;
  std::uint32_t layers_;
  std::vector<double> parameters_;  // [layers + 1] of the layers before each
  std::vector<double> moe_layers_;  // [layers + 1]
  std::vector<Layout> layouts_;
  std::vector<Branch> branches_;
  bool some_refused_ = false;
  std::size_t ops_ = 0;  // simulated so far
  bool gave_up_ = false;
  Heap may_fit_;
  Heap hopeless_;  // need more memory than there is
};

}  // namespace

void search_pipeline(const Scenario& scenario, const PlanRequest& request, Trials& trials) {
  PipelineSearch(scenario, request, trials).run();
}

}  // namespace zebroid
