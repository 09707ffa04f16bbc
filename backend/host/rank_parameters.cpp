#include "backend/host/rank_parameters.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

namespace zebroid {
namespace {

std::size_t size_of(const std::vector<Tensor>& tensors) {
  return std::accumulate(tensors.begin(), tensors.end(), std::size_t{0},
                         [](std::size_t sum, const Tensor& tensor) { return sum + tensor.size(); });
}

/// The rank's place among those that share a layer's states.
Interval part_in(const Schedule& schedule, const Shards& shards, RankId rank, std::size_t size) {
  const auto& members = schedule.groups[shards.group.value];
  const auto at = std::lower_bound(members.begin(), members.end(), rank);
  return part_of(size, static_cast<std::size_t>(at - members.begin()), members.size());
}

/// The shards of a layer that a rank is a member of; nullptr where it keeps all states.
const Shards* shards_with(const StepJob& job, RankId rank, std::uint32_t layer) {
  for (const Shards& shards : job.layout.shards_of(layer)) {
    const auto& members = job.schedule.groups[shards.group.value];
    if (std::binary_search(members.begin(), members.end(), rank)) return &shards;
  }
  return nullptr;
}

}  // namespace

template <class Real>
RankParameters<Real>::RankParameters(const StepJob& job, const NormParts& norm, RankId rank,
                                     Arena& arena)
    : job_(job),
      norm_(norm),
      rank_(rank),
      arena_(arena),
      shared_(job.schedule.layers),
      experts_(job.schedule.layers) {
  const std::uint32_t replica = job.schedule.ranks[rank.value].replica;
  for (std::uint32_t l = 0; l < job.schedule.layers; ++l) {
    const Shards* shards = shards_with(job, rank, l);
    const auto part = [&](std::size_t size, bool is_shared_out) {
      return is_shared_out ? part_in(job.schedule, *shards, rank, size) : Interval{0, size};
    };
    const auto& owners = job.layout.attention_on(replica, l);
    if (std::binary_search(owners.begin(), owners.end(), rank)) {
      const std::size_t size = job.shared[l].size();
      shared_[l] = std::make_unique<Held<Real>>(
          hold(job.shared[l].all(), job.place_of(l), part(size, shards != nullptr),
               part(size, shards != nullptr && shards->all_shared)));
    }
    for (const std::uint32_t e : job.layout.experts_of(rank, l)) {
      const std::size_t size = job.expert.size();
      experts_[l].push_back(hold(job.expert.all(), job.place_of(l, e),
                                 part(size, shards != nullptr && shards->experts),
                                 part(size, shards != nullptr && shards->all_experts)));
    }
  }
  scratch_ = take(largest_tensor(job.model));
}

template <class Real>
Real* RankParameters<Real>::take(std::size_t elements) {
  auto* out = static_cast<Real*>(arena_.take(elements * sizeof(Real)));
  bytes_ += elements * sizeof(Real);
  return out;
}

template <class Real>
Held<Real> RankParameters<Real>::hold(std::vector<Tensor> tensors, std::uint64_t place,
                                      Interval part, Interval summed) {
  Held<Real> out;
  out.size = size_of(tensors);
  out.values = take(out.size);
  out.gradient = take(out.size);
  out.part = part;
  out.moments = take(2 * part.size());
  out.summed = summed;
  std::fill_n(out.moments, 2 * part.size(), Real{0});
  initialise(tensors, job_.seed, place, out.values);
  out.tensors = std::move(tensors);
  return out;
}

template <class Real>
void RankParameters<Real>::begin() {
  const auto clear = [](Held<Real>& held) { std::fill_n(held.gradient, held.size, Real{0}); };
  for (auto& held : shared_) {
    if (held) clear(*held);
  }
  for (auto& layer : experts_) {
    for (auto& held : layer) clear(held);
  }
  squares_.reset();
}

template <class Real>
const Held<Real>* RankParameters<Real>::shared(std::uint32_t layer) const {
  return shared_[layer].get();
}

template <class Real>
const Held<Real>* RankParameters<Real>::expert(std::uint32_t layer, std::uint32_t e) const {
  const auto held = job_.layout.experts_of(rank_, layer);
  const auto at = std::lower_bound(held.begin(), held.end(), e);
  if (at == held.end() || *at != e) return nullptr;
  return &experts_[layer][static_cast<std::size_t>(at - held.begin())];
}

template <class Real>
Held<Real>* RankParameters<Real>::shared(std::uint32_t layer) {
  return const_cast<Held<Real>*>(std::as_const(*this).shared(layer));  // NOLINT: it is ours
}

template <class Real>
Held<Real>* RankParameters<Real>::expert(std::uint32_t layer, std::uint32_t e) {
  return const_cast<Held<Real>*>(std::as_const(*this).expert(layer, e));  // NOLINT: it is ours
}

template <class Real>
ExactSum& RankParameters<Real>::squares() {
  if (!squares_) squares_ = own_squares();
  return *squares_;
}

template <class Real>
ExactSum RankParameters<Real>::own_squares() const {
  ExactSum out;
  const auto add = [&](const Held<Real>& held, const std::vector<Interval>& parts) {
    for (const Interval& part : parts) {
      out.add(sum_of_squares(held.gradient + part.begin, part.size()));
    }
  };
  for (std::uint32_t l = 0; l < job_.schedule.layers; ++l) {
    if (shared_[l]) add(*shared_[l], norm_.shared(rank_, l));
    for (const std::uint32_t e : job_.layout.experts_of(rank_, l)) {
      add(*expert(l, e), norm_.expert(rank_, l, e));
    }
  }
  return out;
}

template <class Real>
void RankParameters<Real>::update(std::uint64_t step) {
  gradient_norm_ = std::sqrt(squares().value());
  if (!std::isfinite(gradient_norm_)) return;
  const double scale = clip_scale(job_.adamw, gradient_norm_);
  for (auto& held : shared_) {
    if (held) update(*held, step, scale);
  }
  for (auto& layer : experts_) {
    for (auto& held : layer) update(held, step, scale);
  }
}

template <class Real>
void RankParameters<Real>::update(Held<Real>& held, std::uint64_t step, double scale) {
  for (const Tensor& tensor : held.tensors) {
    const Interval here = common({tensor.offset, tensor.offset + tensor.size()}, held.part);
    if (here.size() == 0) continue;
    Real* const moment1 = held.moments + (here.begin - held.part.begin);
    zebroid::update(job_.adamw, {.number = step + 1, .scale = scale, .decays = !tensor.is_norm},
                    Learned<Real>{.gradient = held.gradient + here.begin,
                                  .moment1 = moment1,
                                  .moment2 = moment1 + held.part.size(),
                                  .parameters = held.values + here.begin,
                                  .size = here.size()});
  }
}

template class RankParameters<float>;
template class RankParameters<double>;

}  // namespace zebroid
