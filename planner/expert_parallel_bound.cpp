#include "planner/expert_parallel_bound.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <set>
#include <utility>

#include "schedule/predicted_load.hpp"
#include "schedule/verify.hpp"

namespace zebroid {
namespace {

/// [seats] seconds.
using PerSeat = std::vector<double>;

void add(PerSeat& to, const PerSeat& more) {
  for (std::size_t s = 0; s < to.size(); ++s) to[s] += more[s];
}
void raise(PerSeat& to, const PerSeat& at_least) {
  for (std::size_t s = 0; s < to.size(); ++s) to[s] = std::max(to[s], at_least[s]);
}
double last_of(const PerSeat& times) { return *std::max_element(times.begin(), times.end()); }

/// A GPU of the group.
struct Member {
  GpuId gpu;
  std::uint32_t kind = 0;
  std::uint32_t sequences = 0;
};

/// The all-to-all of one chunk, alone on its ports.
struct Exchange {
  PerSeat arrival;                   ///< from its start until a seat has what it waits for
  double whole = 0;                  ///< until all have
  std::vector<double> port_seconds;  ///< [ports] bytes over bandwidth
};

/// Where time is kept: seats. Seat m is member m, if there is one. The others are ports that
/// members share, such as the NIC of a node of several GPUs. What holds for a port's seat holds for
/// one of the members on its side: the last flow through the port ends no sooner than the port
/// takes for all bytes, it is a flow of such a member, and what that does next takes at least what
/// the quickest of them needs.
class Seats {
 public:
  Seats(const Network& network, const std::vector<Member>& members)
      : latency_(network.latency().value), members_(members.size()), routes_(members_ * members_) {
    std::map<PortId, std::uint32_t> numbers;
    std::vector<std::set<std::uint32_t>> beside;  // [ports] members on its side
    for (std::uint32_t a = 0; a < members_; ++a) {
      for (std::uint32_t b = 0; b < members_; ++b) {
        if (a == b) continue;
        const Path path = network.path(members[a].gpu, members[b].gpu);
        for (std::size_t i = 0; i < path.size(); ++i) {
          const auto [at, is_new] = numbers.try_emplace(path[i], beside.size());
          if (is_new) {
            beside.emplace_back();
            bandwidths_.push_back(network.ports()[path[i].value].bandwidth.value);
          }
          beside[at->second].insert(i < path.sender_ports() ? a : b);
          routes_[a * members_ + b].push_back(at->second);
        }
      }
    }
    for (const auto& ranks : beside) {
      const bool is_shared = ranks.size() > 1;
      seat_of_port_.push_back(is_shared ? size() : *ranks.begin());
      if (is_shared) shared_.emplace_back(ranks.begin(), ranks.end());
    }
  }

  double latency() const { return latency_; }
  std::size_t ports() const { return bandwidths_.size(); }
  std::size_t size() const { return members_ + shared_.size(); }

  /// time(m) of an op on each member.
  template <class Time>
  PerSeat times(const Time& time) const {
    PerSeat out(size(), std::numeric_limits<double>::infinity());
    for (std::size_t m = 0; m < members_; ++m) out[m] = time(m);
    for (std::size_t i = 0; i < shared_.size(); ++i) {
      for (const std::uint32_t m : shared_[i]) {
        out[members_ + i] = std::min(out[members_ + i], out[m]);
      }
    }
    return out;
  }

  /// bytes(a, b) from member to member. Who sends or receives any waits for the latency too.
  template <class BytesOf>
  Exchange exchange(const BytesOf& bytes) const {
    Exchange out{PerSeat(size(), 0), 0, std::vector<double>(ports(), 0)};
    for (std::size_t a = 0; a < members_; ++a) {
      for (std::size_t b = 0; b < members_; ++b) {
        const double sent = a == b ? 0 : bytes(a, b);
        if (sent <= 0) continue;
        out.arrival[a] = out.arrival[b] = latency_;
        for (const std::uint32_t p : routes_[a * members_ + b]) out.port_seconds[p] += sent;
      }
    }
    for (std::size_t p = 0; p < ports(); ++p) {
      if (out.port_seconds[p] <= 0) continue;
      out.port_seconds[p] /= bandwidths_[p];
      double& arrival = out.arrival[seat_of_port_[p]];
      arrival = std::max(arrival, latency_ + out.port_seconds[p]);
    }
    out.whole = last_of(out.arrival);
    return out;
  }

 private:
  double latency_;
  std::size_t members_;
  std::vector<std::vector<std::uint32_t>> routes_;  // [from * members + to] ports
  std::vector<double> bandwidths_;                  // [ports]
  std::vector<std::size_t> seat_of_port_;           // [ports]
  std::vector<std::vector<std::uint32_t>>
      shared_;  // [seats beyond members] members beside the port
};

/// Experts of one chunk in one direction, with the all-to-alls around them.
struct Chunk {
  Exchange dispatch;
  PerSeat experts;
  Exchange combine;
};

/// Of one layer and microbatch.
struct LayerTimes {
  PerSeat attention;
  PerSeat attention_backward;
  const Chunk* forward = nullptr;  ///< all chunks alike; nothing in a dense layer
  const Chunk* backward = nullptr;
};

/// One group, as if alone. Ranks meet in every exchange: it starts when all have launched it.
class GroupBounder {
 public:
  GroupBounder(const Scenario& scenario, const ExpertParallelShape& shape,
               const std::vector<CostModel>& costs, const Network& network,
               std::vector<Member> members)
      : scenario_(scenario),
        shape_(shape),
        recompute_(expert_parallel_recompute(scenario, shape)),
        costs_(costs),
        members_(std::move(members)),
        seats_(network, members_),
        free_(seats_.size(), 0),
        on_ports_(seats_.ports(), 0) {}

  Seconds run() {
    for (std::uint32_t j = 0; j < shape_.microbatches; ++j) {
      std::vector<std::uint32_t> sequences;
      for (const Member& member : members_) {
        sequences.push_back(sequences_in(member.sequences, j, shape_.microbatches));
      }
      if (sequences != sequences_) {
        sequences_ = std::move(sequences);
        measure();
      }
      microbatch();
    }
    return {last_of(free_)};
  }

 private:
  // --- the run ---

  void microbatch() {
    for (const LayerTimes& layer : layers_) {
      add(free_, layer.attention);
      if (layer.forward != nullptr) {
        begin();
        for (std::uint32_t c = 0; c < shape_.chunks; ++c) chunk(*layer.forward);
        raise(free_, arrived_);
      }
    }
    add(free_, head_);
    for (auto layer = layers_.rbegin(); layer != layers_.rend(); ++layer) backward(*layer);
  }

  /// Experts are recomputed chunk by chunk, with Recompute::layer after their input was sent again.
  void backward(const LayerTimes& layer) {
    const bool by_module = recompute_ == Recompute::module;
    if (recompute_ == Recompute::layer) add(free_, layer.attention);
    if (layer.forward != nullptr) {
      begin();
      for (std::uint32_t c = 0; c < shape_.chunks; ++c) {
        if (recompute_ == Recompute::layer) chunk(*layer.forward);
        PerSeat experts = layer.backward->experts;
        if (by_module) add(experts, layer.forward->experts);
        chunk({layer.backward->dispatch, std::move(experts), layer.backward->combine});
      }
      raise(free_, arrived_);
    }
    if (by_module) add(free_, layer.attention);
    add(free_, layer.attention_backward);
  }

  /// The next dispatch: all have computed what it sends.
  void begin() {
    begun_ = dispatch_ = last_of(free_);
    combine_ = 0;
    std::fill(on_ports_.begin(), on_ports_.end(), 0);
  }

  /// One chunk of a pass. A stream takes one exchange after the other, so the next dispatch, or
  /// combine, starts when the whole of this one has ended. A combine starts when all have the
  /// experts done that it sends; by then the ports have carried its dispatch and all before.
  void chunk(const Chunk& chunk) {
    for (std::size_t s = 0; s < free_.size(); ++s) {
      free_[s] = std::max(free_[s], dispatch_ + chunk.dispatch.arrival[s]) + chunk.experts[s];
    }
    dispatch_ += chunk.dispatch.whole;
    add(on_ports_, chunk.dispatch.port_seconds);
    const double carried = on_ports_.empty() ? 0 : last_of(on_ports_);
    combine_ = std::max(combine_, last_of(free_));
    if (carried > 0) combine_ = std::max(combine_, begun_ + seats_.latency() + carried);
    arrived_.assign(free_.size(), combine_);
    add(arrived_, chunk.combine.arrival);
    combine_ += chunk.combine.whole;
    add(on_ports_, chunk.combine.port_seconds);
  }

  // --- what its ops take, for the microbatch of `sequences_` ---

  void measure() {
    layers_.clear();
    chunks_.clear();
    const auto& layers = scenario_.model.layers;
    for (std::uint32_t l = 0; l < layers.size(); ++l) {
      const bool as_below = l > 1 && layers[l] == layers[l - 1];  // layer 0 has the embedding
      LayerTimes& times = layers_.emplace_back();
      if (as_below) {
        times.attention = layers_[l - 1].attention;
        times.attention_backward = layers_[l - 1].attention_backward;
      } else {
        times.attention = attention(l, Direction::forward);
        times.attention_backward = attention(l, Direction::backward);
      }
      if (!layers[l].has_experts) continue;
      const auto [at, is_new] = chunks_.try_emplace(held_in(l));
      if (is_new) {
        at->second = {chunk_of(at->first, Direction::forward),
                      chunk_of(at->first, Direction::backward)};
      }
      times.forward = &at->second.first;
      times.backward = &at->second.second;
    }
    head_ = seats_.times([&](std::size_t m) {
      const CostModel& cost = costs_[members_[m].kind];
      return (cost.head(Direction::forward, tokens(m)).total() +
              cost.head(Direction::backward, tokens(m)).total())
          .value;
    });
  }

  double tokens(std::size_t m) const {
    return static_cast<double>(sequences_[m]) * scenario_.training.sequence_length;
  }
  /// In every chunk at least.
  double chunk_tokens(std::size_t m) const { return std::floor(tokens(m) / shape_.chunks); }

  PerSeat attention(std::uint32_t layer, Direction direction) const {
    return seats_.times([&](std::size_t m) {
      return costs_[members_[m].kind]
          .attention(layer, direction, sequences_[m], scenario_.training.sequence_length)
          .total()
          .value;
    });
  }

  /// Share of the routed copies and number of experts with rows.
  using Held = std::vector<std::pair<double, std::uint32_t>>;  // [members]

  Held held_in(std::uint32_t layer) const {
    Held out(members_.size());
    const std::vector<std::uint32_t> holders = expert_parallel_holders(
        scenario_.model.experts, static_cast<std::uint32_t>(members_.size()), layer);
    for (std::uint32_t e = 0; e < holders.size(); ++e) {
      const double share = scenario_.shares[layer][e];
      out[holders[e]].first += share;
      if (share > 0) ++out[holders[e]].second;
    }
    return out;
  }

  Chunk chunk_of(const Held& held, Direction direction) const {
    const Pass pass = direction == Direction::forward ? Pass::forward : Pass::backward;
    const Op dispatch{Work::dispatch, pass, 0, 0, 0, 0};
    const Op combine{Work::combine, pass, 0, 0, 0, 0};
    const auto bytes = [&](const Op& op, std::size_t owner, std::size_t holder) {
      return routed_bytes(scenario_.model, op, chunk_tokens(owner), held[holder].first).value;
    };
    double copies = 0;
    for (std::size_t m = 0; m < members_.size(); ++m) {
      copies += chunk_tokens(m) * scenario_.model.top_k;
    }
    return {seats_.exchange([&](std::size_t a, std::size_t b) { return bytes(dispatch, a, b); }),
            seats_.times([&](std::size_t m) {
              return costs_[members_[m].kind]
                  .expert(direction, copies * held[m].first, held[m].second)
                  .total()
                  .value;
            }),
            seats_.exchange([&](std::size_t a, std::size_t b) { return bytes(combine, b, a); })};
  }

  const Scenario& scenario_;
  const ExpertParallelShape& shape_;
  Recompute recompute_;
  const std::vector<CostModel>& costs_;
  std::vector<Member> members_;
  Seats seats_;

  std::vector<std::uint32_t> sequences_;  // [members] of the microbatch
  std::vector<LayerTimes> layers_;
  std::map<Held, std::pair<Chunk, Chunk>> chunks_;  // forward, backward
  PerSeat head_;

  PerSeat free_;         // when compute can go on
  double begun_ = 0;     // the first dispatch
  double dispatch_ = 0;  // start of the next one
  double combine_ = 0;
  PerSeat arrived_;               // the last combine
  std::vector<double> on_ports_;  // seconds of all bytes so far
};

}  // namespace

Seconds expert_parallel_bound(const Scenario& scenario, const ExpertParallelShape& shape) {
  const std::vector<Gpu> gpus = gpus_of(scenario.cluster);
  std::vector<std::vector<Member>> groups(shape.groups.size());
  for (const ExpertParallelSeat& seat : expert_parallel_seats(scenario, shape)) {
    groups[seat.group].push_back({seat.gpu, gpus[seat.gpu.value].kind, seat.sequences});
  }
  const std::vector<CostModel> costs = cost_models(scenario);
  const Network network = network_of(scenario);
  std::set<std::vector<std::pair<std::uint32_t, std::uint32_t>>> seen;  // kinds and sequences
  Seconds out;
  for (std::vector<Member>& group : groups) {
    std::vector<std::pair<std::uint32_t, std::uint32_t>> makeup;
    for (const Member& member : group) makeup.emplace_back(member.kind, member.sequences);
    if (!seen.insert(std::move(makeup)).second) continue;  // any of them gives a bound
    out = std::max(out, GroupBounder(scenario, shape, costs, network, std::move(group)).run());
  }
  return out;
}

}  // namespace zebroid
