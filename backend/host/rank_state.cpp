#include "backend/host/rank_state.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "core/error.hpp"
#include "schedule/verify.hpp"

namespace zebroid {

template <class Real>
std::size_t RankState<Real>::sequences_of(const Op& op) const {
  return sequences_in(self().sequences, op.microbatch, job.schedule.microbatches);
}

template <class Real>
std::optional<std::uint32_t> RankState<Real>::find(Work work, Pass pass, const Op& like,
                                                   std::uint32_t chunk) const {
  Op op = like;
  op.chunk = static_cast<std::uint16_t>(chunk);
  const auto found = index.one_chunk(work, pass, op);
  return found.empty() ? std::nullopt : std::optional(found.front());
}

template <class Real>
std::uint32_t RankState<Real>::at(Work work, Pass pass, const Op& like, std::uint32_t chunk) const {
  if (const auto found = find(work, pass, like, chunk)) return *found;
  Op missing = like;
  missing.work = work;
  missing.pass = pass;
  missing.slot = 0;
  missing.chunk = static_cast<std::uint16_t>(chunk);
  throw Error(ErrorKind::input,
              "the host backend needs " + name_of(missing) + " for it on its rank");
}

template <class Real>
Held<Real>& RankState<Real>::shared(std::uint32_t layer) const {
  if (Held<Real>* held = parameters.shared(layer)) return *held;
  throw Error(ErrorKind::input, fmt::format("the host backend runs it only where the attention of "
                                            "layer {} is",
                                            layer));
}

template <class Real>
typename RankState<Real>::Route RankState<Real>::route(const Op& op) const {
  const std::uint32_t writer = at(Work::attention, Pass::forward, op);
  const std::size_t copies = tokens(op).count() * top_k();
  Route out;
  out.weight = memory.numbers(writer, What::routing);
  out.expert = memory.whole_numbers(writer, What::routing);
  out.position = out.expert + copies;
  out.copy_at = out.position + copies;
  return out;
}

template <class Real>
std::size_t RankState<Real>::first_position(const Op& op) const {
  return chunk_cut(tokens(op).count(), op.chunk, job.schedule.chunks).begin * top_k();
}

template <class Real>
std::size_t RankState<Real>::first_position(const Op& op, std::uint32_t e) const {
  std::size_t out = first_position(op);
  for (std::uint32_t before = 0; before < e; ++before) out += routes.copies(rank, op, before);
  return out;
}

template <class Real>
void RankState<Real>::add_up(std::uint32_t layer, std::uint32_t microbatch, Real* out) const {
  Op op;
  op.layer = static_cast<std::uint16_t>(layer);
  op.microbatch = static_cast<std::uint16_t>(microbatch);
  const Real* const residual =
      memory.numbers(at(Work::attention, Pass::forward, op), What::residual);
  if (out != residual) std::copy_n(residual, tokens(op).count() * hidden(), out);
  if (has_experts(layer)) add_returned(Pass::forward, op, out, nullptr);
}

template <class Real>
void RankState<Real>::add_returned(Pass pass, const Op& op, Real* out, Real* dweight) const {
  const Route route = this->route(op);
  const bool is_sent = lists(Work::combine, Pass::forward, op);
  for (std::uint32_t c = 0; c < job.schedule.chunks; ++c) {
    Op chunk = op;
    chunk.chunk = static_cast<std::uint16_t>(c);
    const Interval cut = chunk_cut(tokens(op).count(), c, job.schedule.chunks);
    const std::size_t first = first_position(chunk);
    const std::size_t copies = cut.size() * top_k();
    const Real* const rows = memory.numbers(at(is_sent ? Work::combine : Work::expert, pass, op, c),
                                            is_sent ? What::returned : What::outputs);
    const Real* const dweights = rows + copies * hidden();  // in backward
    for (std::size_t t = cut.begin; t < cut.end; ++t) {
      for (std::size_t k = 0; k < top_k(); ++k) {
        const std::size_t copy = t * top_k() + k;
        const std::size_t row = static_cast<std::size_t>(route.position[copy]) - first;
        for (std::size_t h = 0; h < hidden(); ++h)
          out[t * hidden() + h] += rows[row * hidden() + h];
        if (dweight != nullptr) dweight[copy] = dweights[row];
      }
    }
  }
}

template <class Real>
const Real* RankState<Real>::output_gradient(const Op& op) const {
  Op above = op;
  ++above.layer;
  if (const auto stage = find(Work::stage, Pass::backward, above)) {
    return memory.numbers(*stage, What::hidden_states);
  }
  if (const auto attention = find(Work::attention, Pass::backward, above)) {
    return memory.numbers(*attention, What::gradient);
  }
  return memory.numbers(at(Work::head, Pass::backward, op), What::gradient);
}

template struct RankState<float>;
template struct RankState<double>;

}  // namespace zebroid
