#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "models/moe_model.hpp"
#include "schedule/values.hpp"

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
  Real* after_attention = nullptr;  ///< [tokens, hidden] input plus attention's output
  Real* ffn_input =
      nullptr;            ///< [tokens, hidden] the norm of that: what router, FFN and experts read
  Real* query = nullptr;  ///< [tokens, heads, head_dim], rotated
  Real* key = nullptr;    ///< [tokens, kv_heads, head_dim], rotated
  Real* value = nullptr;  ///< [tokens, kv_heads, head_dim]
  Real* attended = nullptr;   ///< [tokens, heads, head_dim] before the output projection
  Real* gate = nullptr;       ///< [tokens, ffn] of the dense or shared FFN
  Real* up = nullptr;         ///< [tokens, ffn]
  Real* product = nullptr;    ///< [tokens, ffn] silu(gate) * up
  Real* logsumexp = nullptr;  ///< [tokens, heads]
  Real* logits = nullptr;     ///< [tokens, experts] of the router, where the layer has experts
  Real* scores = nullptr;     ///< [tokens, experts] what experts are chosen by
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

/// What attention reads.
template <class Real>
struct AttentionInput {
  const Real* parameters = nullptr;  ///< of the layer, as shared_tensors()
  Tokens tokens;
  const Real* x = nullptr;  ///< [tokens, hidden]
};

/// RMSNorm, attention (RoPE of base 10,000, grouped queries, causal, with the layer's window or
/// chunks), residual, RMSNorm, router, dense or shared FFN. Fills `values` but for scores.
/// residual: [tokens, hidden] after_attention + FFN; it overlaps nothing that is read;
/// nullptr to fill `values` alone.
template <class Real>
void attention_forward(const MoeModel& model, std::uint32_t layer,
                       const AttentionInput<Real>& input, const AttentionValues<Real>& values,
                       Real* residual);

/// The experts of each token, [tokens, top_k], in falling order of score.
template <class Real>
struct Choice {
  std::int32_t* expert = nullptr;
  Real* weight = nullptr;
};
/// The top_k experts of each token by scores = logits + bias (nullptr = 0), of equal ones the
/// first, and softmax over their logits alone. Reads values.logits, fills values.scores.
template <class Real>
void choose_experts(const MoeModel& model, std::size_t tokens, const Real* bias,
                    const AttentionValues<Real>& values, const Choice<Real>& choice);

/// What came back from the experts: [tokens, top_k] each.
template <class Real>
struct Chosen {
  const std::int32_t* expert = nullptr;
  const Real* weight = nullptr;
  const Real* dweight = nullptr;
};
/// What attention's backward reads beside its forward's input and values, and where it writes.
template <class Real>
struct AttentionBackward {
  const Real* dy = nullptr;              ///< gradient of residual [tokens, hidden]
  const Chosen<Real>* chosen = nullptr;  ///< nullptr without experts
  /// An array like that of the values, all of which may be overwritten; its ffn_input holds what
  /// the experts return as gradient of theirs (zeros where the layer has none).
  AttentionValues<Real> workspace;
  Real* dx = nullptr;  ///< [tokens, hidden]; overlaps nothing
  Gradient<Real> gradient;
};
template <class Real>
void attention_backward(const MoeModel& model, std::uint32_t layer,
                        const AttentionInput<Real>& input, const AttentionValues<Real>& values,
                        const AttentionBackward<Real>& backward);

/// What an expert reads.
template <class Real>
struct ExpertInput {
  const Real* parameters = nullptr;  ///< as expert_tensors()
  std::size_t rows = 0;
  const Real* x = nullptr;       ///< [rows, hidden]
  const Real* weight = nullptr;  ///< [rows] that each row of the output is scaled by
};
/// One expert (SwiGLU). internals: [3, rows, expert_ffn]: gate, up, product. y: [rows, hidden], or
/// nullptr to fill internals alone.
template <class Real>
void expert_forward(const MoeModel& model, const ExpertInput<Real>& input, Real* internals,
                    Real* y);

template <class Real>
struct ExpertBackward {
  const Real* dy = nullptr;   ///< [rows, hidden], of the weighted output
  Real* workspace = nullptr;  ///< like internals
  Real* dx = nullptr;         ///< [rows, hidden]
  Real* dweight = nullptr;    ///< [rows]
  Gradient<Real> gradient;
};
template <class Real>
void expert_backward(const MoeModel& model, const ExpertInput<Real>& input, const Real* internals,
                     const ExpertBackward<Real>& backward);

/// Elements that head_forward and head_backward need while they run, for one slice: its normed
/// input, its logits and their gradient.
std::size_t head_workspace_size(const MoeModel& model, std::size_t tokens);

/// What the head reads.
template <class Real>
struct HeadInput {
  const Real* parameters = nullptr;  ///< shared ones of the last layer
  const Real* x = nullptr;           ///< [tokens, hidden]
  std::span<const std::uint32_t> targets;
};
/// Final norm, LM head, cross-entropy: the sum of the tokens' losses.
template <class Real>
double head_forward(const MoeModel& model, const HeadInput<Real>& input, Real* workspace);

template <class Real>
struct HeadBackward {
  double scale = 1;  ///< of the sum of losses
  Real* workspace = nullptr;
  Real* dx = nullptr;  ///< [tokens, hidden]
  Gradient<Real> gradient;
};
/// Of `scale` times that sum; computes the logits again.
template <class Real>
void head_backward(const MoeModel& model, const HeadInput<Real>& input,
                   const HeadBackward<Real>& backward);

}  // namespace zebroid
