#include "backend/host/compute_ops.hpp"

#include <algorithm>

#include "core/error.hpp"

namespace zebroid {

template <class Real>
ComputeOps<Real>::ComputeOps(RankState<Real>& state)
    : state_(state), job_(state.job), losses_(state.job.schedule.microbatches, 0) {
  for (const auto& layer : job_.bias) bias_.emplace_back(layer.begin(), layer.end());
}

template <class Real>
void ComputeOps<Real>::begin(std::uint64_t step) {
  step_ = step;
  std::fill(losses_.begin(), losses_.end(), 0);
}

template <class Real>
void ComputeOps<Real>::run(std::uint32_t op) {
  const bool backward = state_.program[op].pass == Pass::backward;
  switch (state_.program[op].work) {
    case Work::attention:
      return backward ? attention_backward(op) : attention(op);
    case Work::expert:
      return backward ? expert_backward(op) : expert(op);
    case Work::head:
      return head(op);
    case Work::step:
      return state_.parameters.update(step_);
    default:
      ensure(false, "the compute stream runs no exchanges");
  }
}

template <class Real>
Text::Tokens ComputeOps<Real>::text(const Op& op) const {
  return job_.tokens(step_, state_.self().replica, op.microbatch,
                     job_.layout.sequences_of(state_.rank, op.layer, op.microbatch));
}

template <class Real>
AttentionInput<Real> ComputeOps<Real>::attention_input(const Op& op) const {
  return {
      .parameters = state_.shared(op.layer).values,
      .tokens = state_.tokens(op),
      .x = state_.memory.numbers(state_.at(Work::attention, Pass::forward, op), What::layer_input)};
}

template <class Real>
AttentionValues<Real> ComputeOps<Real>::attention_values_of(std::uint32_t op) const {
  const bool kept = state_.memory.has(op, What::attention_values);
  const Op& of = state_.program[op];
  return attention_values(
      job_.model, of.layer, state_.tokens(of),
      state_.memory.numbers(op, kept ? What::attention_values : What::workspace));
}

template <class Real>
void ComputeOps<Real>::attention(std::uint32_t op) {
  const Op& of = state_.program[op];
  const bool first = of.pass == Pass::forward;
  if (first) load_input(of, state_.memory.numbers(op, What::layer_input));
  const AttentionValues<Real> values = attention_values_of(op);
  attention_forward(job_.model, of.layer, attention_input(of), values,
                    first ? state_.memory.numbers(op, What::residual) : nullptr);
  if (!state_.has_experts(of.layer)) return;
  if (first) choose(of, values);
  if (state_.memory.has(op, What::sorted_rows)) sort_rows(op, values);
}

template <class Real>
void ComputeOps<Real>::load_input(const Op& op, Real* x) const {
  if (op.layer == 0) {
    const SharedTensors& tensors = job_.shared[0];
    return embed(job_.model, state_.shared(0).values + zebroid::held(tensors.embedding).offset,
                 text(op).ids, x);
  }
  if (const auto stage = state_.find(Work::stage, Pass::forward, op)) {
    const Real* const handed = state_.memory.numbers(*stage, What::hidden_states);
    std::copy_n(handed, state_.tokens(op).count() * state_.hidden(), x);
    return;
  }
  state_.add_up(op.layer - 1U, op.microbatch, x);
}

/// Fills the routing of a microbatch and tells how many copies go where.
template <class Real>
void ComputeOps<Real>::choose(const Op& op, const AttentionValues<Real>& values) {
  const auto route = state_.route(op);
  const std::size_t tokens = state_.tokens(op).count();
  choose_experts(job_.model, tokens, bias_[op.layer].data(), values,
                 Choice<Real>{.expert = route.expert, .weight = route.weight});
  const std::span<std::uint32_t> counts = state_.routes.of(state_.rank, op.layer, op.microbatch);
  std::fill(counts.begin(), counts.end(), 0);
  const std::size_t experts = job_.model.experts;
  std::vector<std::uint32_t> next(experts);
  for (std::uint32_t c = 0; c < job_.schedule.chunks; ++c) {
    const Interval cut = chunk_cut(tokens, c, job_.schedule.chunks);
    const std::span<std::uint32_t> own = counts.subspan(c * experts, experts);
    const Interval copies{cut.begin * state_.top_k(), cut.end * state_.top_k()};
    for (std::size_t i = copies.begin; i < copies.end; ++i) {
      ++own[static_cast<std::size_t>(route.expert[i])];
    }
    auto position = static_cast<std::uint32_t>(copies.begin);
    for (std::size_t e = 0; e < experts; ++e) {
      next[e] = position;
      position += own[e];
    }
    for (std::size_t i = copies.begin; i < copies.end; ++i) {
      const std::uint32_t place = next[static_cast<std::size_t>(route.expert[i])]++;
      route.position[i] = static_cast<std::int32_t>(place);
      route.copy_at[place] = static_cast<std::int32_t>(i);
    }
  }
}

template <class Real>
void ComputeOps<Real>::sort_rows(std::uint32_t op, const AttentionValues<Real>& values) {
  const Op& of = state_.program[op];
  const auto route = state_.route(of);
  Real* const rows = state_.memory.numbers(op, What::sorted_rows);
  const std::size_t hidden = state_.hidden();
  for (std::size_t p = 0; p < state_.tokens(of).count() * state_.top_k(); ++p) {
    const std::size_t token = static_cast<std::size_t>(route.copy_at[p]) / state_.top_k();
    std::copy_n(values.ffn_input + token * hidden, hidden, rows + p * hidden);
  }
}

template <class Real>
void ComputeOps<Real>::attention_backward(std::uint32_t op) {
  const Op& of = state_.program[op];
  const auto again = state_.find(Work::attention, Pass::recompute, of);
  const AttentionValues<Real> values =
      attention_values_of(again ? *again : state_.at(Work::attention, Pass::forward, of));
  AttentionBackward<Real> backward;
  backward.dy = state_.output_gradient(of);
  backward.workspace = attention_values_of(op);
  backward.dx = state_.memory.numbers(op, What::gradient);
  const std::size_t numbers = state_.tokens(of).count() * state_.hidden();
  std::fill_n(backward.workspace.ffn_input, numbers, Real{0});
  Chosen<Real> chosen;
  if (state_.has_experts(of.layer)) {
    const auto route = state_.route(of);
    Real* const dweight = values.scores;  // nobody reads these any more
    state_.add_returned(Pass::backward, of, backward.workspace.ffn_input, dweight);
    chosen = {.expert = route.expert, .weight = route.weight, .dweight = dweight};
    backward.chosen = &chosen;
  }
  Held<Real>& held = state_.shared(of.layer);
  Real* const scratch = state_.parameters.scratch();
  Real* const into = gradients_for(op, {&held}).front();
  backward.gradient = {.into = into, .scratch = scratch};
  zebroid::attention_backward(job_.model, of.layer, attention_input(of), values, backward);
  if (of.layer == 0) {
    embed_backward(job_.model, text(of).ids, static_cast<const Real*>(backward.dx),
                   into + zebroid::held(job_.shared[0].embedding).offset, scratch);
  }
  add_early(op, {&held});
}

template <class Real>
void ComputeOps<Real>::head(std::uint32_t op) {
  const Op& of = state_.program[op];
  Real* const workspace = state_.memory.numbers(op, What::workspace);
  const std::uint32_t forward = state_.at(Work::head, Pass::forward, of);
  Real* const x = state_.memory.numbers(forward, What::head_input);
  Held<Real>& held = state_.shared(of.layer);
  const Text::Tokens tokens = text(of);
  const HeadInput<Real> input{.parameters = held.values, .x = x, .targets = tokens.targets};
  if (of.pass == Pass::forward) {
    state_.add_up(of.layer, of.microbatch, x);
    losses_[of.microbatch] = head_forward(job_.model, input, workspace);
    return;
  }
  const HeadBackward<Real> backward{.scale = 1 / job_.tokens_in_batch(),
                                    .workspace = workspace,
                                    .dx = state_.memory.numbers(op, What::gradient),
                                    .gradient = {.into = gradients_for(op, {&held}).front(),
                                                 .scratch = state_.parameters.scratch()}};
  head_backward(job_.model, input, backward);
  add_early(op, {&held});
}

template <class Real>
typename ComputeOps<Real>::ExpertRows ComputeOps<Real>::expert_rows(const Op& op) const {
  ExpertRows out;
  const bool first = op.pass == Pass::forward;
  if (state_.find(Work::dispatch, Pass::forward, op, op.chunk)) {
    const auto again = state_.find(Work::dispatch, Pass::recompute, op, op.chunk);
    const std::uint32_t dispatch =
        !first && again ? *again : state_.at(Work::dispatch, Pass::forward, op, op.chunk);
    out.x = state_.memory.numbers(dispatch, What::received_rows);
    out.weight = out.x + state_.rows(op) * state_.hidden();
    return out;
  }
  const auto again = state_.find(Work::attention, Pass::recompute, op);
  const std::uint32_t attention =
      !first && again ? *again : state_.at(Work::attention, Pass::forward, op);
  const auto route = state_.route(op);
  const std::size_t begin = state_.first_position(op);
  out.x = state_.memory.numbers(attention, What::sorted_rows) + begin * state_.hidden();
  for (std::size_t row = 0; row < state_.rows(op); ++row) {
    out.own_weight.push_back(route.weight[route.copy_at[begin + row]]);
  }
  out.weight = out.own_weight.data();
  return out;
}

template <class Real>
Real* ComputeOps<Real>::expert_values(std::uint32_t op) const {
  const bool kept = state_.memory.has(op, What::expert_values);
  return state_.memory.numbers(op, kept ? What::expert_values : What::workspace);
}

template <class Real>
void ComputeOps<Real>::expert(std::uint32_t op) {
  const Op& of = state_.program[op];
  const auto experts = job_.layout.experts_of(state_.rank, of.layer);
  if (experts.empty()) return;
  const ExpertRows in = expert_rows(of);
  Real* const values = expert_values(op);
  const bool answers = state_.memory.has(op, What::outputs);
  Real* const out = answers ? state_.memory.numbers(op, What::outputs) : nullptr;
  constexpr std::size_t per_row = 3;
  std::size_t row = 0;
  for (const std::uint32_t e : experts) {
    const std::size_t rows = state_.amounts.rows_of(state_.rank, of, e);
    expert_forward(job_.model,
                   ExpertInput<Real>{.parameters = state_.parameters.expert(of.layer, e)->values,
                                     .rows = rows,
                                     .x = in.x + row * state_.hidden(),
                                     .weight = in.weight + row},
                   values + per_row * row * job_.model.expert_ffn,
                   answers ? out + row * state_.hidden() : nullptr);
    row += rows;
  }
}

/// Of the weighted outputs, row by row: as they were sent, or gathered from this rank's own tokens.
template <class Real>
const Real* ComputeOps<Real>::expert_gradient(std::uint32_t op) const {
  const Op& of = state_.program[op];
  if (const auto dispatch = state_.find(Work::dispatch, Pass::backward, of, of.chunk)) {
    return state_.memory.numbers(*dispatch, What::received_rows);
  }
  const auto route = state_.route(of);
  const std::size_t begin = state_.first_position(of);
  const Real* const dy = state_.output_gradient(of);
  Real* const out = state_.memory.numbers(op, What::gradient);
  const std::size_t hidden = state_.hidden();
  for (std::size_t row = 0; row < state_.rows(of); ++row) {
    const std::size_t token = static_cast<std::size_t>(route.copy_at[begin + row]) / state_.top_k();
    std::copy_n(dy + token * hidden, hidden, out + row * hidden);
  }
  return out;
}

template <class Real>
void ComputeOps<Real>::expert_backward(std::uint32_t op) {
  const Op& of = state_.program[op];
  const auto experts = job_.layout.experts_of(state_.rank, of.layer);
  if (experts.empty()) return;
  const auto again = state_.find(Work::expert, Pass::recompute, of, of.chunk);
  const Real* const values =
      expert_values(again ? *again : state_.at(Work::expert, Pass::forward, of, of.chunk));
  const ExpertRows in = expert_rows(of);
  const Real* const dy = expert_gradient(op);
  Real* const workspace = state_.memory.numbers(op, What::workspace);
  Real* const dx = state_.memory.numbers(op, What::outputs);
  Real* const dweight = dx + state_.rows(of) * state_.hidden();
  std::vector<Held<Real>*> arrays;
  for (const std::uint32_t e : experts) arrays.push_back(state_.parameters.expert(of.layer, e));
  const std::vector<Real*> gradients = gradients_for(op, arrays);
  constexpr std::size_t per_row = 3;
  std::size_t row = 0;
  for (std::size_t i = 0; i < experts.size(); ++i) {
    const std::size_t rows = state_.amounts.rows_of(state_.rank, of, experts[i]);
    const std::size_t inner = per_row * row * job_.model.expert_ffn;
    const std::size_t outer = row * state_.hidden();
    zebroid::expert_backward(
        job_.model,
        ExpertInput<Real>{.parameters = arrays[i]->values,
                          .rows = rows,
                          .x = in.x + outer,
                          .weight = in.weight + row},
        values + inner,
        ExpertBackward<Real>{
            .dy = dy + outer,
            .workspace = workspace + inner,
            .dx = dx + outer,
            .dweight = dweight + row,
            .gradient = {.into = gradients[i], .scratch = state_.parameters.scratch()}});
    row += rows;
  }
  add_early(op, arrays);
}

/// What an op adds gradients of parameters to, for each array: the rank's own, or one apart when
/// microbatches or chunks before its own are still to come.
template <class Real>
std::vector<Real*> ComputeOps<Real>::gradients_for(std::uint32_t op,
                                                   const std::vector<Held<Real>*>& arrays) const {
  std::vector<Real*> out;
  const bool early = state_.memory.has(op, What::early_gradient);
  Real* apart = early ? state_.memory.numbers(op, What::early_gradient) : nullptr;
  for (const Held<Real>* array : arrays) {
    out.push_back(early ? apart : array->gradient);
    if (!early) continue;
    std::fill_n(apart, array->size, Real{0});
    apart += array->size;
  }
  return out;
}

/// Adds what others kept apart until this op had run.
template <class Real>
void ComputeOps<Real>::add_early(std::uint32_t op, const std::vector<Held<Real>*>& arrays) const {
  for (const std::uint32_t writer : state_.memory.early_before(op)) {
    const Real* apart = state_.memory.numbers(writer, What::early_gradient);
    for (const Held<Real>* array : arrays) {
      for (std::size_t i = 0; i < array->size; ++i) array->gradient[i] += apart[i];
      apart += array->size;
    }
  }
}

template class ComputeOps<float>;
template class ComputeOps<double>;

}  // namespace zebroid
