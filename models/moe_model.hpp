#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/json.hpp"
#include "core/units.hpp"

namespace zebroid {

/// DeepSeek's multi-head latent attention: keys and values are expanded from a low-rank latent.
struct LatentAttention {
  std::uint32_t query_rank = 0;  ///< q_lora_rank; 0 = queries are projected directly
  std::uint32_t latent_rank = 0;
  std::uint32_t rope_dim = 0;  ///< part of every head's key that is shared between heads

  friend bool operator==(const LatentAttention&, const LatentAttention&) = default;
};

/// DeepSeek sparse attention: a small indexer scores all earlier tokens, the core attends to the
/// best `top_k`.
struct SparseIndexer {
  std::uint32_t heads = 0;
  std::uint32_t head_dim = 0;
  std::uint32_t top_k = 0;

  friend bool operator==(const SparseIndexer&, const SparseIndexer&) = default;
};

/// RMSNorm with learned weights on queries and keys: head_dim weights for each, or one for every
/// head's every element.
enum class QueryKeyNorm { none, per_head, per_layer };

/// Causal self-attention of one layer.
struct Attention {
  std::uint32_t heads = 0;
  std::uint32_t kv_heads = 0;
  std::uint32_t head_dim = 0;   ///< of queries and keys, rope part included
  std::uint32_t value_dim = 0;  ///< of values, per head
  std::uint32_t window =
      0;  ///< sliding window (the token itself counts) or chunk in tokens; 0 = all earlier tokens
  bool chunked = false;  ///< `window` cuts the sequence into chunks (Llama 4) instead of sliding
  bool qkv_bias =
      false;  ///< the q, k and v projections have biases; with `latent` the down-projections
  bool output_bias = false;  ///< the output projection has a bias
  bool sinks = false;        ///< one learned logit per head that takes part in every softmax
  QueryKeyNorm query_key_norm = QueryKeyNorm::none;
  std::optional<LatentAttention> latent;
  std::optional<SparseIndexer> indexer;

  friend bool operator==(const Attention&, const Attention&) = default;
};

/// One decoder layer: attention, then either a dense FFN or routed experts with optional shared
/// ones.
struct Layer {
  Attention attention;
  std::uint32_t dense_ffn = 0;   ///< width of the dense FFN; 0 where the layer has experts
  std::uint32_t shared_ffn = 0;  ///< total width of the shared experts; 0 = none
  bool has_experts = false;

  friend bool operator==(const Layer&, const Layer&) = default;
};

/// A decoder-only Mixture-of-Experts transformer, as far as one training step needs it.
/// Multi-token-prediction layers are left out; a note says so.
struct MoeModel {
  std::string name;
  std::string model_type;
  std::uint32_t hidden = 0;
  std::uint32_t vocabulary = 0;
  bool tied_embeddings = false;  ///< the LM head is the embedding, transposed
  std::uint32_t experts = 0;     ///< routed experts per MoE layer
  std::uint32_t top_k = 0;       ///< num_experts_per_tok
  std::uint32_t expert_ffn = 0;  ///< width of one routed expert
  bool gated = true;             ///< FFNs have three matrices (SwiGLU), else two
  bool ffn_bias = false;
  bool router_bias = false;  ///< one value per expert beside the router's matrix
  bool shared_expert_gate =
      false;  ///< Qwen2-MoE: a sigmoid gate of `hidden` weights on the shared expert
  std::vector<Layer> layers;
  std::vector<std::string> notes;  ///< what was assumed, which key gave what; for people

  std::uint32_t moe_layers() const;
  std::uint32_t matrices() const { return gated ? 3 : 2; }
};

/// Reads a Hugging Face config.json (key aliases, nested text_config, dense leading layers, shared
/// experts, MLA, sliding windows). Throws Error(input), every fault with its pointer, for a dense
/// model, a missing key, or a key that changes the architecture in a way that is not modelled
/// (Mamba layers, latent experts, ...), naming the key. Formats: docs/formats/model.md.
MoeModel read_model(const JsonDocument& config, std::string name);

/// Learned parameters, per module. Counts, not bytes; exact below 2^53. Norms count one weight per
/// element.
struct LayerParameters {
  double attention = 0;  ///< projections, the layer's two norms, indexer
  double router = 0;     ///< gate of a MoE layer
  double dense = 0;      ///< dense FFN
  double shared = 0;     ///< shared experts
  double expert = 0;     ///< ONE routed expert

  double without_experts() const { return attention + router + dense + shared; }
};

LayerParameters layer_parameters(const MoeModel& model, std::uint32_t layer);
double embedding_parameters(const MoeModel& model);
double head_parameters(
    const MoeModel& model);  ///< final norm and LM head; the head's matrix is 0 when tied
/// All of a layer but routed experts; the first layer with the embedding, the last with the head.
double shared_parameters(const MoeModel& model, std::uint32_t layer);
double total_parameters(const MoeModel& model);
/// Used by one token: top_k of the routed experts, all else in full, embedding and head too. Model
/// cards differ in what they leave out: gpt-oss omits the embedding, DeepSeek and Kimi print 37 and
/// 32 billion where this is 37.6 and 32.9.
double active_parameters(const MoeModel& model);

/// A weight matrix that every token's activation of width `in` is multiplied by.
struct Matrix {
  double in = 0;
  double out = 0;
};
/// Projections of a layer's attention, with those of one input that frameworks fuse (queries, keys
/// and values) as one; then the sparse indexer's.
std::vector<Matrix> attention_matrices(const MoeModel& model, std::uint32_t layer);

/// Multiply-adds of one forward pass, times two. Norms, RoPE, softmax and the like are left to the
/// memory-bound costs.
struct ForwardFlops {
  Flops projections;  ///< attention's matrices and the indexer's
  Flops core;  ///< scores and weighted values of the pairs attended to, and the indexer's scores of
               ///< all pairs
  Flops router;
  Flops dense;  ///< dense FFN, shared experts and their gate

  Flops total() const { return projections + core + router + dense; }
};

/// Attention side of one layer for `sequences` sequences of `sequence_length` tokens. Latent
/// attention is computed expanded, as in training: keys and values of every head are made from the
/// latent.
ForwardFlops attention_flops(const MoeModel& model, std::uint32_t layer, double sequences,
                             double sequence_length);
/// Routed experts on `rows` token copies.
Flops expert_flops(const MoeModel& model, double rows);
/// LM head on `tokens` tokens.
Flops head_flops(const MoeModel& model, double tokens);

/// Query-key pairs that causal attention of one sequence reaches, per head, before any indexer: s
/// (s + 1) / 2 without a window. `sequence_length` is a whole number of tokens.
double attended_pairs(const Attention& attention, double sequence_length);

}  // namespace zebroid
