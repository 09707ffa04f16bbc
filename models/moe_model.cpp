#include "models/moe_model.hpp"

#include <algorithm>
#include <cmath>

#include "core/error.hpp"

namespace zebroid {
namespace {

double triangle(double n) { return n * (n + 1) / 2; }

double sliding_pairs(double length, double window) {
  const double ramp = std::min(length, window);
  return triangle(ramp) + (length - ramp) * window;
}

double ranks(const LatentAttention& latent) {
  return static_cast<double>(latent.query_rank) + latent.latent_rank;
}

double query_key_norms(const Attention& attention) {
  if (attention.latent) return ranks(*attention.latent);
  const double head_dim = attention.head_dim;
  const double heads = attention.heads;
  switch (attention.query_key_norm) {
    case QueryKeyNorm::none:
      return 0;
    case QueryKeyNorm::per_head:
      return 2 * head_dim;
    case QueryKeyNorm::per_layer:
      return (heads + attention.kv_heads) * head_dim;
  }
  return 0;
}

double qkv_biases(const Attention& attention) {
  if (attention.latent) return ranks(*attention.latent) + attention.latent->rope_dim;
  const double heads = attention.heads;
  const double kv_heads = attention.kv_heads;
  return (heads + kv_heads) * attention.head_dim + kv_heads * attention.value_dim;
}

double attention_vectors(double hidden, const Attention& attention) {
  double out = 2 * hidden + query_key_norms(attention);
  if (attention.qkv_bias) out += qkv_biases(attention);
  if (attention.output_bias) out += hidden;
  if (attention.sinks) out += attention.heads;
  if (attention.indexer)
    out += 2.0 * attention.indexer->head_dim;  // a LayerNorm with bias on its keys
  return out;
}

double elements(const std::vector<Matrix>& matrices) {
  double out = 0;
  for (const Matrix& matrix : matrices) out += matrix.in * matrix.out;
  return out;
}

double ffn_matrices(const MoeModel& model, double width) {
  return model.matrices() * static_cast<double>(model.hidden) * width;
}

double ffn_parameters(const MoeModel& model, double width) {
  if (width <= 0) return 0;
  const double biases = model.ffn_bias ? (model.matrices() - 1) * width + model.hidden : 0;
  return ffn_matrices(model, width) + biases;
}

const Layer& layer_of(const MoeModel& model, std::uint32_t layer) {
  ensure(layer < model.layers.size(), "the layer is one of the model");
  return model.layers[layer];
}

/// Sum over all layers, with `experts` routed experts in each MoE layer.
double parameters_with(const MoeModel& model, double experts) {
  double out = 0;
  for (std::uint32_t i = 0; i < model.layers.size(); ++i) {
    out += shared_parameters(model, i) + experts * layer_parameters(model, i).expert;
  }
  return out;
}

}  // namespace

std::uint32_t MoeModel::moe_layers() const {
  return static_cast<std::uint32_t>(std::count_if(
      layers.begin(), layers.end(), [](const Layer& layer) { return layer.has_experts; }));
}

std::vector<Matrix> attention_matrices(const MoeModel& model, std::uint32_t layer) {
  const Attention& attention = layer_of(model, layer).attention;
  const double hidden = model.hidden;
  const double heads = attention.heads;
  const double query = heads * attention.head_dim;
  const double query_rank = attention.latent ? attention.latent->query_rank : 0;
  std::vector<Matrix> out;
  if (attention.latent) {
    const LatentAttention& latent = *attention.latent;
    const double latent_rank = latent.latent_rank;
    const double key_part = attention.head_dim - latent.rope_dim;
    if (query_rank > 0) out.push_back({hidden, query_rank});
    out.push_back({query_rank > 0 ? query_rank : hidden, query});
    out.push_back({hidden, latent_rank + latent.rope_dim});
    out.push_back({latent_rank, heads * (key_part + attention.value_dim)});
  } else {
    const double key_value = static_cast<double>(attention.head_dim) + attention.value_dim;
    out.push_back({hidden, query + attention.kv_heads * key_value});
  }
  out.push_back({heads * attention.value_dim, hidden});
  if (attention.indexer) {
    const double dim = attention.indexer->head_dim;
    out.push_back({query_rank > 0 ? query_rank : hidden, attention.indexer->heads * dim});
    out.push_back({hidden, dim + attention.indexer->heads});
  }
  return out;
}

LayerParameters layer_parameters(const MoeModel& model, std::uint32_t layer) {
  const Layer& it = layer_of(model, layer);
  const double hidden = model.hidden;
  LayerParameters out;
  out.attention =
      elements(attention_matrices(model, layer)) + attention_vectors(hidden, it.attention);
  out.dense = ffn_parameters(model, it.dense_ffn);
  if (!it.has_experts) return out;
  out.router = (hidden + (model.router_bias ? 1 : 0)) * model.experts;
  out.shared = ffn_parameters(model, it.shared_ffn);
  if (it.shared_ffn > 0 && model.shared_expert_gate) out.shared += hidden;
  out.expert = ffn_parameters(model, model.expert_ffn);
  return out;
}

double embedding_parameters(const MoeModel& model) {
  return static_cast<double>(model.vocabulary) * model.hidden;
}

double head_parameters(const MoeModel& model) {
  const double final_norm = model.hidden;
  return final_norm + (model.tied_embeddings ? 0 : embedding_parameters(model));
}

double shared_parameters(const MoeModel& model, std::uint32_t layer) {
  return layer_parameters(model, layer).without_experts() +
         (layer == 0 ? embedding_parameters(model) : 0) +
         (layer + 1U == model.layers.size() ? head_parameters(model) : 0);
}

double total_parameters(const MoeModel& model) { return parameters_with(model, model.experts); }

double active_parameters(const MoeModel& model) { return parameters_with(model, model.top_k); }

ForwardFlops attention_flops(const MoeModel& model, std::uint32_t layer, double sequences,
                             double sequence_length) {
  const Layer& it = layer_of(model, layer);
  const Attention& attention = it.attention;
  const double hidden = model.hidden;
  const double tokens = sequences * sequence_length;
  double pairs = attended_pairs(attention, sequence_length);
  double core = 0;
  if (attention.indexer) {
    const SparseIndexer& indexer = *attention.indexer;
    core += pairs * 2 * indexer.heads * indexer.head_dim;
    pairs = std::min(pairs, sliding_pairs(sequence_length, indexer.top_k));
  }
  const double per_pair = 2 * (static_cast<double>(attention.head_dim) + attention.value_dim);
  core += pairs * per_pair * attention.heads;

  ForwardFlops out;
  out.projections = {2 * tokens * elements(attention_matrices(model, layer))};
  out.core = {sequences * core};
  double dense = ffn_matrices(model, it.dense_ffn);
  if (it.has_experts) {
    out.router = {2 * tokens * hidden * model.experts};
    dense += ffn_matrices(model, it.shared_ffn);
    if (it.shared_ffn > 0 && model.shared_expert_gate) dense += hidden;
  }
  out.dense = {2 * tokens * dense};
  return out;
}

Flops expert_flops(const MoeModel& model, double rows) {
  return {2 * rows * ffn_matrices(model, model.expert_ffn)};
}

Flops head_flops(const MoeModel& model, double tokens) {
  return {2 * tokens * embedding_parameters(model)};
}

double attended_pairs(const Attention& attention, double sequence_length) {
  const double window = attention.window;
  if (attention.window == 0 || window >= sequence_length) return triangle(sequence_length);
  if (!attention.chunked) return sliding_pairs(sequence_length, window);
  const double chunks = std::floor(sequence_length / window);
  return chunks * triangle(window) + triangle(sequence_length - chunks * window);
}

}  // namespace zebroid
