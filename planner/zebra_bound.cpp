#include "planner/zebra_bound.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

#include "schedule/predicted_load.hpp"
#include "schedule/verify.hpp"

namespace zebroid {
namespace {

/// How large the microbatches of a GPU or group are. Microbatch 0 is the smallest: sequences_in
/// rounds down.
struct Sizes {
  double first = 0;
  std::vector<std::pair<double, double>> counted;  ///< each size once, with its microbatches

  void add(double size) {
    if (counted.empty()) first = size;
    const auto known = std::find_if(counted.begin(), counted.end(),
                                    [&](const auto& other) { return other.first == size; });
    if (known == counted.end()) {
      counted.emplace_back(size, 1);
    } else {
      known->second += 1;
    }
  }
};

/// Of one layer on one GPU.
struct Times {
  double first = 0;  ///< forward of microbatch 0
  double all = 0;    ///< forward of all microbatches
  double first_backward = 0;
  double all_backward = 0;
  double recompute_before = 0;  ///< what is recomputed before microbatch 0's backward begins
  double recompute_after = 0;   ///< and after that
};

/// What a GPU holds of one layer.
struct Held {
  double share = 0;
  std::uint32_t experts_with_rows = 0;

  friend bool operator==(const Held&, const Held&) = default;
};

/// [layers with experts][choices of how many move]
template <class T>
using ByChoice = std::vector<std::vector<T>>;

/// A GPU of the group, as far as its times go.
struct Member {
  std::uint32_t kind = 0;
  std::uint32_t sequences = 0;  ///< 0 on expert GPUs
  ByChoice<Held> held;

  friend bool operator==(const Member&, const Member&) = default;
};

/// A way from the start of the step to its end, whose length depends on what moves.
struct Chain {
  double fixed = 0;
  ByChoice<double> choices;

  double length_by_first_choices() const {
    return std::accumulate(choices.begin(), choices.end(), fixed,
                           [](double sum, const auto& layer) { return sum + layer.front(); });
  }
};

/// What the longer of two chains takes at least: choices that shorten one lengthen the other.
/// Whatever is chosen, the longer one takes no less than any weighted mean of both, and of a mean
/// each layer can be made least on its own.
double least_of_longer(const Chain& a, const Chain& b) {
  constexpr int steps = 16;
  double best = 0;
  for (int step = 0; step <= steps; ++step) {
    const double weight = static_cast<double>(step) / steps;
    double sum = weight * a.fixed + (1 - weight) * b.fixed;
    for (std::size_t m = 0; m < a.choices.size(); ++m) {
      double least = std::numeric_limits<double>::infinity();
      for (std::size_t o = 0; o < a.choices[m].size(); ++o) {
        least = std::min(least, weight * a.choices[m][o] + (1 - weight) * b.choices[m][o]);
      }
      sum += least;
    }
    best = std::max(best, sum);
  }
  return best;
}

/// Forward of microbatch 0 and its first backward op, all layers between two with experts.
struct Gap {
  double up = 0;
  double down = 0;
};

/// Bounds the first group, which ends no later than all. Chains follow one owner (an attention GPU)
/// and one expert GPU. Every exchange is over the whole group and starts when all have launched it:
/// its inputs are done on each of them, whoever sends bytes to whom.
class Bounder {
 public:
  Bounder(const Scenario& scenario, const ZebraShape& shape, const std::vector<Placement>& choices,
          ComputeOrder order)
      : scenario_(scenario),
        microbatches_(shape.microbatches),
        in_order_(order == ComputeOrder::by_layer),
        costs_(cost_models(scenario)),
        both_ways_(2 * least_latency(scenario).value) {
    add_members(shape);
    place_experts(choices);
    least_tokens_ = std::floor(least_tokens_ / shape.chunks);
  }

  Seconds run() const {
    std::vector<ByChoice<Times>> stayed;
    for (const Member& member : distinct(experts_)) stayed.push_back(expert_times(member));
    const ByChoice<Times> way = slowest_way(stayed);
    // Any owner gives a bound; the slowest one is likely to give the best.
    Chain attention;
    Member owner;
    for (const Member& member : distinct(owners_)) {
      Chain chain = along_attention(member, way);
      if (!owner.held.empty() &&
          chain.length_by_first_choices() <= attention.length_by_first_choices()) {
        continue;
      }
      attention = std::move(chain);
      owner = member;
    }
    const std::vector<Gap> gaps = gaps_of(owner);
    double best = least_of_longer(attention, attention);
    if (!in_order_) {
      const Chain way_of_first = along_first(way, gaps);
      best = std::max(best, least_of_longer(way_of_first, attention));
    }
    for (const ByChoice<Times>& times : stayed) {
      best = std::max(best, least_of_longer(attention, along_stream(times, gaps)));
      if (in_order_) best = std::max(best, least_of_longer(attention, along_experts(times, gaps)));
    }
    return {best};
  }

 private:
  // --- who holds what ---

  /// Shares of the batch go to the attention GPUs of all groups in ascending order.
  void add_members(const ZebraShape& shape) {
    const std::vector<Gpu> gpus = gpus_of(scenario_.cluster);
    const auto ascending = [](GpuList list) {
      std::sort(list.begin(), list.end());
      return list;
    };
    GpuList all_owners;
    for (const ZebraGroup& group : shape.groups) {
      all_owners.insert(all_owners.end(), group.attention.begin(), group.attention.end());
    }
    all_owners = ascending(all_owners);
    const std::vector<std::uint32_t> sequences =
        split_batch(scenario_.training.global_batch_sequences,
                    static_cast<std::uint32_t>(all_owners.size()), microbatches_);
    for (const GpuId gpu : ascending(shape.groups.front().attention)) {
      const auto at = std::lower_bound(all_owners.begin(), all_owners.end(), gpu);
      owners_.push_back(
          {gpus[gpu.value].kind, sequences[static_cast<std::size_t>(at - all_owners.begin())], {}});
    }
    for (const GpuId gpu : ascending(shape.groups.front().experts)) {
      experts_.push_back({gpus[gpu.value].kind, 0, {}});
    }
    least_tokens_ = tokens(owners_.front(), 0);
    for (const Member& owner : owners_) least_tokens_ = std::min(least_tokens_, tokens(owner, 0));
    for (std::uint32_t j = 0; j < microbatches_; ++j) {
      double in_group = 0;
      for (const Member& owner : owners_) in_group += tokens(owner, j);
      group_tokens_.add(in_group);
    }
  }

  void place_experts(const std::vector<Placement>& choices) {
    const auto expert_gpus = static_cast<std::uint32_t>(experts_.size());
    for (std::uint32_t l = 0; l < scenario_.model.layers.size(); ++l) {
      if (!scenario_.model.layers[l].has_experts) continue;
      const std::vector<double>& shares = scenario_.shares[l];
      for (auto* members : {&experts_, &owners_}) {
        for (Member& member : *members) member.held.emplace_back(choices.size());
      }
      for (std::size_t o = 0; o < choices.size(); ++o) {
        const std::vector<std::uint32_t>& holders = choices[o][l];
        for (std::uint32_t e = 0; e < holders.size(); ++e) {
          Member& member =
              holders[e] < expert_gpus ? experts_[holders[e]] : owners_[holders[e] - expert_gpus];
          member.held.back()[o].share += shares[e];
          if (shares[e] > 0) ++member.held.back()[o].experts_with_rows;
        }
      }
    }
  }

  static std::vector<Member> distinct(const std::vector<Member>& members) {
    std::vector<Member> out;
    for (const Member& member : members) {
      if (std::find(out.begin(), out.end(), member) == out.end()) out.push_back(member);
    }
    return out;
  }

  // --- times ---

  double tokens(const Member& owner, std::uint32_t j) const {
    return static_cast<double>(sequences_in(owner.sequences, j, microbatches_)) *
           scenario_.training.sequence_length;
  }

  /// Of cost(direction, size of the microbatch); recomputation costs as forward. With
  /// Recompute::layer all is recomputed before the first backward, else (automatic is module)
  /// microbatch by microbatch.
  template <class Cost>
  Times over_microbatches(const Sizes& sizes, const Cost& cost) const {
    Times out;
    out.first = cost(Direction::forward, sizes.first);
    out.first_backward = cost(Direction::backward, sizes.first);
    for (const auto& [size, count] : sizes.counted) {
      out.all += count * cost(Direction::forward, size);
      out.all_backward += count * cost(Direction::backward, size);
    }
    if (scenario_.training.recompute == Recompute::none) return out;
    const bool by_layer = scenario_.training.recompute == Recompute::layer;
    out.recompute_before = by_layer ? out.all : out.first;
    out.recompute_after = out.all - out.recompute_before;
    return out;
  }

  Sizes sequences_of(const Member& owner) const {
    Sizes out;
    for (std::uint32_t j = 0; j < microbatches_; ++j) {
      out.add(sequences_in(owner.sequences, j, microbatches_));
    }
    return out;
  }

  Times attention_times(const Member& owner, const Sizes& sequences, std::uint32_t layer) const {
    return over_microbatches(sequences, [&](Direction direction, double size) {
      return costs_[owner.kind]
          .attention(layer, direction, size, scenario_.training.sequence_length)
          .total()
          .value;
    });
  }

  std::vector<Times> attention_times(const Member& owner) const {
    const Sizes sequences = sequences_of(owner);
    const auto& layers = scenario_.model.layers;
    std::vector<Times> out;
    for (std::uint32_t l = 0; l < layers.size(); ++l) {
      const bool as_below = l > 1 && layers[l] == layers[l - 1];  // layer 0 has the embedding
      out.push_back(as_below ? out.back() : attention_times(owner, sequences, l));
    }
    return out;
  }

  Times head_times(const Member& owner) const {
    return over_microbatches(sequences_of(owner), [&](Direction direction, double size) {
      return costs_[owner.kind]
          .head(direction, size * scenario_.training.sequence_length)
          .total()
          .value;
    });
  }

  /// Nothing for so few rows that no owner need send bytes for them: then there is no latency.
  Times expert_times(std::uint32_t kind, const Held& held) const {
    const Op least{Work::dispatch, Pass::backward, 0, 0, 0, 0};
    if (routed_bytes(scenario_.model, least, least_tokens_, held.share).value <= 0) return {};
    return over_microbatches(group_tokens_, [&](Direction direction, double size) {
      return costs_[kind]
          .expert(direction, size * scenario_.model.top_k * held.share, held.experts_with_rows)
          .total()
          .value;
    });
  }

  ByChoice<Times> expert_times(const Member& member) const {
    ByChoice<Times> out;
    for (std::size_t m = 0; m < member.held.size(); ++m) {
      if (m > 0 && member.held[m] == member.held[m - 1]) {
        out.push_back(out.back());
        continue;
      }
      auto& layer = out.emplace_back();
      for (const Held& held : member.held[m]) layer.push_back(expert_times(member.kind, held));
    }
    return out;
  }

  /// From an owner's dispatch of microbatch 0 until its combine: over the expert GPU that takes
  /// longest, which may be another one in each layer, since the owner waits for all.
  ByChoice<Times> slowest_way(const std::vector<ByChoice<Times>>& stayed) const {
    ByChoice<Times> out = stayed.front();
    for (std::size_t m = 0; m < out.size(); ++m) {
      for (std::size_t o = 0; o < out[m].size(); ++o) {
        Times& way = out[m][o];
        for (const ByChoice<Times>& other : stayed) {
          way.first = std::max(way.first, other[m][o].first);
          way.first_backward = std::max(way.first_backward, other[m][o].first_backward);
        }
        way.first += latencies(way);
        way.first_backward += latencies(way);
      }
    }
    return out;
  }

  std::vector<Gap> gaps_of(const Member& owner) const {
    const std::vector<Times> attention = attention_times(owner);
    std::vector<Gap> out(1);
    for (std::size_t l = 0; l < attention.size(); ++l) {
      out.back().up += attention[l].first;
      out.back().down += attention[l].first_backward;
      if (scenario_.model.layers[l].has_experts) out.emplace_back();
    }
    const Times head = head_times(owner);
    out.back().up += head.first;
    out.back().down += head.first_backward;
    return out;
  }

  // --- chains ---

  /// Both latencies of a way over an expert GPU that gets bytes.
  double latencies(const Times& stayed) const { return stayed.first > 0 ? both_ways_ : 0; }

  /// On the owner, forward from the start of each layer's first attention to that of the next (of
  /// the first head at last): by its stream, which runs all attention and the experts that moved
  /// there, or by the way of microbatch 0 over the expert GPUs. Then from the start of each layer's
  /// first backward (of the first head) down to the next, in the same two ways.
  Chain along_attention(const Member& owner, const ByChoice<Times>& way) const {
    if (!in_order_) return along_attention_stream(owner);
    const std::vector<Times> attention = attention_times(owner);
    const ByChoice<Times> moved = expert_times(owner);
    const Times head = head_times(owner);
    double stream_above = head.all + head.all_backward;
    double first_above = head.first + head.first_backward;
    Chain out;
    out.choices.resize(moved.size());
    std::size_t m = moved.size();
    for (std::size_t l = attention.size(); l-- > 0;) {
      const Times& a = attention[l];
      const auto through = [&](const Times& on_owner, const Times& on_experts) {
        return std::max(a.all + on_owner.all, a.first + on_experts.first) +
               std::max(stream_above + on_owner.all_backward + on_owner.recompute_before +
                            on_owner.recompute_after + a.recompute_before,
                        first_above + on_experts.first_backward);
      };
      if (scenario_.model.layers[l].has_experts) {
        --m;
        for (std::size_t o = 0; o < moved[m].size(); ++o) {
          out.choices[m].push_back(through(moved[m][o], way[m][o]));
        }
      } else {
        out.fixed += through({}, {});
      }
      stream_above = a.all_backward + a.recompute_after;
      first_above = a.first_backward;
    }
    out.fixed += stream_above;
    return out;
  }

  /// All work of the owner's stream.
  Chain along_attention_stream(const Member& owner) const {
    Chain out;
    const auto all_of = [](const Times& times) {
      return times.all + times.all_backward + times.recompute_before + times.recompute_after;
    };
    const Times head = head_times(owner);
    out.fixed = head.all + head.all_backward;
    for (const Times& layer : attention_times(owner)) out.fixed += all_of(layer);
    for (const auto& layer : expert_times(owner)) {
      auto& choices = out.choices.emplace_back();
      for (const Times& times : layer) choices.push_back(all_of(times));
    }
    return out;
  }

  /// Microbatch 0, forward and backward.
  Chain along_first(const ByChoice<Times>& way, const std::vector<Gap>& gaps) const {
    Chain out;
    for (const Gap& gap : gaps) out.fixed += gap.up + gap.down;
    for (const auto& layer : way) {
      auto& choices = out.choices.emplace_back();
      for (const Times& times : layer) choices.push_back(times.first + times.first_backward);
    }
    return out;
  }

  /// All work of the expert GPU's stream, after microbatch 0's way to it and before the last one's
  /// from it, whose attention takes no less than that of microbatch 0.
  Chain along_stream(const ByChoice<Times>& stayed, const std::vector<Gap>& gaps) const {
    Chain out;
    out.fixed = gaps.front().up + gaps.front().down;
    for (std::size_t m = 0; m < stayed.size(); ++m) {
      auto& choices = out.choices.emplace_back();
      for (const Times& times : stayed[m]) {
        choices.push_back(times.all + times.all_backward + times.recompute_before +
                          times.recompute_after + (m == 0 ? latencies(times) : 0));
      }
    }
    return out;
  }

  /// On the expert GPU, from layer to layer by its stream, or by the way of microbatch 0 over the
  /// owner; then back. Of a layer let S be when the stream is done with all layers before, and D
  /// when the first dispatch starts: its first expert starts no earlier than Z + latency with
  /// Z = max(D, S - latency). What is added here is how much later Z is in the next layer: at least
  /// by all work of this one, and by the way from its first expert to the next first dispatch. It
  /// is nothing for a layer of which the GPU holds no experts.
  Chain along_experts(const ByChoice<Times>& stayed, const std::vector<Gap>& gaps) const {
    Chain out;
    out.fixed = gaps.front().up + gaps.front().down;
    for (std::size_t m = 0; m < stayed.size(); ++m) {
      const bool is_top = m + 1 == stayed.size();  // its backward follows, after the head
      const double up = is_top ? gaps[m + 1].up + gaps[m + 1].down : gaps[m + 1].up;
      auto& choices = out.choices.emplace_back();
      for (const Times& times : stayed[m]) {
        const double latency = latencies(times);
        const double forward = std::max(times.all + (is_top ? times.recompute_before : 0),
                                        times.first > 0 ? times.first + latency + up : 0);
        const double stream = times.all_backward + times.recompute_after;
        const double over_owner =
            times.first > 0 ? times.first_backward + latency + gaps[m].down : 0;
        choices.push_back(forward + (m == 0 ? stream + latency : std::max(stream, over_owner)));
      }
    }
    return out;
  }

  const Scenario& scenario_;
  std::uint32_t microbatches_;
  bool in_order_;
  std::vector<CostModel> costs_;
  double both_ways_;             // two latencies
  std::vector<Member> owners_;   // of the group
  std::vector<Member> experts_;  // its expert GPUs
  Sizes group_tokens_;
  double least_tokens_ = 0;  // of an owner in microbatch 0
};

}  // namespace

Seconds zebra_bound(const Scenario& scenario, const ZebraShape& shape, ComputeOrder order) {
  return zebra_bound_of_all(scenario, shape, {shape.groups.front().placement}, order);
}

Seconds zebra_bound_of_all(const Scenario& scenario, const ZebraShape& shape,
                           const std::vector<Placement>& choices, ComputeOrder order) {
  return Bounder(scenario, shape, choices, order).run();
}

}  // namespace zebroid
