#include "backend/host/exchange_ops.hpp"

#include <algorithm>
#include <map>
#include <utility>

#include "core/error.hpp"

namespace zebroid {
namespace {

template <class T>
Segment rows_of(const T* data, std::size_t rows, std::size_t columns = 1) {
  return {.data = reinterpret_cast<const std::byte*>(data),
          .rows = rows,
          .row_bytes = columns * sizeof(T)};
}

template <class T>
Communicator::Visit::Place place_for(T* data, std::size_t rows, std::size_t columns = 1) {
  return {reinterpret_cast<std::byte*>(data), rows, columns * sizeof(T)};
}

/// Whether an exchange of tokens carries a number beside each row: a weight, or its gradient.
bool with_weights(const Op& op) {
  return (op.work == Work::dispatch) != (op.pass == Pass::backward);
}

void add(Offer& offer, RankId to, std::vector<Segment> segments) {
  const bool any = std::any_of(segments.begin(), segments.end(),
                               [](const Segment& segment) { return segment.rows > 0; });
  if (any) offer.push_back({to, std::move(segments), 0});
}

}  // namespace

template <class Real>
typename ExchangeOps<Real>::Done ExchangeOps<Real>::run(std::uint32_t op) {
  Call call{op, state_.program[op]};
  switch (call.of.work) {
    case Work::dispatch:
      return dispatch(call);
    case Work::combine:
      return combine(call);
    case Work::stage:
      return stage(call);
    case Work::gather:
      return gather(call);
    default:
      return reduce(call);
  }
}

/// Ranks of the replica with experts of the op's layer, ascending.
template <class Real>
std::vector<RankId> ExchangeOps<Real>::holders(const Op& op) const {
  std::vector<RankId> out = job_.schedule.replicas[state_.self().replica].expert_on[op.layer];
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

template <class Real>
bool ExchangeOps<Real>::owns(const Op& op) const {
  const auto& owners = job_.layout.attention_on(state_.self().replica, op.layer);
  return std::binary_search(owners.begin(), owners.end(), state_.rank);
}

/// Counts what goes to others; the fault that is asked for takes one row away.
template <class Real>
Offer ExchangeOps<Real>::checked(Call& call, Offer offer) const {
  bool miscounts = injection_ != nullptr && injection_->kind == FaultKind::miscounted &&
                   injection_->rank == state_.rank && injection_->op == call.op;
  for (Outgoing& outgoing : offer) {
    if (outgoing.to == state_.rank) continue;
    for (Segment& segment : outgoing.segments) {
      if (miscounts && segment.rows > 0) {
        --segment.rows;
        miscounts = false;
      }
      call.sent_bytes += segment.bytes();
    }
  }
  return offer;
}

template <class Real>
Communicator::Visit ExchangeOps<Real>::visit(Call& call, Offer offer) {
  return {communicator_, state_.rank, call.op, checked(call, std::move(offer)),
          [this, op = call.op] { state_.memory.finish(op); }};
}

template <class Real>
typename ExchangeOps<Real>::Done ExchangeOps<Real>::dispatch(Call& call) {
  Communicator::Visit visit = this->visit(call, owns(call.of) ? dispatch_offer(call.of) : Offer{});
  const std::size_t rows = state_.rows(call.of);
  state_.memory.take(call.op, {.rows = static_cast<double>(rows)});
  if (rows > 0 && state_.memory.has(call.op, What::received_rows)) {
    receive_rows(call.of, state_.memory.numbers(call.op, What::received_rows), visit);
  }
  visit.leave();
  return {visit.started(), call.sent_bytes};
}

/// For each holder, for each of its experts: rows, and in forward their weights.
template <class Real>
Offer ExchangeOps<Real>::dispatch_offer(const Op& op) const {
  const auto route = state_.route(op);
  const bool backward = op.pass == Pass::backward;
  const Real* const gradient = backward ? state_.output_gradient(op) : nullptr;
  const Real* const sorted =
      backward ? nullptr
               : state_.memory.numbers(state_.at(Work::attention, op.pass, op), What::sorted_rows);
  Offer out;
  for (const RankId holder : holders(op)) {
    std::vector<Segment> segments;
    for (const std::uint32_t e : job_.layout.experts_of(holder, op.layer)) {
      const std::size_t first = state_.first_position(op, e);
      const std::size_t rows = state_.routes.copies(state_.rank, op, e);
      if (backward) {
        Segment& segment = segments.emplace_back(rows_of(gradient, rows, state_.hidden()));
        segment.index = route.copy_at + first;
        segment.divisor = static_cast<std::int32_t>(state_.top_k());
      } else {
        segments.push_back(rows_of(sorted + first * state_.hidden(), rows, state_.hidden()));
        Segment& weights = segments.emplace_back(rows_of(route.weight, rows));
        weights.index = route.copy_at + first;
      }
    }
    add(out, holder, std::move(segments));
  }
  return out;
}

/// Expert after expert, in each owner after owner.
template <class Real>
void ExchangeOps<Real>::receive_rows(const Op& op, Real* rows, Communicator::Visit& visit) {
  Real* const weights = rows + state_.rows(op) * state_.hidden();
  const auto& owners = job_.layout.attention_on(state_.self().replica, op.layer);
  std::map<RankId, std::vector<Communicator::Visit::Place>> places;
  std::size_t row = 0;
  for (const std::uint32_t e : job_.layout.experts_of(state_.rank, op.layer)) {
    for (const RankId owner : owners) {
      const std::size_t copies = state_.routes.copies(owner, op, e);
      places[owner].push_back(place_for(rows + row * state_.hidden(), copies, state_.hidden()));
      if (with_weights(op)) places[owner].push_back(place_for(weights + row, copies));
      row += copies;
    }
  }
  for (const auto& [owner, to] : places) visit.take(owner, to);
}

template <class Real>
typename ExchangeOps<Real>::Done ExchangeOps<Real>::combine(Call& call) {
  Communicator::Visit visit = this->visit(call, combine_offer(call.of));
  state_.memory.take(call.op, {.tokens = state_.amounts.tokens(state_.rank, call.of)});
  if (owns(call.of)) {
    receive_returned(call.of, state_.memory.numbers(call.op, What::returned), visit);
  }
  visit.leave();
  return {visit.started(), call.sent_bytes};
}

/// For each owner, for each of this rank's experts: what belongs to the owner's tokens.
template <class Real>
Offer ExchangeOps<Real>::combine_offer(const Op& op) const {
  const auto experts = job_.layout.experts_of(state_.rank, op.layer);
  if (experts.empty()) return {};
  const Real* const outputs =
      state_.memory.numbers(state_.at(Work::expert, op.pass, op, op.chunk), What::outputs);
  const Real* const dweights = outputs + state_.rows(op) * state_.hidden();  // in backward
  const auto& owners = job_.layout.attention_on(state_.self().replica, op.layer);
  std::map<RankId, std::vector<Segment>> segments;
  std::size_t row = 0;
  for (const std::uint32_t e : experts) {
    for (const RankId owner : owners) {
      const std::size_t copies = state_.routes.copies(owner, op, e);
      segments[owner].push_back(rows_of(outputs + row * state_.hidden(), copies, state_.hidden()));
      if (with_weights(op)) segments[owner].push_back(rows_of(dweights + row, copies));
      row += copies;
    }
  }
  Offer out;
  for (auto& [owner, of] : segments) add(out, owner, std::move(of));
  return out;
}

/// In the order of the copies' positions.
template <class Real>
void ExchangeOps<Real>::receive_returned(const Op& op, Real* rows, Communicator::Visit& visit) {
  const auto copies_in_chunk =
      static_cast<std::size_t>(state_.amounts.tokens(state_.rank, op)) * state_.top_k();
  Real* const dweights = rows + copies_in_chunk * state_.hidden();
  const std::size_t chunk = state_.first_position(op);
  for (const RankId holder : holders(op)) {
    std::vector<Communicator::Visit::Place> places;
    for (const std::uint32_t e : job_.layout.experts_of(holder, op.layer)) {
      const std::size_t first = state_.first_position(op, e) - chunk;
      const std::size_t copies = state_.routes.copies(state_.rank, op, e);
      places.push_back(place_for(rows + first * state_.hidden(), copies, state_.hidden()));
      if (with_weights(op)) places.push_back(place_for(dweights + first, copies));
    }
    visit.take(holder, places);
  }
}

template <class Real>
typename ExchangeOps<Real>::Done ExchangeOps<Real>::stage(Call& call) {
  const Op& op = call.of;
  const bool up = op.pass == Pass::forward;
  const std::uint32_t from = up ? op.layer - 1U : op.layer;
  const std::uint32_t to = up ? op.layer : op.layer - 1U;
  const std::uint32_t replica = state_.self().replica;
  const auto overlap = [&](RankId sender, RankId receiver) {
    return common(job_.layout.sequences_of(sender, from, op.microbatch),
                  job_.layout.sequences_of(receiver, to, op.microbatch));
  };
  const Interval mine = job_.layout.sequences_of(state_.rank, from, op.microbatch);
  const std::size_t row = job_.length * state_.hidden();  // of a sequence
  Offer offer;
  if (mine.size() > 0) {
    Real* sent = nullptr;
    if (up) {
      Op below = op;
      below.layer = static_cast<std::uint16_t>(from);
      sent =
          state_.memory.numbers(state_.at(Work::attention, Pass::forward, below), What::residual);
      state_.add_up(from, op.microbatch, sent);
    } else {
      sent = state_.memory.numbers(state_.at(Work::attention, Pass::backward, op), What::gradient);
    }
    for (const RankId receiver : job_.layout.attention_on(replica, to)) {
      const Interval both = overlap(state_.rank, receiver);
      if (both.size() == 0) continue;
      add(offer, receiver, {rows_of(sent + (both.begin - mine.begin) * row, both.size(), row)});
    }
  }
  Communicator::Visit visit = this->visit(call, std::move(offer));
  state_.memory.take(call.op, {.tokens = static_cast<double>(state_.tokens(op).count())});
  const Interval wanted = job_.layout.sequences_of(state_.rank, to, op.microbatch);
  for (const RankId sender : job_.layout.attention_on(replica, from)) {
    const Interval both = overlap(sender, state_.rank);
    if (both.size() == 0) continue;
    Real* const received = state_.memory.numbers(call.op, What::hidden_states);
    const Communicator::Visit::Place place =
        place_for(received + (both.begin - wanted.begin) * row, both.size(), row);
    visit.take(sender, std::span(&place, 1));
  }
  visit.leave();
  return {visit.started(), call.sent_bytes};
}

template <class Real>
typename ExchangeOps<Real>::template Summed<Real> ExchangeOps<Real>::shared_array(const Op& op) {
  Summed<Real> out;
  for (const RankId rank : job_.schedule.groups[job_.schedule.group_of(state_.rank, op).value]) {
    const auto& owners =
        job_.layout.attention_on(job_.schedule.ranks[rank.value].replica, op.layer);
    if (std::binary_search(owners.begin(), owners.end(), rank)) out.ranks.push_back(rank);
  }
  if (const Held<Real>* held = state_.parameters.shared(op.layer)) {
    out.values = held->gradient;
    out.size = held->size;
  }
  return out;
}

/// One for each expert of this rank, summed in the order of the replicas.
template <class Real>
std::vector<typename ExchangeOps<Real>::template Summed<Real>> ExchangeOps<Real>::expert_arrays(
    const Op& op) {
  std::vector<Summed<Real>> out;
  for (const std::uint32_t e : job_.layout.experts_of(state_.rank, op.layer)) {
    const Held<Real>& held = *state_.parameters.expert(op.layer, e);
    auto& array = out.emplace_back();
    array.values = held.gradient;
    array.size = held.size;
    for (const Replica& replica : job_.schedule.replicas) {
      array.ranks.push_back(replica.expert_on[op.layer][e]);
    }
  }
  return out;
}

template <class Real>
typename ExchangeOps<Real>::Done ExchangeOps<Real>::reduce(Call& call) {
  const Op& op = call.of;
  if (op.work == Work::reduce_experts) return sum(call, expert_arrays(op));
  const auto& members = job_.schedule.groups[job_.schedule.group_of(state_.rank, op).value];
  if (op.work == Work::reduce_norm) {
    ExactSum::Words& words = state_.parameters.squares().words();
    const std::vector<Summed<std::int64_t>> arrays = {{words.data(), words.size(), members}};
    return op.chunk == leader_to_members ? hand_on(call, arrays) : sum(call, arrays);
  }
  const std::vector<Summed<Real>> arrays = {shared_array(op)};
  return op.chunk == leader_to_members ? hand_on(call, arrays) : sum(call, arrays);
}

/// What each array's other ranks take from this one: their parts, to sum them, or the part that
/// this one has summed. Arrays are in the same order on all ranks.
template <class Real>
template <class T>
Offer ExchangeOps<Real>::parts_offer(const std::vector<Summed<T>>& arrays, bool own_parts) const {
  std::map<RankId, std::vector<Segment>> segments;
  for (const Summed<T>& array : arrays) {
    if (array.values == nullptr) continue;
    for (const RankId rank : array.ranks) {
      if (rank == state_.rank) continue;
      const Interval part = array.part_of(own_parts ? state_.rank : rank);
      segments[rank].push_back(rows_of(array.values + part.begin, part.size()));
    }
  }
  Offer out;
  for (auto& [to, of] : segments) add(out, to, std::move(of));
  return out;
}

/// The rank's parts of all arrays from all others, and their sums in the order of the ranks.
template <class Real>
template <class T>
void ExchangeOps<Real>::sum_parts(const std::vector<Summed<T>>& arrays,
                                  Communicator::Visit& visit) {
  std::map<RankId, std::vector<std::vector<T>>> received;  // [arrays] of each other rank
  for (const RankId from : others(arrays)) {
    auto& parts = received.emplace(from, arrays.size()).first->second;
    std::vector<Communicator::Visit::Place> places;
    for (std::size_t a = 0; a < arrays.size(); ++a) {
      if (!arrays[a].has(from)) continue;
      parts[a].resize(arrays[a].part_of(state_.rank).size());
      places.push_back(place_for(parts[a].data(), parts[a].size()));
    }
    visit.take(from, places);
  }
  for (std::size_t a = 0; a < arrays.size(); ++a) {
    const auto& [values, size, ranks] = arrays[a];
    if (values == nullptr) continue;
    const Interval part = arrays[a].part_of(state_.rank);
    std::vector<const T*> parts;
    for (const RankId rank : ranks) {
      parts.push_back(rank == state_.rank ? values + part.begin : received.at(rank)[a].data());
    }
    for (std::size_t i = 0; i < part.size(); ++i) {
      T all = parts.front()[i];
      for (std::size_t p = 1; p < parts.size(); ++p) all += parts[p][i];
      values[part.begin + i] = all;
    }
  }
}

/// From each other rank the parts that it has.
template <class Real>
template <class T>
void ExchangeOps<Real>::take_parts(const std::vector<Summed<T>>& arrays,
                                   Communicator::Visit& visit) {
  for (const RankId from : others(arrays)) {
    std::vector<Communicator::Visit::Place> places;
    for (const Summed<T>& array : arrays) {
      if (!array.has(from)) continue;
      const Interval part = array.part_of(from);
      places.push_back(place_for(array.values + part.begin, part.size()));
    }
    visit.take(from, places);
  }
}

template <class Real>
template <class T>
std::set<RankId> ExchangeOps<Real>::others(const std::vector<Summed<T>>& arrays) const {
  std::set<RankId> out;
  for (const Summed<T>& array : arrays) {
    if (array.values != nullptr) out.insert(array.ranks.begin(), array.ranks.end());
  }
  out.erase(state_.rank);
  return out;
}

/// Each rank sums its part of each array, and then takes the others' parts where it needs them.
template <class Real>
template <class T>
typename ExchangeOps<Real>::Done ExchangeOps<Real>::sum(Call& call,
                                                        const std::vector<Summed<T>>& arrays) {
  Communicator::Visit visit = this->visit(call, parts_offer(arrays, false));
  sum_parts(arrays, visit);
  const GroupId group = job_.schedule.group_of(state_.rank, call.of);
  if (!job_.layout.goes_half_round(group, call.of)) {
    visit.meet_again(checked(call, parts_offer(arrays, true)));
    take_parts(arrays, visit);
  }
  visit.leave();
  return {visit.started(), call.sent_bytes};
}

/// All take over what the first one has.
template <class Real>
template <class T>
typename ExchangeOps<Real>::Done ExchangeOps<Real>::hand_on(Call& call,
                                                            const std::vector<Summed<T>>& arrays) {
  const auto& [values, size, ranks] = arrays.front();
  const RankId first = ranks.front();
  Offer offer;
  if (first == state_.rank) {
    for (const RankId rank : ranks) {
      if (rank != first) add(offer, rank, {rows_of(values, size)});
    }
  }
  Communicator::Visit visit = this->visit(call, std::move(offer));
  if (first != state_.rank && values != nullptr) {
    const auto place = place_for(values, size);
    visit.take(first, std::span(&place, 1));
  }
  visit.leave();
  return {visit.started(), call.sent_bytes};
}

template <class Real>
typename ExchangeOps<Real>::Done ExchangeOps<Real>::gather(Call& call) {
  const Op& op = call.of;
  const GroupId group = job_.schedule.group_of(state_.rank, op);
  const auto& members = job_.schedule.groups[group.value];
  std::vector<Summed<Real>> arrays;
  const Held<Real>& shared = state_.shared(op.layer);
  arrays.push_back({shared.values, shared.size, members});
  if (job_.layout.find_shards(group, op.layer)->experts) {
    for (const std::uint32_t e : job_.layout.experts_of(state_.rank, op.layer)) {
      const Held<Real>& held = *state_.parameters.expert(op.layer, e);
      arrays.push_back({held.values, held.size, members});
    }
  }
  Communicator::Visit visit = this->visit(call, parts_offer(arrays, true));
  take_parts(arrays, visit);
  visit.leave();
  return {visit.started(), call.sent_bytes};
}

template class ExchangeOps<float>;
template class ExchangeOps<double>;

}  // namespace zebroid
