#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "backend/host/blocks.hpp"
#include "backend/host/norm.hpp"
#include "backend/host/projection.hpp"
#include "backend/host/rows.hpp"
#include "backend/host/tensors.hpp"
#include "core/error.hpp"

namespace zebroid {
namespace {

/// The head on one slice of tokens.
template <class Real>
struct Slice {
  const Real* x;
  std::span<const std::uint32_t> targets;
  RmsNorm<Real> norm;
  Projection<Real> head;
  // In the workspace:
  Real* normed;   ///< [tokens, hidden]
  Real* logits;   ///< [tokens, vocabulary]
  Real* dlogits;  ///< [tokens, vocabulary]

  void fill_logits() const {
    norm.forward(x, normed);
    head.forward(normed, logits);
  }
};

template <class Real>
Slice<Real> slice_at(const MoeModel& model, const HeadInput<Real>& input, std::size_t first,
                     Real* workspace) {
  ensure(!model.layers.empty(), "the head belongs to the last layer");
  const SharedTensors tensors =
      shared_tensors(model, static_cast<std::uint32_t>(model.layers.size() - 1));
  const std::size_t tokens = std::min(logit_slice_tokens, input.targets.size() - first);
  Real* logits = workspace + tokens * model.hidden;
  return {.x = input.x + first * model.hidden,
          .targets = input.targets.subspan(first, tokens),
          .norm = RmsNorm<Real>(held(tensors.final_norm), input.parameters, tokens),
          .head = Projection<Real>(held(tensors.head), input.parameters, tokens),
          .normed = workspace,
          .logits = logits,
          .dlogits = logits + tokens * model.vocabulary};
}

}  // namespace

std::size_t head_workspace_size(const MoeModel& model, std::size_t tokens) {
  return std::min(tokens, logit_slice_tokens) *
         (2 * std::size_t{model.vocabulary} + std::size_t{model.hidden});
}

template <class Real>
double head_forward(const MoeModel& model, const HeadInput<Real>& input, Real* workspace) {
  const std::size_t vocabulary = model.vocabulary;
  double loss = 0;
  for (std::size_t first = 0; first < input.targets.size(); first += logit_slice_tokens) {
    const Slice<Real> slice = slice_at(model, input, first, workspace);
    slice.fill_logits();
    for (std::size_t token = 0; token < slice.targets.size(); ++token) {
      const Real* logits = slice.logits + token * vocabulary;
      const Real most = largest(logits, vocabulary);
      const Real sum = exponentials(logits, vocabulary, most, slice.dlogits + token * vocabulary);
      loss += std::log(static_cast<double>(sum)) +
              static_cast<double>(most - logits[slice.targets[token]]);
    }
  }
  return loss;
}

template <class Real>
void head_backward(const MoeModel& model, const HeadInput<Real>& input,
                   const HeadBackward<Real>& backward) {
  const std::size_t hidden = model.hidden;
  const std::size_t vocabulary = model.vocabulary;
  const auto scale = static_cast<Real>(backward.scale);
  std::vector<Real> dnorm(hidden);
  for (std::size_t first = 0; first < input.targets.size(); first += logit_slice_tokens) {
    const Slice<Real> slice = slice_at(model, input, first, backward.workspace);
    slice.fill_logits();
    for (std::size_t token = 0; token < slice.targets.size(); ++token) {
      const Real* logits = slice.logits + token * vocabulary;
      Real* dlogits = slice.dlogits + token * vocabulary;
      const Real sum = exponentials(logits, vocabulary, largest(logits, vocabulary), dlogits);
      scale_row(scale / sum, vocabulary, dlogits);
      dlogits[slice.targets[token]] -= scale;
    }
    slice.head.sum_gradient(slice.normed, slice.dlogits, first > 0, backward.gradient.scratch);
    Real* dnormed = slice.normed;  // no longer needed
    slice.head.backward(slice.dlogits, dnormed);
    Real* dx = backward.dx + first * hidden;
    std::fill_n(dx, slice.targets.size() * hidden, Real{0});
    slice.norm.backward(slice.x, dnormed, dx, dnorm.data());
  }
  if (input.targets.empty()) return;
  const Slice<Real> last = slice_at(model, input, 0, backward.workspace);
  last.head.add_scratch(backward.gradient);
  last.norm.add_gradient(dnorm.data(), backward.gradient);
}

template <class Real>
void embed(const MoeModel& model, const Real* embedding, std::span<const std::uint32_t> ids,
           Real* x) {
  const std::size_t hidden = model.hidden;
  for (std::size_t token = 0; token < ids.size(); ++token) {
    std::copy_n(embedding + ids[token] * hidden, hidden, x + token * hidden);
  }
}

template <class Real>
void embed_backward(const MoeModel& model, std::span<const std::uint32_t> ids, const Real* dx,
                    Real* into, Real* scratch) {
  const std::size_t hidden = model.hidden;
  std::vector<std::size_t> order(ids.size());  // tokens by id, then by place
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&ids](std::size_t a, std::size_t b) { return ids[a] < ids[b]; });
  for (std::size_t at = 0; at < order.size();) {
    const std::uint32_t id = ids[order[at]];
    std::fill_n(scratch, hidden, Real{0});
    for (; at < order.size() && ids[order[at]] == id; ++at) {
      add_row(dx + order[at] * hidden, hidden, scratch);
    }
    add_row(scratch, hidden, into + id * hidden);
  }
}

template double head_forward(const MoeModel&, const HeadInput<float>&, float*);
template double head_forward(const MoeModel&, const HeadInput<double>&, double*);
template void head_backward(const MoeModel&, const HeadInput<float>&, const HeadBackward<float>&);
template void head_backward(const MoeModel&, const HeadInput<double>&, const HeadBackward<double>&);
template void embed(const MoeModel&, const float*, std::span<const std::uint32_t>, float*);
template void embed(const MoeModel&, const double*, std::span<const std::uint32_t>, double*);
template void embed_backward(const MoeModel&, std::span<const std::uint32_t>, const float*, float*,
                             float*);
template void embed_backward(const MoeModel&, std::span<const std::uint32_t>, const double*,
                             double*, double*);

}  // namespace zebroid
