#include "schedule/predicted_load.hpp"

#include <algorithm>
#include <cmath>

#include "core/exact_sum.hpp"
#include "schedule/verify.hpp"

namespace zebroid {
namespace {

constexpr double half_bytes = 2;  // activations, gradients and weights on the wire
constexpr double routing_weight_bytes =
    4;  // one float per routed copy travels with the tokens, its gradient comes back
constexpr double norm_bytes = sizeof(ExactSum::Words);  // the squared norm of all gradients

std::size_t place_in(const std::vector<RankId>& group, RankId rank) {
  return static_cast<std::size_t>(std::lower_bound(group.begin(), group.end(), rank) -
                                  group.begin());
}

Direction direction_of(const Op& op) {
  return op.pass == Pass::backward ? Direction::backward : Direction::forward;
}

}  // namespace

Bytes routed_bytes(const MoeModel& model, const Op& op, double tokens, double share) {
  const double copies = tokens * model.top_k * share;
  const bool with_weight = (op.work == Work::dispatch) != (op.pass == Pass::backward);
  return {
      std::round(copies * (half_bytes * model.hidden + (with_weight ? routing_weight_bytes : 0)))};
}

PredictedLoad::PredictedLoad(const Schedule& schedule, const Scenario& scenario)
    : schedule_(schedule),
      scenario_(scenario),
      layout_(schedule),
      network_(network_of(scenario)),
      exchange_times_(schedule, scenario, network_),
      costs_(cost_models(scenario)),
      shared_(schedule.ranks.size(), 0),
      experts_(schedule.ranks.size(), 0) {
  const std::vector<Gpu> gpus = gpus_of(scenario.cluster);
  for (const Rank& rank : schedule.ranks) kind_.push_back(gpus[rank.gpu.value].kind);
  place_experts();
  count_parameters();
  find_like_layers();
  find_like_microbatches();
  find_like_ranks();
}

void PredictedLoad::place_experts() {
  held_.assign(schedule_.ranks.size(), std::vector<Held>(schedule_.layers));
  std::vector<double> parameters;  // [layers] of one expert
  for (std::uint32_t l = 0; l < schedule_.layers; ++l) {
    parameters.push_back(layer_parameters(scenario_.model, l).expert);
  }
  for (std::uint32_t r = 0; r < schedule_.ranks.size(); ++r) {
    for (std::uint32_t l = 0; l < schedule_.layers; ++l) {
      Held& held = held_[r][l];
      for (const std::uint32_t e : layout_.experts_of({r}, l)) {
        held.share += scenario_.shares[l][e];
        ++held.experts;
        if (scenario_.shares[l][e] > 0) ++held.experts_with_rows;
        experts_[r] += parameters[l];
      }
    }
  }
}

double PredictedLoad::held_expert_parameters(RankId rank, std::uint32_t layer) const {
  return held(rank, layer).experts * layer_parameters(scenario_.model, layer).expert;
}

void PredictedLoad::count_parameters() {
  for (std::uint32_t l = 0; l < schedule_.layers; ++l) {
    const double parameters = zebroid::shared_parameters(scenario_.model, l);
    for (std::uint32_t v = 0; v < schedule_.replicas.size(); ++v) {
      for (const RankId rank : layout_.attention_on(v, l)) shared_[rank.value] += parameters;
    }
  }
  optimizer_.resize(schedule_.ranks.size());
  for (std::uint32_t r = 0; r < schedule_.ranks.size(); ++r) {
    optimizer_[r] = shared_[r] + experts_[r];
    for (const Op& op : layout_.gathers_of({r})) {
      const GroupId group = schedule_.group_of({r}, op);
      const double others = 1 - 1.0 / static_cast<double>(schedule_.groups[group.value].size());
      optimizer_[r] -= others * zebroid::shared_parameters(scenario_.model, op.layer);
      if (!layout_.find_shards(group, op.layer)->experts) continue;
      optimizer_[r] -= others * held_expert_parameters({r}, op.layer);
    }
  }
}

/// Whether the ops of two layers cost the same, microbatch by microbatch.
bool PredictedLoad::alike(std::uint32_t layer, std::uint32_t other) const {
  if (scenario_.model.layers[layer] != scenario_.model.layers[other]) return false;
  if (scenario_.shares[layer] != scenario_.shares[other]) return false;
  if (layout_.shards_of(layer) != layout_.shards_of(other)) return false;
  const auto below = [](std::uint32_t l) {
    return l == 0 ? 0 : l - 1;
  };  // where a stage comes from
  return std::all_of(schedule_.replicas.begin(), schedule_.replicas.end(), [&](const Replica& v) {
    const auto attention_on = [&](std::uint32_t l) -> const std::vector<RankId>& {
      return layout_.attention_on(static_cast<std::uint32_t>(&v - schedule_.replicas.data()), l);
    };
    return v.expert_on[layer] == v.expert_on[other] && attention_on(layer) == attention_on(other) &&
           attention_on(below(layer)) == attention_on(below(other));
  });
}

void PredictedLoad::find_like_layers() {
  std::vector<std::uint16_t> firsts;
  for (std::uint16_t l = 0; l < schedule_.layers; ++l) {
    const auto first = std::find_if(firsts.begin(), firsts.end(),
                                    [&](std::uint16_t other) { return alike(l, other); });
    layer_like_.push_back(first == firsts.end() ? l : *first);
    if (first == firsts.end()) firsts.push_back(l);
  }
  // Beside its own parameters the first layer has the embedding, the last one the head.
  for (std::uint16_t l = 0; l < schedule_.layers; ++l) {
    std::uint16_t first = l;
    const bool at_end = l == 0 || l + 1U == schedule_.layers;
    for (std::uint16_t other = 1; other < l && first == l && !at_end; ++other) {
      if (layer_like_[other] == layer_like_[l]) first = other;
    }
    inner_like_.push_back(first);
  }
}

void PredictedLoad::find_like_microbatches() {
  std::vector<std::uint32_t> shares;  // sequences of a rank, each once
  for (const Rank& rank : schedule_.ranks) shares.push_back(rank.sequences);
  std::sort(shares.begin(), shares.end());
  shares.erase(std::unique(shares.begin(), shares.end()), shares.end());
  const std::uint32_t microbatches = schedule_.microbatches;
  const std::uint32_t chunks = schedule_.chunks;
  bool equal_chunks = true;
  std::vector<std::uint16_t> firsts;
  for (std::uint16_t j = 0; j < microbatches; ++j) {
    const auto same_as = [&](std::uint16_t other) {
      return std::all_of(shares.begin(), shares.end(), [&](std::uint32_t sequences) {
        return sequences_in(sequences, j, microbatches) ==
               sequences_in(sequences, other, microbatches);
      });
    };
    const auto first = std::find_if(firsts.begin(), firsts.end(), same_as);
    microbatch_like_.push_back(first == firsts.end() ? j : *first);
    if (first != firsts.end()) continue;
    firsts.push_back(j);
    for (const std::uint32_t sequences : shares) {
      const std::uint64_t tokens = std::uint64_t{sequences_in(sequences, j, microbatches)} *
                                   scenario_.training.sequence_length;
      if (tokens % chunks != 0) equal_chunks = false;
    }
  }
  for (std::uint16_t c = 0; c < chunks; ++c) chunk_like_.push_back(equal_chunks ? 0 : c);
}

/// Whether two ranks that run one program take equal times and compute equal rows.
bool PredictedLoad::alike(RankId rank, RankId other) const {
  const std::uint32_t a = rank.value;
  const std::uint32_t b = other.value;
  const auto same_held = [](const Held& x, const Held& y) {
    return x.share == y.share && x.experts_with_rows == y.experts_with_rows;
  };
  return kind_[a] == kind_[b] && schedule_.ranks[a].sequences == schedule_.ranks[b].sequences &&
         source_like_[schedule_.ranks[a].replica] == source_like_[schedule_.ranks[b].replica] &&
         optimizer_parameters(rank) == optimizer_parameters(other) &&
         std::equal(held_[a].begin(), held_[a].end(), held_[b].begin(), same_held);
}

void PredictedLoad::find_like_ranks() {
  std::vector<std::vector<std::uint32_t>> sources;  // [replicas] sequences, layer by layer
  for (std::uint32_t v = 0; v < schedule_.replicas.size(); ++v) {
    auto& own = sources.emplace_back();
    for (std::uint32_t l = 0; l < schedule_.layers; ++l) {
      const auto& ranks = layout_.attention_on(v, l);
      if (l > 0 && ranks == layout_.attention_on(v, l - 1)) continue;
      own.push_back(l);
      for (const RankId rank : ranks) {
        own.push_back(schedule_.ranks[rank.value].sequences);
      }
    }
    source_like_.push_back(static_cast<std::uint32_t>(
        std::find(sources.begin(), sources.end(), own) - sources.begin()));
  }
  std::vector<RankId> firsts;
  for (std::uint32_t r = 0; r < schedule_.ranks.size(); ++r) {
    const auto first =
        std::find_if(firsts.begin(), firsts.end(), [&](RankId other) { return alike({r}, other); });
    rank_like_.push_back(first == firsts.end() ? RankId{r} : *first);
    if (first == firsts.end()) firsts.push_back({r});
  }
}

Op PredictedLoad::like(const Op& op) const {
  Op out = op;
  out.microbatch = microbatch_like_[op.microbatch];
  const bool routed =
      op.work == Work::dispatch || op.work == Work::expert || op.work == Work::combine;
  out.layer = routed ? layer_like_[op.layer] : inner_like_[op.layer];
  if (routed) out.chunk = chunk_like_[op.chunk];  // elsewhere it is the phase of a sum
  return out;
}

/// Only pairs that may have bytes are asked: owners and holders, neighbours in a ring or chain.
Messages PredictedLoad::messages(GroupId group, const std::vector<RankId>& members,
                                 const Op& op) const {
  const auto size = static_cast<std::uint32_t>(members.size());
  const bool rings =
      op.work == Work::reduce_shared || op.work == Work::reduce_norm || op.work == Work::gather;
  const bool tokens = op.work == Work::dispatch || op.work == Work::combine;
  if (!rings && !tokens) return Load::messages(group, members, op);
  Messages out;
  const auto ask = [&](std::uint32_t from, std::uint32_t to) {
    const Bytes sent = bytes(group, op, members[from], members[to]);
    if (sent.value > 0) out.add({from, to, sent});
  };
  const auto owns = [&](std::uint32_t m) {
    return schedule_.ranks[members[m].value].sequences > 0;
  };
  const auto holds = [&](std::uint32_t m) { return held(members[m], op.layer).share > 0; };
  for (std::uint32_t from = 0; from < size; ++from) {
    if (rings) {
      if (size > 1) ask(from, (from + 1) % size);
      continue;
    }
    const bool out_of_owner = op.work == Work::dispatch;
    if (!(out_of_owner ? owns(from) : holds(from))) continue;
    for (std::uint32_t to = 0; to < size; ++to) {
      if (from != to && (out_of_owner ? holds(to) : owns(to))) ask(from, to);
    }
  }
  return out;
}

double PredictedLoad::tokens(RankId rank, const Op& op) const {
  const std::uint64_t in_microbatch =
      std::uint64_t{sequences_in(schedule_.ranks[rank.value].sequences, op.microbatch,
                                 schedule_.microbatches)} *
      scenario_.training.sequence_length;
  const bool chunked =
      op.work == Work::dispatch || op.work == Work::expert || op.work == Work::combine;
  return static_cast<double>(chunked ? chunk_cut(in_microbatch, op.chunk, schedule_.chunks).size()
                                     : in_microbatch);
}

double PredictedLoad::rows(RankId rank, const Op& op) const {
  if (op.work != Work::expert) return 0;
  const double share = held(rank, op.layer).share;
  if (share <= 0) return 0;
  double all_tokens = 0;
  for (const RankId source : layout_.attention_on(schedule_.ranks[rank.value].replica, op.layer)) {
    all_tokens += tokens(source, op);
  }
  return all_tokens * scenario_.model.top_k * share;
}

std::vector<KernelCall> PredictedLoad::kernels(RankId rank, const Op& op) const {
  const double sequences =
      sequences_in(schedule_.ranks[rank.value].sequences, op.microbatch, schedule_.microbatches);
  switch (op.work) {
    case Work::attention:
      return attention_kernels(scenario_.model, op.layer, direction_of(op), sequences,
                               scenario_.training.sequence_length);
    case Work::expert:
      return costs(rank).expert_calls(direction_of(op), rows(rank, op),
                                      held(rank, op.layer).experts_with_rows);
    case Work::head:
      return head_kernels(scenario_.model, direction_of(op), tokens(rank, op));
    case Work::step:
      return step_kernels(optimizer_parameters(rank));
    default:
      return {};
  }
}

Cost PredictedLoad::cost(RankId rank, const Op& op) const {
  return costs(rank).sum(kernels(rank, op));
}

Flops PredictedLoad::flops(RankId rank, const Op& op) const {
  const bool backward = op.pass == Pass::backward;
  const double products = backward ? 2 : 1;
  switch (op.work) {
    case Work::attention: {
      const double sequences = sequences_in(schedule_.ranks[rank.value].sequences, op.microbatch,
                                            schedule_.microbatches);
      const ForwardFlops forward =
          attention_flops(scenario_.model, op.layer, sequences, scenario_.training.sequence_length);
      constexpr double backward_core = 2.5;
      return (forward.total() - forward.core) * products +
             forward.core * (backward ? backward_core : 1);
    }
    case Work::expert:
      return expert_flops(scenario_.model, rows(rank, op)) * products;
    case Work::head:
      return head_flops(scenario_.model, tokens(rank, op)) * products;
    default:
      return {};
  }
}

Bytes PredictedLoad::bytes(GroupId group, const Op& op, RankId from, RankId to) const {
  switch (op.work) {
    case Work::dispatch:
    case Work::combine: {
      const bool towards_experts = op.work == Work::dispatch;
      const RankId owner = towards_experts ? from : to;
      const RankId holder = towards_experts ? to : from;
      if (schedule_.ranks[owner.value].replica != schedule_.ranks[holder.value].replica) return {};
      return routed_bytes(scenario_.model, op, tokens(owner, op), held(holder, op.layer).share);
    }
    case Work::stage:
      return stage_bytes(op, from, to);
    default:
      return sum_bytes(group, op, from, to);
  }
}

/// Both sides of a stage boundary hold the same sequences of a microbatch.
Bytes PredictedLoad::stage_bytes(const Op& op, RankId from, RankId to) const {
  const bool up = op.pass == Pass::forward;
  const std::uint32_t sent_by = up ? op.layer - 1U : op.layer;
  const std::uint32_t sent_to = up ? op.layer : op.layer - 1U;
  const Interval sequences = common(layout_.sequences_of(from, sent_by, op.microbatch),
                                    layout_.sequences_of(to, sent_to, op.microbatch));
  return {static_cast<double>(sequences.size()) * scenario_.training.sequence_length * half_bytes *
          scenario_.model.hidden};
}

/// What a member sends to the next one in the ring, for a sum of `all` bytes on each member.
Bytes PredictedLoad::ring_bytes(GroupId group, Bytes all, RankId from, RankId to) const {
  const auto& members = schedule_.groups[group.value];
  const auto n = members.size();
  if ((place_in(members, from) + 1) % n != place_in(members, to)) return {};
  const auto size = static_cast<double>(n);
  return {std::round(2 * (size - 1) / size * all.value)};
}

Bytes PredictedLoad::sum_bytes(GroupId group, const Op& op, RankId from, RankId to) const {
  if (op.work == Work::reduce_experts) return expert_sum_bytes(group, op, from, to);
  const bool norm = op.work == Work::reduce_norm;
  const Shards* shards = norm ? nullptr : layout_.find_shards(group, op.layer);
  Bytes all{norm ? norm_bytes : zebroid::shared_parameters(scenario_.model, op.layer) * half_bytes};
  if (op.work == Work::gather && shards != nullptr && shards->experts) {
    all += Bytes{held_expert_parameters(from, op.layer) * half_bytes};
  }
  if (is_sum(op.work) && op.chunk == leader_to_members) {  // a chain: each hands on all of it
    const auto& members = schedule_.groups[group.value];
    return place_in(members, from) + 1 == place_in(members, to) ? all : Bytes{};
  }
  const Bytes ring = ring_bytes(group, all, from, to);
  return layout_.goes_half_round(group, op) ? Bytes{std::round(ring.value / 2)} : ring;
}

/// One ring per expert: its holders in the order of the replicas.
Bytes PredictedLoad::expert_sum_bytes(GroupId group, const Op& op, RankId from, RankId to) const {
  const std::size_t n = schedule_.replicas.size();
  const std::size_t v = schedule_.ranks[from.value].replica;
  const auto& here = schedule_.replicas[v].expert_on[op.layer];
  const auto& next = schedule_.replicas[(v + 1) % n].expert_on[op.layer];
  double common = 0;
  for (std::size_t e = 0; e < here.size(); ++e) {
    if (here[e] == from && next[e] == to) ++common;
  }
  const auto size = static_cast<double>(n);
  const double turns = layout_.goes_half_round(group, op) ? 1 : 2;
  return {std::round(turns * (size - 1) / size * common *
                     layer_parameters(scenario_.model, op.layer).expert * half_bytes)};
}

/// What NCCL would run for the whole exchange; nothing where that is several collectives.
std::optional<MeasuredOp> PredictedLoad::collective_of(GroupId group, const Op& op) const {
  switch (op.work) {
    case Work::dispatch:
    case Work::combine:
      return MeasuredOp::all_to_all;
    case Work::stage:
      return MeasuredOp::send_recv;
    case Work::gather:
      return MeasuredOp::all_gather;
    default:
      break;
  }
  if (op.chunk == leader_to_members) return std::nullopt;
  const bool several_rings = op.work == Work::reduce_experts &&
                             schedule_.groups[group.value].size() != schedule_.replicas.size();
  if (several_rings) return std::nullopt;
  return layout_.goes_half_round(group, op) ? MeasuredOp::reduce_scatter : MeasuredOp::all_reduce;
}

std::optional<ExchangeTimes::Answer> PredictedLoad::measured(GroupId group, const Op& op) const {
  if (exchange_times_.empty()) return std::nullopt;
  const auto collective = collective_of(group, op);
  if (!collective) return std::nullopt;
  return exchange_times_.of(group, *collective, messages(group, schedule_.groups[group.value], op));
}

Seconds PredictedLoad::latency(GroupId group, const Op& op) const {
  const auto answer = measured(group, op);
  return answer ? answer->latency : scenario_.cluster.latency;
}

Evidence PredictedLoad::evidence(GroupId group, const Op& op) const {
  const auto answer = measured(group, op);
  if (answer && answer->evidence) return *answer->evidence;
  const auto& ports = network_.ports();
  if (ports.empty()) return Evidence::roofline;
  const auto better = [](const Port& a, const Port& b) { return a.evidence < b.evidence; };
  const auto [best, worst] = std::minmax_element(ports.begin(), ports.end(), better);
  if (best->evidence == worst->evidence) return worst->evidence;
  const auto& members = schedule_.groups[group.value];
  Evidence out = best->evidence;
  for (const Message message : messages(group, members, op)) {
    const GpuId from = schedule_.ranks[members[message.from].value].gpu;
    const GpuId to = schedule_.ranks[members[message.to].value].gpu;
    for (const PortId port : network_.path(from, to)) {
      out = std::max(out, ports[port.value].evidence);
    }
    if (out == worst->evidence) break;
  }
  return out;
}

double PredictedLoad::sm_share(RankId rank) const {
  return scenario_.cluster.kinds[kind_[rank.value]].sm_share_of_exchanges;
}

}  // namespace zebroid
