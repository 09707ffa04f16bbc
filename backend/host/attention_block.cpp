#include <algorithm>

#include "backend/host/attention_core.hpp"
#include "backend/host/blocks.hpp"
#include "backend/host/norm.hpp"
#include "backend/host/projection.hpp"
#include "backend/host/rotary.hpp"
#include "backend/host/rows.hpp"
#include "backend/host/swiglu.hpp"
#include "backend/host/tensors.hpp"
#include "core/error.hpp"

namespace zebroid {
namespace {

/// Elements per token of what attention leaves.
struct Widths {
  std::size_t hidden, heads, query, key, value, attended, ffn, experts;

  std::size_t total() const {
    return 2 * hidden + query + key + value + attended + 3 * ffn + heads + 2 * experts;
  }
};

Widths widths(const MoeModel& model, std::uint32_t layer) {
  const Layer& of_layer = model.layers.at(layer);
  const Attention& attention = of_layer.attention;
  ensure(attention.head_dim == attention.value_dim, "queries and values have equal widths");
  ensure(attention.kv_heads > 0 && attention.heads % attention.kv_heads == 0,
         "each head of keys serves as many heads of queries");
  const std::size_t head_dim = attention.head_dim;
  return {.hidden = model.hidden,
          .heads = attention.heads,
          .query = attention.heads * head_dim,
          .key = attention.kv_heads * head_dim,
          .value = attention.kv_heads * head_dim,
          .attended = attention.heads * head_dim,
          .ffn = std::size_t{of_layer.dense_ffn} + of_layer.shared_ffn,
          .experts = of_layer.has_experts ? model.experts : std::size_t{0}};
}

/// One layer's attention on one batch: what forward and backward share.
template <class Real>
struct Layers {
  Layers(const MoeModel& model, std::uint32_t layer, const AttentionInput<Real>& input)
      : attention(model.layers.at(layer).attention),
        width(widths(model, layer)),
        tokens(input.tokens.count()),
        tensors(shared_tensors(model, layer)),
        parameters(input.parameters),
        rotary(input.tokens, attention.head_dim) {}

  RmsNorm<Real> norm(const Tensor& tensor) const { return {tensor, parameters, tokens}; }
  Projection<Real> projection(const Tensor& tensor) const { return {tensor, parameters, tokens}; }
  std::size_t hidden_size() const { return tokens * width.hidden; }

  const Attention& attention;
  Widths width;
  std::size_t tokens;
  SharedTensors tensors;
  const Real* parameters;
  Rotary<Real> rotary;
};

/// Gradient of the router's logits from that of the weights, by softmax over chosen ones alone.
template <class Real>
void choice_backward(const MoeModel& model, std::size_t tokens, const Chosen<Real>& chosen,
                     Real* dlogits) {
  const std::size_t top_k = model.top_k;
  const std::size_t experts = model.experts;
  std::fill_n(dlogits, tokens * experts, Real{0});
  for (std::size_t token = 0; token < tokens; ++token) {
    const Real* weight = chosen.weight + token * top_k;
    const Real* dweight = chosen.dweight + token * top_k;
    const std::int32_t* expert = chosen.expert + token * top_k;
    const Real mean = dot(weight, dweight, top_k);
    for (std::size_t k = 0; k < top_k; ++k) {
      dlogits[token * experts + static_cast<std::size_t>(expert[k])] =
          weight[k] * (dweight[k] - mean);
    }
  }
}

/// Adds to gradients.ffn_input.
template <class Real>
void ffn_backward(const Layers<Real>& layers, const AttentionValues<Real>& values,
                  const AttentionBackward<Real>& backward) {
  const AttentionValues<Real>& gradients = backward.workspace;
  const Projection<Real> gate = layers.projection(held(layers.tensors.gate));
  const Projection<Real> up = layers.projection(held(layers.tensors.up));
  const Projection<Real> down = layers.projection(held(layers.tensors.down));
  down.add_gradient(values.product, backward.dy, backward.gradient);
  down.backward(backward.dy, gradients.product);
  swiglu_backward<Real>(layers.tokens * layers.width.ffn, {values.gate, values.up, values.product},
                        {gradients.gate, gradients.up, gradients.product});
  gate.add_gradient(values.ffn_input, gradients.gate, backward.gradient);
  up.add_gradient(values.ffn_input, gradients.up, backward.gradient);
  gate.backward(gradients.gate, gradients.ffn_input, true);
  up.backward(gradients.up, gradients.ffn_input, true);
}

/// From the gradient of after_attention in dx to that of x.
template <class Real>
void projections_backward(const Layers<Real>& layers, const AttentionInput<Real>& input,
                          const AttentionValues<Real>& values,
                          const AttentionBackward<Real>& backward) {
  const SharedTensors& tensors = layers.tensors;
  const AttentionValues<Real>& gradients = backward.workspace;
  const Projection<Real> output = layers.projection(tensors.output);
  output.add_gradient(values.attended, backward.dx, backward.gradient);
  output.backward(backward.dx, gradients.attended);
  attend_backward(layers.attention, input.tokens, values, gradients);
  layers.rotary.rotate_back(layers.attention.heads, gradients.query);
  layers.rotary.rotate_back(layers.attention.kv_heads, gradients.key);

  const RmsNorm<Real> norm = layers.norm(tensors.attention_norm);
  Real* normed = gradients.after_attention;
  Real* dnormed = gradients.ffn_input;
  norm.forward(input.x, normed);
  const auto project_back = [&](const Tensor& tensor, const Real* dy, bool adds) {
    const Projection<Real> projection = layers.projection(tensor);
    projection.add_gradient(normed, dy, backward.gradient);
    projection.backward(dy, dnormed, adds);
  };
  project_back(tensors.query, gradients.query, false);
  project_back(tensors.key, gradients.key, true);
  project_back(tensors.value, gradients.value, true);
  norm.backward(input.x, dnormed, backward.dx, backward.gradient);
}

}  // namespace

std::size_t attention_values_size(const MoeModel& model, std::uint32_t layer, Tokens tokens) {
  return tokens.count() * widths(model, layer).total();
}

template <class Real>
AttentionValues<Real> attention_values(const MoeModel& model, std::uint32_t layer, Tokens tokens,
                                       Real* array) {
  const Widths width = widths(model, layer);
  const auto next = [&array, &tokens](std::size_t elements) {
    Real* out = array;
    array += tokens.count() * elements;
    return out;
  };
  AttentionValues<Real> out;
  out.after_attention = next(width.hidden);
  out.ffn_input = next(width.hidden);
  out.query = next(width.query);
  out.key = next(width.key);
  out.value = next(width.value);
  out.attended = next(width.attended);
  out.gate = next(width.ffn);
  out.up = next(width.ffn);
  out.product = next(width.ffn);
  out.logsumexp = next(width.heads);
  out.logits = next(width.experts);
  out.scores = next(width.experts);
  return out;
}

template <class Real>
void attention_forward(const MoeModel& model, std::uint32_t layer,
                       const AttentionInput<Real>& input, const AttentionValues<Real>& values,
                       Real* residual) {
  if (input.tokens.count() == 0) return;
  const Layers<Real> layers(model, layer, input);
  const SharedTensors& tensors = layers.tensors;
  Real* normed = values.ffn_input;  // until after_attention is there
  layers.norm(tensors.attention_norm).forward(input.x, normed);
  layers.projection(tensors.query).forward(normed, values.query);
  layers.projection(tensors.key).forward(normed, values.key);
  layers.projection(tensors.value).forward(normed, values.value);
  layers.rotary.rotate(layers.attention.heads, values.query);
  layers.rotary.rotate(layers.attention.kv_heads, values.key);
  attend(layers.attention, input.tokens, values);

  std::copy_n(input.x, layers.hidden_size(), values.after_attention);
  layers.projection(tensors.output).forward(values.attended, values.after_attention, true);
  layers.norm(tensors.ffn_norm).forward(values.after_attention, values.ffn_input);
  if (tensors.router) layers.projection(*tensors.router).forward(values.ffn_input, values.logits);

  if (residual != nullptr) {
    std::copy_n(values.after_attention, layers.hidden_size(), residual);
  }
  if (layers.width.ffn == 0) return;
  layers.projection(held(tensors.gate)).forward(values.ffn_input, values.gate);
  layers.projection(held(tensors.up)).forward(values.ffn_input, values.up);
  swiglu<Real>(layers.tokens * layers.width.ffn, {values.gate, values.up, values.product});
  if (residual == nullptr) return;
  layers.projection(held(tensors.down)).forward(values.product, residual, true);
}

template <class Real>
void attention_backward(const MoeModel& model, std::uint32_t layer,
                        const AttentionInput<Real>& input, const AttentionValues<Real>& values,
                        const AttentionBackward<Real>& backward) {
  if (input.tokens.count() == 0) return;
  const Layers<Real> layers(model, layer, input);
  const AttentionValues<Real>& gradients = backward.workspace;
  if (layers.width.ffn > 0) ffn_backward(layers, values, backward);
  if (layers.tensors.router) {
    if (backward.chosen == nullptr) {
      throw Error(ErrorKind::internal, "a layer with experts knows what was chosen");
    }
    const Projection<Real> router = layers.projection(*layers.tensors.router);
    choice_backward(model, layers.tokens, *backward.chosen, gradients.logits);
    router.add_gradient(values.ffn_input, gradients.logits, backward.gradient);
    router.backward(gradients.logits, gradients.ffn_input, true);
  }
  std::copy_n(backward.dy, layers.hidden_size(), backward.dx);
  layers.norm(layers.tensors.ffn_norm)
      .backward(values.after_attention, gradients.ffn_input, backward.dx, backward.gradient);
  projections_backward(layers, input, values, backward);
}

template <class Real>
void choose_experts(const MoeModel& model, std::size_t tokens, const Real* bias,
                    const AttentionValues<Real>& values, const Choice<Real>& choice) {
  const std::size_t experts = model.experts;
  const std::size_t top_k = model.top_k;
  ensure(top_k <= experts, "no more experts are chosen than there are");
  for (std::size_t token = 0; token < tokens; ++token) {
    const Real* logits = values.logits + token * experts;
    Real* scores = values.scores + token * experts;
    std::int32_t* chosen = choice.expert + token * top_k;
    std::size_t held = 0;
    for (std::size_t expert = 0; expert < experts; ++expert) {
      scores[expert] = bias == nullptr ? logits[expert] : logits[expert] + bias[expert];
      std::size_t place = held;
      while (place > 0 && scores[expert] > scores[static_cast<std::size_t>(chosen[place - 1])]) {
        --place;
      }
      if (place == top_k) continue;
      held = std::min(held + 1, top_k);
      std::copy_backward(chosen + place, chosen + held - 1, chosen + held);
      chosen[place] = static_cast<std::int32_t>(expert);
    }
    Real* weight = choice.weight + token * top_k;
    for (std::size_t k = 0; k < top_k; ++k) weight[k] = logits[chosen[k]];
    const Real sum = exponentials(weight, top_k, largest(weight, top_k), weight);
    scale_row(1 / sum, top_k, weight);
  }
}

template AttentionValues<float> attention_values(const MoeModel&, std::uint32_t, Tokens, float*);
template AttentionValues<double> attention_values(const MoeModel&, std::uint32_t, Tokens, double*);
template void attention_forward(const MoeModel&, std::uint32_t, const AttentionInput<float>&,
                                const AttentionValues<float>&, float*);
template void attention_forward(const MoeModel&, std::uint32_t, const AttentionInput<double>&,
                                const AttentionValues<double>&, double*);
template void attention_backward(const MoeModel&, std::uint32_t, const AttentionInput<float>&,
                                 const AttentionValues<float>&, const AttentionBackward<float>&);
template void attention_backward(const MoeModel&, std::uint32_t, const AttentionInput<double>&,
                                 const AttentionValues<double>&, const AttentionBackward<double>&);
template void choose_experts(const MoeModel&, std::size_t, const float*,
                             const AttentionValues<float>&, const Choice<float>&);
template void choose_experts(const MoeModel&, std::size_t, const double*,
                             const AttentionValues<double>&, const Choice<double>&);

}  // namespace zebroid
