#include "backend/host/reference.hpp"

#include <algorithm>
#include <cmath>

#include "core/exact_sum.hpp"
#include "schedule/verify.hpp"

namespace zebroid {
namespace {

constexpr std::size_t internals_per_row = 3;

template <class Real>
void add(const std::vector<Real>& from, std::vector<Real>& to) {
  for (std::size_t i = 0; i < to.size(); ++i) to[i] += from[i];
}

/// What experts returned, [tokens, top_k, hidden], to [tokens, hidden], choice after choice.
template <class Real>
void add_returned(const std::vector<Real>& returned, std::size_t top_k, std::size_t hidden,
                  std::vector<Real>& to) {
  for (std::size_t i = 0; i < returned.size(); ++i) {
    to[i / hidden / top_k * hidden + i % hidden] += returned[i];
  }
}

}  // namespace

template <class Real>
Reference<Real>::Reference(const StepJob& job, const NormParts& norm, std::function<void()> poll)
    : job_(job),
      norm_(norm),
      poll_(std::move(poll)),
      shared_gradients_(job.schedule.layers),
      scratch_(largest_tensor(job.model)) {
  for (std::uint32_t l = 0; l < job.schedule.layers; ++l) {
    shared_.push_back(start(job.shared[l].all(), job.place_of(l)));
    auto& experts = experts_.emplace_back();
    const std::size_t count = job.schedule.replicas[0].expert_on[l].size();
    for (std::uint32_t e = 0; e < count; ++e) {
      experts.push_back(start(job.expert.all(), job.place_of(l, e)));
    }
    bias_.emplace_back(job.bias[l].begin(), job.bias[l].end());
  }
}

template <class Real>
typename Reference<Real>::Parameters Reference<Real>::start(const std::vector<Tensor>& tensors,
                                                            std::uint64_t place) const {
  Parameters out;
  for (const Tensor& tensor : tensors) out.values.resize(tensor.offset + tensor.size());
  out.moments.assign(2 * out.values.size(), 0);
  initialise(tensors, job_.seed, place, out.values.data());
  return out;
}

template <class Real>
typename Reference<Real>::Step Reference<Real>::run() {
  const Schedule& schedule = job_.schedule;
  expert_gradients_.clear();
  for (std::uint32_t v = 0; v < schedule.replicas.size(); ++v) {
    auto& layers = expert_gradients_.emplace_back();
    for (std::uint32_t l = 0; l < schedule.layers; ++l) {
      for (const RankId rank : job_.layout.attention_on(v, l)) {
        shared_gradients_[l][rank].assign(shared_[l].values.size(), 0);
      }
      layers.emplace_back(experts_[l].size(), std::vector<Real>(job_.expert.size(), 0));
    }
  }
  double loss = 0;
  for (std::uint32_t v = 0; v < schedule.replicas.size(); ++v) {
    for (std::uint32_t j = 0; j < schedule.microbatches; ++j) loss += forward_and_backward(v, j);
  }
  sum_gradients();
  const Step out{loss / job_.tokens_in_batch(), norm()};
  update(out.gradient_norm);
  ++step_;
  return out;
}

template <class Real>
double Reference<Real>::forward_and_backward(std::uint32_t replica, std::uint32_t microbatch) {
  Run run{replica, microbatch, 0, std::vector<LayerRun>(job_.schedule.layers)};
  for (const RankId rank : job_.layout.attention_on(replica, 0)) {
    run.tokens += job_.layout.sequences_of(rank, 0, microbatch).size() * job_.length;
  }
  std::vector<Real>& x = run.layers[0].x;
  x.resize(run.tokens * job_.model.hidden);
  for (const RankId rank : job_.layout.attention_on(replica, 0)) {
    const std::size_t first = job_.layout.sequences_of(rank, 0, microbatch).begin * job_.length;
    embed(job_.model, shared_[0].values.data() + held(job_.shared[0].embedding).offset,
          text(run, 0, rank).ids, x.data() + first * job_.model.hidden);
  }
  std::vector<Real> y;
  for (std::uint32_t l = 0; l < job_.schedule.layers; ++l) {
    y = forward(run, l);
    if (l + 1U < job_.schedule.layers) run.layers[l + 1].x = y;
  }
  std::vector<Real> dy(y.size());
  const double loss = head(run, y, dy);
  for (std::uint32_t l = job_.schedule.layers; l-- > 0;) backward(run, l, dy);
  return loss;
}

template <class Real>
Text::Tokens Reference<Real>::text(const Run& run, std::uint32_t layer, RankId rank) const {
  return job_.tokens(step_, run.replica, run.microbatch,
                     job_.layout.sequences_of(rank, layer, run.microbatch));
}

template <class Real>
std::vector<typename Reference<Real>::Shard> Reference<Real>::shards(const Run& run,
                                                                     std::uint32_t layer) const {
  std::vector<Shard> out;
  for (const RankId rank : job_.layout.attention_on(run.replica, layer)) {
    const Interval sequences = job_.layout.sequences_of(rank, layer, run.microbatch);
    Shard& shard = out.emplace_back();
    shard.rank = rank;
    shard.tokens = {sequences.size(), job_.length};
    shard.first = sequences.begin * job_.length;
    shard.values.resize(attention_values_size(job_.model, layer, shard.tokens));
  }
  return out;
}

/// What the layer leaves for the microbatch.
template <class Real>
std::vector<Real> Reference<Real>::forward(Run& run, std::uint32_t layer) {
  poll_();
  LayerRun& here = run.layers[layer];
  const std::size_t hidden = job_.model.hidden;
  const bool has_experts = job_.model.layers[layer].has_experts;
  std::vector<Real> y(here.x.size());
  here.shards = shards(run, layer);
  for (Shard& shard : here.shards) {
    const auto values = attention_values(job_.model, layer, shard.tokens, shard.values.data());
    attention_forward(job_.model, layer,
                      AttentionInput<Real>{.parameters = shared_[layer].values.data(),
                                           .tokens = shard.tokens,
                                           .x = here.x.data() + shard.first * hidden},
                      values, y.data() + shard.first * hidden);
    if (!has_experts) continue;
    shard.expert.resize(shard.tokens.count() * job_.model.top_k);
    shard.weight.resize(shard.expert.size());
    choose_experts(job_.model, shard.tokens.count(), bias_[layer].data(), values,
                   Choice<Real>{.expert = shard.expert.data(), .weight = shard.weight.data()});
  }
  if (has_experts) run_experts(run, layer, y);
  return y;
}

/// Chunk after chunk, of all shards together: each expert on the tokens that chose it.
template <class Real>
void Reference<Real>::run_experts(Run& run, std::uint32_t layer, std::vector<Real>& y) {
  LayerRun& here = run.layers[layer];
  const std::size_t hidden = job_.model.hidden;
  const std::size_t top_k = job_.model.top_k;
  std::vector<Real> returned(run.tokens * top_k * hidden);
  for (std::uint32_t c = 0; c < job_.schedule.chunks; ++c) {
    auto& batches = here.experts.emplace_back(job_.model.experts);
    for (Shard& shard : here.shards) {
      const auto values = attention_values(job_.model, layer, shard.tokens, shard.values.data());
      const Interval cut = chunk_cut(shard.tokens.count(), c, job_.schedule.chunks);
      for (std::size_t i = cut.begin * top_k; i < cut.end * top_k; ++i) {
        Batch& batch = batches[static_cast<std::size_t>(shard.expert[i])];
        batch.copies.push_back(shard.first * top_k + i);
        batch.weight.push_back(shard.weight[i]);
        const Real* const row = values.ffn_input + i / top_k * hidden;
        batch.x.insert(batch.x.end(), row, row + hidden);
      }
    }
    for (std::size_t e = 0; e < batches.size(); ++e) {
      Batch& batch = batches[e];
      const std::size_t rows = batch.copies.size();
      batch.internals.resize(internals_per_row * rows * job_.model.expert_ffn);
      std::vector<Real> out(rows * hidden);
      expert_forward(job_.model,
                     ExpertInput<Real>{.parameters = experts_[layer][e].values.data(),
                                       .rows = rows,
                                       .x = batch.x.data(),
                                       .weight = batch.weight.data()},
                     batch.internals.data(), out.data());
      for (std::size_t row = 0; row < rows; ++row) {
        std::copy_n(out.data() + row * hidden, hidden,
                    returned.data() + batch.copies[row] * hidden);
      }
    }
  }
  add_returned(returned, top_k, hidden, y);
}

/// The losses, and the gradient of the last layer's output.
template <class Real>
double Reference<Real>::head(Run& run, const std::vector<Real>& x, std::vector<Real>& dx) {
  const auto last = static_cast<std::uint32_t>(job_.schedule.layers - 1);
  const std::size_t hidden = job_.model.hidden;
  double loss = 0;
  for (const Shard& shard : run.layers[last].shards) {
    std::vector<Real> workspace(head_workspace_size(job_.model, shard.tokens.count()));
    const Text::Tokens tokens = text(run, last, shard.rank);
    const HeadInput<Real> input{.parameters = shared_[last].values.data(),
                                .x = x.data() + shard.first * hidden,
                                .targets = tokens.targets};
    loss += head_forward(job_.model, input, workspace.data());
    head_backward(job_.model, input,
                  HeadBackward<Real>{.scale = 1 / job_.tokens_in_batch(),
                                     .workspace = workspace.data(),
                                     .dx = dx.data() + shard.first * hidden,
                                     .gradient = {.into = gradient_of(shard.rank, last).data(),
                                                  .scratch = scratch_.data()}});
  }
  return loss;
}

/// dy: gradient of what the layer leaves; afterwards of its input.
template <class Real>
void Reference<Real>::backward(Run& run, std::uint32_t layer, std::vector<Real>& dy) {
  poll_();
  LayerRun& here = run.layers[layer];
  const std::size_t hidden = job_.model.hidden;
  const std::size_t top_k = job_.model.top_k;
  const bool has_experts = job_.model.layers[layer].has_experts;
  std::vector<Real> routed(dy.size(), 0);
  std::vector<Real> dweight(run.tokens * top_k);
  if (has_experts) back_through_experts(run, layer, dy, routed, dweight);
  std::vector<Real> dx(dy.size());
  for (Shard& shard : here.shards) {
    const std::size_t first = shard.first * hidden;
    std::vector<Real> workspace(shard.values.size());
    const Chosen<Real> chosen{.expert = shard.expert.data(),
                              .weight = shard.weight.data(),
                              .dweight = dweight.data() + shard.first * top_k};
    const AttentionBackward<Real> backward{
        .dy = dy.data() + first,
        .chosen = has_experts ? &chosen : nullptr,
        .workspace = attention_values(job_.model, layer, shard.tokens, workspace.data()),
        .dx = dx.data() + first,
        .gradient = {.into = gradient_of(shard.rank, layer).data(), .scratch = scratch_.data()}};
    std::copy_n(routed.data() + first, shard.tokens.count() * hidden, backward.workspace.ffn_input);
    attention_backward(job_.model, layer,
                       AttentionInput<Real>{.parameters = shared_[layer].values.data(),
                                            .tokens = shard.tokens,
                                            .x = here.x.data() + first},
                       attention_values(job_.model, layer, shard.tokens, shard.values.data()),
                       backward);
    if (layer == 0) {
      embed_backward(job_.model, text(run, 0, shard.rank).ids,
                     static_cast<const Real*>(dx.data() + first),
                     gradient_of(shard.rank, 0).data() + held(job_.shared[0].embedding).offset,
                     scratch_.data());
    }
  }
  dy = std::move(dx);
}

template <class Real>
void Reference<Real>::back_through_experts(Run& run, std::uint32_t layer,
                                           const std::vector<Real>& dy, std::vector<Real>& dx,
                                           std::vector<Real>& dweight) {
  LayerRun& here = run.layers[layer];
  const std::size_t hidden = job_.model.hidden;
  const std::size_t top_k = job_.model.top_k;
  std::vector<Real> returned(run.tokens * top_k * hidden);
  for (auto& batches : here.experts) {
    for (std::size_t e = 0; e < batches.size(); ++e) {
      const Batch& batch = batches[e];
      const std::size_t rows = batch.copies.size();
      std::vector<Real> row_dy(rows * hidden);
      std::vector<Real> row_dx(rows * hidden);
      std::vector<Real> row_dweight(rows);
      std::vector<Real> workspace(batch.internals.size());
      for (std::size_t row = 0; row < rows; ++row) {
        std::copy_n(dy.data() + batch.copies[row] / top_k * hidden, hidden,
                    row_dy.data() + row * hidden);
      }
      expert_backward(
          job_.model,
          ExpertInput<Real>{.parameters = experts_[layer][e].values.data(),
                            .rows = rows,
                            .x = batch.x.data(),
                            .weight = batch.weight.data()},
          batch.internals.data(),
          ExpertBackward<Real>{.dy = row_dy.data(),
                               .workspace = workspace.data(),
                               .dx = row_dx.data(),
                               .dweight = row_dweight.data(),
                               .gradient = {.into = expert_gradients_[run.replica][layer][e].data(),
                                            .scratch = scratch_.data()}});
      for (std::size_t row = 0; row < rows; ++row) {
        dweight[batch.copies[row]] = row_dweight[row];
        std::copy_n(row_dx.data() + row * hidden, hidden,
                    returned.data() + batch.copies[row] * hidden);
      }
    }
  }
  add_returned(returned, top_k, hidden, dx);
}

/// Shared parameters phase after phase as the schedule's sums, experts over replicas.
template <class Real>
void Reference<Real>::sum_gradients() {
  for (std::uint16_t phase = 0; phase <= leader_to_members; ++phase) {
    for (const Exchange& exchange : job_.exchanges.all) {
      if (exchange.op.work == Work::reduce_shared && exchange.op.chunk == phase) {
        sum_shared(exchange);
      }
    }
  }
  for (std::size_t v = 1; v < expert_gradients_.size(); ++v) {
    for (std::uint32_t l = 0; l < job_.schedule.layers; ++l) {
      for (std::size_t e = 0; e < experts_[l].size(); ++e) {
        add(expert_gradients_[v][l][e], expert_gradients_[0][l][e]);
      }
    }
  }
}

template <class Real>
void Reference<Real>::sum_shared(const Exchange& exchange) {
  auto& gradients = shared_gradients_[exchange.op.layer];
  std::vector<RankId> ranks;
  for (const Exchange::Member& member : exchange.members) {
    if (gradients.contains(member.rank)) ranks.push_back(member.rank);
  }
  const std::vector<RankId> added =
      exchange.op.chunk == leader_to_members ? std::vector{ranks.front()} : ranks;
  std::vector<Real> all = gradients.at(added.front());
  for (std::size_t m = 1; m < added.size(); ++m) add(gradients.at(added[m]), all);
  for (const RankId rank : ranks) gradients.at(rank) = all;
}

template <class Real>
const std::vector<Real>& Reference<Real>::shared_gradient(std::uint32_t layer) const {
  return shared_gradients_[layer].begin()->second;
}

template <class Real>
double Reference<Real>::norm() const {
  ExactSum squares;
  const auto add = [&](const std::vector<Real>& gradient, const std::vector<Interval>& parts) {
    for (const Interval& part : parts) {
      squares.add(sum_of_squares(gradient.data() + part.begin, part.size()));
    }
  };
  for (std::uint32_t l = 0; l < job_.schedule.layers; ++l) {
    add(shared_gradient(l), norm_.all_shared(l));
    for (std::uint32_t e = 0; e < experts_[l].size(); ++e) {
      add(expert_gradient(l, e), norm_.all_expert(l, e));
    }
  }
  return std::sqrt(squares.value());
}

template <class Real>
void Reference<Real>::update(double norm) {
  if (!std::isfinite(norm)) return;
  const double scale = clip_scale(job_.adamw, norm);
  const auto learn = [&](const std::vector<Tensor>& tensors, const std::vector<Real>& gradient,
                         Parameters& parameters) {
    for (const Tensor& tensor : tensors) {
      Real* const moment1 = parameters.moments.data() + tensor.offset;
      zebroid::update(job_.adamw, {.number = step_ + 1, .scale = scale, .decays = !tensor.is_norm},
                      Learned<Real>{.gradient = gradient.data() + tensor.offset,
                                    .moment1 = moment1,
                                    .moment2 = moment1 + parameters.values.size(),
                                    .parameters = parameters.values.data() + tensor.offset,
                                    .size = tensor.size()});
    }
  };
  for (std::uint32_t l = 0; l < job_.schedule.layers; ++l) {
    learn(job_.shared[l].all(), shared_gradient(l), shared_[l]);
    for (std::uint32_t e = 0; e < experts_[l].size(); ++e) {
      learn(job_.expert.all(), expert_gradient(l, e), experts_[l][e]);
    }
  }
}

template class Reference<float>;
template class Reference<double>;

}  // namespace zebroid
