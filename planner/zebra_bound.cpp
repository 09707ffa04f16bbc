#include "planner/zebra_bound.hpp"

#include <algorithm>
#include <limits>
#include <numeric>

#include "schedule/verify.hpp"

namespace zebroid {
namespace {

/// Of one layer on one GPU.
struct Times {
  double first = 0;  ///< forward of microbatch 0, the smallest
  double all = 0;    ///< forward of all microbatches
  double first_backward = 0;
  double all_backward = 0;
  double recompute_before = 0;  ///< what is recomputed before microbatch 0's backward begins
  double recompute_after = 0;   ///< and after that
};

/// Experts of one layer, when so many of them move.
struct Experts {
  Times moved;   ///< on an attention GPU
  Times stayed;  ///< on an expert GPU
};

struct LayerTimes {
  Times attention;
  std::vector<Experts> experts;  ///< one for each number that may move; empty in a dense layer
};

/// An attention GPU, as far as its times go.
struct Owner {
  std::uint32_t kind = 0;
  std::uint32_t sequences = 0;

  friend bool operator==(const Owner&, const Owner&) = default;
};

/// The first group, whose end is no later than that of all.
class Bounder {
 public:
  Bounder(const Scenario& scenario, const ZebraShape& shape)
      : scenario_(scenario),
        group_(shape.groups.front()),
        microbatches_(shape.microbatches),
        costs_(cost_models(scenario)),
        latency_(scenario.cluster.latency.value),
        tokens_(microbatches_, 0) {
    const std::vector<Gpu> gpus = gpus_of(scenario.cluster);
    for (const GpuId gpu : group_.experts) expert_kinds_.push_back(gpus[gpu.value].kind);
    GpuList owners;
    for (const ZebraGroup& group : shape.groups) {
      owners.insert(owners.end(), group.attention.begin(), group.attention.end());
    }
    std::sort(owners.begin(), owners.end());
    const std::vector<std::uint32_t> sequences =
        split_batch(scenario.training.global_batch_sequences,
                    static_cast<std::uint32_t>(owners.size()), microbatches_);
    for (const GpuId gpu : group_.attention) {
      const auto at = std::lower_bound(owners.begin(), owners.end(), gpu) - owners.begin();
      const Owner owner{gpus[gpu.value].kind, sequences[static_cast<std::size_t>(at)]};
      for (std::uint32_t j = 0; j < microbatches_; ++j) tokens_[j] += tokens(owner, j);
      if (std::find(owners_.begin(), owners_.end(), owner) == owners_.end()) {
        owners_.push_back(owner);
      }
    }
  }

  /// offloads[l]: how many experts may move from each expert GPU in layer l.
  Seconds run(const std::vector<std::vector<std::uint32_t>>& offloads) const {
    double best = 0;
    for (const Owner& owner : owners_) {
      const std::vector<LayerTimes> layers = layers_of(owner, offloads);
      const Times head_times = head(owner);
      const Chain attention = along_attention(layers, head_times);
      for (const Chain& experts : {along_stream(layers), along_experts(layers, head_times)}) {
        best = std::max(best, least_of_both(attention, experts));
      }
    }
    return {best};
  }

 private:
  double tokens(const Owner& owner, std::uint32_t j) const {
    return static_cast<double>(sequences_in(owner.sequences, j, microbatches_)) *
           scenario_.training.sequence_length;
  }

  /// Sums over microbatches of cost(direction, size of the microbatch); recomputation costs as
  /// forward.
  template <class Size, class Cost>
  Times over_microbatches(const Size& size_of, const Cost& cost) const {
    Times out;
    double known = -1;
    double forward = 0;
    double backward = 0;
    for (std::uint32_t j = 0; j < microbatches_; ++j) {
      const double size = size_of(j);
      if (size != known) {
        forward = cost(Direction::forward, size);
        backward = cost(Direction::backward, size);
        known = size;
      }
      if (j == 0) out.first = forward;
      if (j == 0) out.first_backward = backward;
      out.all += forward;
      out.all_backward += backward;
    }
    if (scenario_.training.recompute == Recompute::none) return out;
    const bool by_layer = scenario_.training.recompute == Recompute::layer;
    out.recompute_before = by_layer ? out.all : out.first;
    out.recompute_after = out.all - out.recompute_before;
    return out;
  }

  Times attention(const Owner& owner, std::uint32_t layer) const {
    const double length = scenario_.training.sequence_length;
    return over_microbatches(
        [&](std::uint32_t j) { return tokens(owner, j) / length; },
        [&](Direction direction, double sequences) {
          return costs_[owner.kind].attention(layer, direction, sequences, length).total().value;
        });
  }

  /// `count` experts of a layer that take `share` of its rows.
  Times experts(std::uint32_t kind, double share, double count) const {
    if (share <= 0) return {};
    return over_microbatches([&](std::uint32_t j) { return tokens_[j]; },
                             [&](Direction direction, double group_tokens) {
                               const double rows = group_tokens * scenario_.model.top_k * share;
                               return costs_[kind].expert(direction, rows, count).total().value;
                             });
  }

  Times head(const Owner& owner) const {
    return over_microbatches([&](std::uint32_t j) { return tokens(owner, j); },
                             [&](Direction direction, double own) {
                               return costs_[owner.kind].head(direction, own).total().value;
                             });
  }

  /// The least that experts take: those of a GPU of the slowest kind with as many as all have at
  /// least. Where shares differ, some GPU has the mean, and moved experts may be anything.
  Experts experts_when(const Owner& owner, std::uint32_t layer, std::uint32_t offload) const {
    const auto& shares = scenario_.shares[layer];
    const bool even = std::all_of(shares.begin(), shares.end(),
                                  [&](double share) { return share == shares.front(); });
    const auto expert_gpus = static_cast<std::uint32_t>(group_.experts.size());
    const auto attention_gpus = static_cast<std::uint32_t>(group_.attention.size());
    const double n = scenario_.model.experts;
    Experts out;
    if (!even) {
      const bool one_kind = std::all_of(expert_kinds_.begin(), expert_kinds_.end(),
                                        [&](auto kind) { return kind == expert_kinds_.front(); });
      if (offload == 0 && one_kind) {
        out.stayed = experts(expert_kinds_.front(), 1.0 / expert_gpus, 1);
      }
      return out;
    }
    const std::uint32_t held = scenario_.model.experts / expert_gpus - offload;
    const std::uint32_t taken = offload * expert_gpus / attention_gpus;
    for (const std::uint32_t kind : expert_kinds_) {
      const Times here = experts(kind, held / n, held);
      if (here.all > out.stayed.all) out.stayed = here;
    }
    out.moved = experts(owner.kind, taken / n, taken);
    return out;
  }

  std::vector<LayerTimes> layers_of(const Owner& owner,
                                    const std::vector<std::vector<std::uint32_t>>& offloads) const {
    std::vector<LayerTimes> out;
    const auto& layers = scenario_.model.layers;
    for (std::uint32_t l = 0; l < layers.size(); ++l) {
      if (l > 1 && layers[l] == layers[l - 1] && scenario_.shares[l] == scenario_.shares[l - 1] &&
          offloads[l] == offloads[l - 1]) {
        out.push_back(out.back());
        continue;
      }
      LayerTimes& times = out.emplace_back();
      times.attention = attention(owner, l);
      if (!layers[l].has_experts) continue;
      for (const std::uint32_t o : offloads[l]) {
        times.experts.push_back(experts_when(owner, l, o));
      }
    }
    return out;
  }

  /// A way from start to end whose length depends on what moves.
  struct Chain {
    double fixed = 0;
    std::vector<std::vector<double>> by_layer;  ///< [layers with experts][choices of what moves]
  };

  /// What the longer of two chains takes at least: choices that shorten one lengthen the other. The
  /// longer one takes no less than any weighted mean, and a mean falls apart into layers.
  static double least_of_both(const Chain& a, const Chain& b) {
    constexpr int steps = 16;
    double best = 0;
    for (int step = 0; step <= steps; ++step) {
      const double weight = static_cast<double>(step) / steps;
      double sum = weight * a.fixed + (1 - weight) * b.fixed;
      for (std::size_t l = 0; l < a.by_layer.size(); ++l) {
        double least = std::numeric_limits<double>::infinity();
        for (std::size_t o = 0; o < a.by_layer[l].size(); ++o) {
          least = std::min(least, weight * a.by_layer[l][o] + (1 - weight) * b.by_layer[l][o]);
        }
        sum += least;
      }
      best = std::max(best, sum);
    }
    return best;
  }

  /// From the start of one layer's first attention to that of the next, on the attention GPU: by
  /// its stream, or by the way of the first microbatch over the experts; then backward.
  Chain along_attention(const std::vector<LayerTimes>& layers, const Times& head_times) const {
    Chain out;
    for (std::size_t l = 0; l < layers.size(); ++l) {
      const Times& a = layers[l].attention;
      const Times& above = l + 1 < layers.size() ? layers[l + 1].attention : head_times;
      const double stream_above = l + 1 < layers.size() ? above.all_backward + above.recompute_after
                                                        : above.all + above.all_backward;
      const double first_above = above.first_backward + (l + 1 < layers.size() ? 0 : above.first);
      if (layers[l].experts.empty()) {
        out.fixed += a.all + stream_above + a.recompute_before;
        continue;
      }
      auto& choices = out.by_layer.emplace_back();
      for (const auto& [moved, stayed] : layers[l].experts) {
        const double forward = std::max(a.all + moved.all, a.first + 2 * latency_ + stayed.first);
        const double backward =
            std::max(stream_above + moved.all_backward + moved.recompute_before +
                         moved.recompute_after + a.recompute_before,
                     first_above + 2 * latency_ + stayed.first_backward);
        choices.push_back(forward + backward);
      }
    }
    const Times& lowest = layers.front().attention;
    out.fixed += lowest.all_backward + lowest.recompute_after;
    return out;
  }

  /// The expert GPU's stream, with the first microbatch's way to it and the last one's from it.
  Chain along_stream(const std::vector<LayerTimes>& layers) const {
    Chain out;
    bool below_experts = true;
    for (const LayerTimes& layer : layers) {
      if (below_experts) out.fixed += layer.attention.first + layer.attention.first_backward;
      if (layer.experts.empty()) continue;
      below_experts = false;
      auto& choices = out.by_layer.emplace_back();
      for (const auto& [moved, stayed] : layer.experts) {
        choices.push_back(stayed.all + stayed.all_backward + stayed.recompute_before +
                          stayed.recompute_after);
      }
    }
    out.fixed += 2 * latency_;
    return out;
  }

  /// From the start of one layer's first experts to that of the next, on the expert GPU: by its
  /// stream, or by the way of the first microbatch over attention; then backward.
  Chain along_experts(const std::vector<LayerTimes>& layers, const Times& head_times) const {
    Chain out;
    double up = 0;    // attention of the first microbatch since the experts below
    double down = 0;  // and back
    std::vector<double>* below = nullptr;
    const auto leave_upwards = [&](const LayerTimes& from, std::vector<double>& choices) {
      for (std::size_t o = 0; o < choices.size(); ++o) {
        const Times& stayed = from.experts[o].stayed;
        choices[o] += std::max(stayed.all, stayed.first + 2 * latency_ + up);
      }
    };
    out.by_layer.reserve(layers.size());
    const LayerTimes* last = nullptr;
    for (const LayerTimes& layer : layers) {
      up += layer.attention.first;
      down += layer.attention.first_backward;
      if (layer.experts.empty()) continue;
      if (last != nullptr) leave_upwards(*last, *below);
      auto& choices = out.by_layer.emplace_back();
      for (const auto& [moved, stayed] : layer.experts) {
        const double stream = stayed.all_backward + stayed.recompute_after;
        choices.push_back(last == nullptr
                              ? stream
                              : std::max(stream, stayed.first_backward + 2 * latency_ + down));
      }
      if (last == nullptr) out.fixed += up + down + 2 * latency_;
      last = &layer;
      below = &choices;
      up = down = 0;
    }
    if (last == nullptr) return out;
    up += down + head_times.first + head_times.first_backward;
    leave_upwards(*last, *below);
    return out;
  }

  const Scenario& scenario_;
  const ZebraGroup& group_;
  std::uint32_t microbatches_;
  std::vector<CostModel> costs_;
  double latency_;
  std::vector<double> tokens_;  // [microbatches] of the group
  std::vector<std::uint32_t> expert_kinds_;
  std::vector<Owner> owners_;  // those that differ
};

}  // namespace

Seconds zebra_bound(const Scenario& scenario, const ZebraShape& shape) {
  std::vector<std::vector<std::uint32_t>> offloads;
  for (const std::uint32_t offload : shape.offload) offloads.push_back({offload});
  return Bounder(scenario, shape).run(offloads);
}

Seconds zebra_bound_of_all(const Scenario& scenario, const ZebraShape& shape,
                           std::uint32_t most_offload) {
  std::vector<std::uint32_t> any(most_offload + 1U);
  std::iota(any.begin(), any.end(), 0);
  return Bounder(scenario, shape).run({scenario.model.layers.size(), any});
}

}  // namespace zebroid
