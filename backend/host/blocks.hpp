#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "models/moe_model.hpp"

namespace zebroid {

// The mathematics of one op at a time, for float and double: pure functions of their arguments
// whose bits depend on nothing else. Arrays are row-major. Gradients are summed up as
// into[i] += sum over the op's tokens, the latter computed from zero, so that the order in which
// ops add is the only one that matters.

/// Where an op adds its parameters' gradients: a flat array like that of the parameters, and room
/// for the largest tensor (largest_tensor()).
template <class Real>
struct Gradient {
  Real* into = nullptr;
  Real* scratch = nullptr;
};

/// Whole sequences, one after the other.
struct Tokens {
  std::size_t sequences = 0;
  std::size_t length = 0;

  std::size_t count() const { return sequences * length; }
};

/// What attention leaves for its backward, in one array: views into it.
template <class Real>
struct AttentionValues {
  Real* after_attention;  ///< [tokens, hidden] input plus attention's output
  Real* ffn_input;        ///< [tokens, hidden] the norm of that: what router, FFN and experts read
  Real* query;            ///< [tokens, heads, head_dim], rotated
  Real* key;              ///< [tokens, kv_heads, head_dim], rotated
  Real* value;            ///< [tokens, kv_heads, head_dim]
  Real* attended;         ///< [tokens, heads, head_dim] before the output projection
  Real* gate;             ///< [tokens, ffn] of the dense or shared FFN
  Real* up;               ///< [tokens, ffn]
  Real* product;          ///< [tokens, ffn] silu(gate) * up
  Real* logsumexp;        ///< [tokens, heads]
  Real* logits;           ///< [tokens, experts] of the router, where the layer has experts
  Real* scores;           ///< [tokens, experts] what experts are chosen by
};
/// Elements of that array.
std::size_t attention_values_size(const MoeModel& model, std::uint32_t layer, Tokens tokens);
template <class Real>
AttentionValues<Real> attention_values(const MoeModel& model, std::uint32_t layer, Tokens tokens,
                                       Real* array);

/// x[i] = embedding[ids[i]]; [tokens, hidden].
template <class Real>
void embed(const MoeModel& model, const Real* embedding, std::span<const std::uint32_t> ids,
           Real* x);
/// `into`: [vocabulary, hidden]. Only rows of ids that occur are touched.
template <class Real>
void embed_backward(const MoeModel& model, std::span<const std::uint32_t> ids, const Real* dx,
                    Real* into, Real* scratch);

/// RMSNorm, attention (RoPE of base 10,000, grouped queries, causal, with the layer's window or
/// chunks), residual, RMSNorm, router, dense or shared FFN. parameters: as shared_tensors(). Fills
/// `values` but for scores. residual: [tokens, hidden] after_attention + FFN.
template <class Real>
void attention_forward(const MoeModel& model, std::uint32_t layer, const Real* parameters,
                       Tokens tokens, const Real* x, const AttentionValues<Real>& values,
                       Real* residual);

/// The top_k experts of each token by scores = logits + bias (nullptr = 0), of equal ones the
/// first, in falling order of score, and softmax over their logits alone. expert, weight: [tokens,
/// top_k].
template <class Real>
void choose_experts(const MoeModel& model, std::size_t tokens, const Real* bias,
                    const AttentionValues<Real>& values, std::int32_t* expert, Real* weight);

/// What came back from the experts: [tokens, top_k] each.
template <class Real>
struct Chosen {
  const std::int32_t* expert = nullptr;
  const Real* weight = nullptr;
  const Real* dweight = nullptr;
};
/// dy: gradient of residual [tokens, hidden]. workspace: an array like that of `values`, all of
/// which may be overwritten; its ffn_input holds what the experts return as gradient of theirs
/// (zeros where the layer has none). chosen: nullptr without experts. dx: [tokens, hidden].
template <class Real>
void attention_backward(const MoeModel& model, std::uint32_t layer, const Real* parameters,
                        Tokens tokens, const Real* x, const AttentionValues<Real>& values,
                        const Real* dy, const Chosen<Real>* chosen,
                        const AttentionValues<Real>& workspace, Real* dx,
                        const Gradient<Real>& gradient);

/// One expert (SwiGLU) on `rows` rows [rows, hidden], each scaled by its weight [rows]. internals:
/// [3, rows, expert_ffn]: gate, up, product. y: [rows, hidden], or nullptr to fill internals alone.
template <class Real>
void expert_forward(const MoeModel& model, const Real* parameters, std::size_t rows, const Real* x,
                    const Real* weight, Real* internals, Real* y);
/// dy: [rows, hidden] of the weighted output. workspace: like internals. dx: [rows, hidden];
/// dweight: [rows].
template <class Real>
void expert_backward(const MoeModel& model, const Real* parameters, std::size_t rows,
                     const Real* x, const Real* weight, const Real* internals, const Real* dy,
                     Real* workspace, Real* dx, Real* dweight, const Gradient<Real>& gradient);

/// Elements that head_forward and head_backward need while they run: they work on slices of
/// logit_slice_tokens tokens.
std::size_t head_workspace_size(const MoeModel& model, std::size_t tokens);
/// Final norm, LM head, cross-entropy: the sum of the tokens' losses. parameters: shared ones of
/// the last layer.
template <class Real>
double head_forward(const MoeModel& model, const Real* parameters, const Real* x,
                    std::span<const std::uint32_t> targets, Real* workspace);
/// Of `scale` times that sum. dx: [tokens, hidden].
template <class Real>
void head_backward(const MoeModel& model, const Real* parameters, const Real* x,
                   std::span<const std::uint32_t> targets, double scale, Real* workspace, Real* dx,
                   const Gradient<Real>& gradient);

}  // namespace zebroid
