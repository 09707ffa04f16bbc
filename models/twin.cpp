#include "models/twin.hpp"

#include <algorithm>
#include <utility>

namespace zebroid {
namespace {

constexpr std::uint32_t hidden = 64;
constexpr std::uint32_t heads = 4;
constexpr std::uint32_t head_dim = hidden / heads;
constexpr std::uint32_t dense_ffn = 128;
constexpr std::uint32_t shared_ffn = 64;
constexpr std::uint32_t vocabulary = 256;  // one for each byte
constexpr std::uint32_t sequence_length = 32;

/// So that the experts of a layer are about as wide together whatever their number.
std::uint32_t expert_ffn(std::uint32_t experts) {
  constexpr std::uint32_t together = 512;
  constexpr std::uint32_t step = 8;
  constexpr std::uint32_t least = 16;
  return std::max(least, together / experts / step * step);
}

}  // namespace

Scenario narrow_twin(const Scenario& scenario) {
  const MoeModel& model = scenario.model;
  Json config;
  config["model_type"] = "mixtral";
  config["hidden_size"] = hidden;
  config["num_hidden_layers"] = model.layers.size();
  config["num_attention_heads"] = heads;
  config["num_key_value_heads"] = heads / 2;
  config["head_dim"] = head_dim;
  config["vocab_size"] = vocabulary;
  config["tie_word_embeddings"] = false;
  config["num_local_experts"] = model.experts;
  config["num_experts_per_tok"] = model.top_k;
  config["moe_intermediate_size"] = expert_ffn(model.experts);
  config["intermediate_size"] = dense_ffn;
  Json dense = Json::array();
  bool has_shared = false;
  for (std::size_t l = 0; l < model.layers.size(); ++l) {
    if (!model.layers[l].has_experts) dense.push_back(l);
    has_shared = has_shared || model.layers[l].shared_ffn > 0;
  }
  if (!dense.empty()) config["mlp_only_layers"] = std::move(dense);
  if (has_shared) config["shared_expert_intermediate_size"] = shared_ffn;
  Scenario out = scenario;
  const std::string suffix = " (narrow twin)";
  if (!out.model_name.ends_with(suffix)) out.model_name += suffix;  // of a twin it is the same
  out.model = read_model({out.model_name, "", config}, out.model_name);
  out.model_config = std::move(config);
  out.training.sequence_length = sequence_length;
  return out;
}

}  // namespace zebroid
