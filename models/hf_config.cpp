#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <utility>

#include "core/error.hpp"
#include "models/hf_keys.hpp"
#include "models/hf_layers.hpp"
#include "models/moe_model.hpp"

namespace zebroid {
namespace {

using Range = HfKeys::Range;

constexpr Range layer_range{1, 10'000};
constexpr Range hidden_range{1, 1U << 20U};
constexpr Range vocabulary_range{1, 1U << 24U};
constexpr Range expert_range{2, 100'000};
constexpr Range ffn_range{1, 1U << 22U};
constexpr Range shared_count_range{0, 1'000};  // times ffn_range still fits 32 bits
constexpr Range head_range{1, 1U << 14U};
constexpr Range head_dim_range{1, 1U << 14U};
constexpr Range rank_range{1, 1U << 20U};
constexpr Range window_range{1, 1U << 30U};

constexpr std::string_view layer_keys[] = {"num_hidden_layers", "n_layers", "num_layers",
                                           "n_layer"};
constexpr std::string_view hidden_keys[] = {"hidden_size", "d_model", "n_embd"};
constexpr std::string_view vocabulary_keys[] = {"vocab_size"};
constexpr std::string_view expert_keys[] = {"num_local_experts", "n_routed_experts", "num_experts",
                                            "moe_num_experts", "ffn_config.moe_num_experts"};
constexpr std::string_view top_k_keys[] = {"num_experts_per_tok",
                                           "num_experts_per_token",
                                           "experts_per_token",
                                           "top_k_experts",
                                           "moe_topk",
                                           "moe_top_k",
                                           "moe_k",
                                           "num_selected_experts",
                                           "ffn_config.moe_top_k"};
constexpr std::string_view expert_ffn_keys[] = {"moe_intermediate_size",
                                                "ffn_config.ffn_hidden_size"};
constexpr std::string_view shared_ffn_keys[] = {"shared_expert_intermediate_size",
                                                "moe_shared_expert_intermediate_size",
                                                "share_expert_dim", "shared_intermediate_size"};
constexpr std::string_view shared_count_keys[] = {"n_shared_experts", "num_shared_experts",
                                                  "moe_num_shared_experts", "num_shared_expert"};
constexpr std::string_view head_keys[] = {"num_attention_heads", "n_heads", "n_head"};
constexpr std::string_view kv_head_keys[] = {"num_key_value_heads", "attn_config.kv_n_heads"};
constexpr std::string_view head_dim_keys[] = {"head_dim", "attention_head_dim"};
constexpr std::string_view window_keys[] = {"sliding_window", "sliding_window_size"};
constexpr std::string_view qkv_bias_keys[] = {"qkv_bias", "use_qkv_bias"};
constexpr std::string_view activation_keys[] = {"hidden_act", "mlp_hidden_act", "hidden_activation",
                                                "ffn_config.ffn_act_fn.name"};

struct Activation {
  std::string_view name;
  bool gated;
};
/// As MoE models use them. relu is missing on purpose: gated in some, not in others.
constexpr Activation activations[] = {
    {"silu", true},      {"swish", true},     {"swiglu", true},
    {"gelu", true},      {"gelu_new", true},  {"gelu_pytorch_tanh", true},
    {"gelu_tanh", true}, {"gelu_fast", true}, {"relu2", false},
};

/// What a model_type implies without a key.
struct Family {
  std::string_view model_type;
  QueryKeyNorm query_key_norm = QueryKeyNorm::none;
  Windows windows = Windows::everywhere;
  bool qkv_bias = false;
  bool output_bias = true;  ///< attention_bias covers the output projection too
  bool shared_expert_gate = false;
  bool tied_embeddings = false;
  bool sinks = false;
  bool expert_biases = false;  ///< experts and router
  bool llama4 = false;         ///< one shared expert without a key, norms without weights
};

constexpr Family families[] = {
    {.model_type = "mixtral"},
    {.model_type = "qwen2_moe", .qkv_bias = true, .output_bias = false, .shared_expert_gate = true},
    {.model_type = "qwen3_moe", .query_key_norm = QueryKeyNorm::per_head},
    {.model_type = "qwen3_vl_moe", .query_key_norm = QueryKeyNorm::per_head},
    {.model_type = "qwen3_vl_moe_text", .query_key_norm = QueryKeyNorm::per_head},
    {.model_type = "qwen3_omni_moe_text", .query_key_norm = QueryKeyNorm::per_head},
    {.model_type = "olmoe", .query_key_norm = QueryKeyNorm::per_layer},
    {.model_type = "flex_olmo", .query_key_norm = QueryKeyNorm::per_layer},
    {.model_type = "deepseek"},
    {.model_type = "deepseek_v2"},
    {.model_type = "deepseek_v3"},
    {.model_type = "deepseek_v32"},
    {.model_type = "kimi_k2"},
    {.model_type = "kimi_k25"},
    {.model_type = "glm4_moe", .output_bias = false},
    {.model_type = "glm4v_moe_text", .output_bias = false},
    {.model_type = "glm4_moe_lite"},
    {.model_type = "glm_moe_dsa"},
    {.model_type = "gpt_oss",
     .windows = Windows::alternating,
     .sinks = true,
     .expert_biases = true},
    {.model_type = "llama4", .windows = Windows::chunks, .llama4 = true},
    {.model_type = "llama4_text", .windows = Windows::chunks, .llama4 = true},
    {.model_type = "phimoe"},
    {.model_type = "dbrx"},
    {.model_type = "grok-1"},
    {.model_type = "minimax_m2"},
    {.model_type = "mimo_v2_flash"},
    {.model_type = "granitemoe"},
    {.model_type = "granitemoeshared"},
    {.model_type = "ernie4_5_moe", .tied_embeddings = true},
    {.model_type = "hunyuan_v1_moe", .query_key_norm = QueryKeyNorm::per_head},
    {.model_type = "dots1", .query_key_norm = QueryKeyNorm::per_head},
};

constexpr std::string_view prediction_keys[] = {"num_nextn_predict_layers", "mtp_num_hidden_layers",
                                                "num_mtp_modules", "num_mtp_layers"};
constexpr std::string_view left_out_objects[] = {"vision_config", "audio_config", "vision_tower",
                                                 "talker_config", "vit_config"};

Family family_of(HfKeys& keys, const std::string& model_type) {
  const auto* found =
      std::find_if(std::begin(families), std::end(families),
                   [&model_type](const Family& family) { return family.model_type == model_type; });
  if (found != std::end(families)) return *found;
  keys.note(
      fmt::format("model_type '{}' has no entry of its own: read by its keys alone", model_type));
  return {};
}

/// Throws when there are no routed experts: every other fault would be noise.
void refuse_dense(HfKeys& keys, const std::string& document) {
  const auto found = keys.find(expert_keys);
  const std::string looked_for = fmt::format("{}", fmt::join(expert_keys, ", "));
  if (!found) {
    std::vector<std::string> hints = keys.keys_with("expert");
    if (hints.empty()) hints = keys.keys_with("moe_");
    if (!hints.empty()) {
      throw Error(ErrorKind::input,
                  fmt::format("{}: cannot tell the number of routed experts: there is \"{}\", but "
                              "none of the keys {}",
                              document, hints.front(), looked_for));
    }
  } else {
    const Json& value = found->value.json();
    if (!value.is_number_integer() || (value != 0 && value != 1)) return;
  }
  throw Error(ErrorKind::input,
              fmt::format("{}: this model is dense, and zebroid plans the training of "
                          "Mixture-of-Experts models: no number of routed experts above 1 in the "
                          "keys {}",
                          document, looked_for));
}

bool read_gated(HfKeys& keys) {
  const auto found = keys.find(activation_keys);
  if (!found) return true;
  const std::string name = found->value.text();
  for (const Activation& activation : activations) {
    if (activation.name != name) continue;
    if (!activation.gated) keys.note(fmt::format("\"{}\": FFNs are two matrices", name));
    return activation.gated;
  }
  if (!name.empty()) {
    found->value.fault(fmt::format(
        "activation \"{}\" is not modelled: are the FFNs two matrices or three?", name));
  }
  return true;
}

void read_latent(HfKeys& keys, Attention& attention) {
  LatentAttention latent;
  latent.latent_rank = keys.number_if_any("kv_lora_rank", rank_range).value_or(1);
  latent.query_rank = keys.number_if_any("q_lora_rank", {0, rank_range.high}).value_or(0);
  constexpr std::string_view plain_keys[] = {"qk_nope_head_dim"};
  constexpr std::string_view rope_keys[] = {"qk_rope_head_dim"};
  constexpr std::string_view value_keys[] = {"v_head_dim"};
  latent.rope_dim = keys.number(rope_keys, head_dim_range);
  attention.head_dim = keys.number(plain_keys, head_dim_range) + latent.rope_dim;
  attention.value_dim = keys.number(value_keys, head_dim_range);
  attention.kv_heads = attention.heads;
  attention.latent = latent;
  keys.find(kv_head_keys);
  if (const auto head_dim = keys.find("head_dim")) {
    keys.note(fmt::format("latent attention (kv_lora_rank): \"head_dim\": {} is not used",
                          shown(head_dim->json())));
  }
  const auto whole = keys.find("qk_head_dim");
  if (whole && keys.clean() && whole->json() != attention.head_dim) {
    whole->fault(fmt::format("expected {}, qk_nope_head_dim + qk_rope_head_dim, got {}",
                             attention.head_dim, shown(whole->json())));
  }
}

void read_grouped(HfKeys& keys, std::uint32_t hidden, Attention& attention) {
  const auto found = keys.find(kv_head_keys);
  if (!found) keys.note("no number of key-value heads: one per query head");
  attention.kv_heads = keys.number_if_any(kv_head_keys, head_range).value_or(attention.heads);
  if (found && keys.clean() && attention.heads % attention.kv_heads != 0) {
    found->value.fault(fmt::format("{} query heads cannot share {} key-value heads",
                                   attention.heads, attention.kv_heads));
  }
  if (const auto head_dim = keys.number_if_any(head_dim_keys, head_dim_range)) {
    attention.head_dim = *head_dim;
  } else {
    attention.head_dim = std::max(1U, hidden / attention.heads);
    if (keys.clean() && hidden % attention.heads != 0) {
      keys.language().fault(
          fmt::format("\"head_dim\" is missing, and {} heads do not divide the hidden size {}",
                      attention.heads, hidden));
    }
  }
  attention.value_dim =
      keys.number_if_any("v_head_dim", head_dim_range).value_or(attention.head_dim);
}

void read_biases(HfKeys& keys, const Family& family, Attention& attention) {
  attention.qkv_bias = family.qkv_bias;
  if (const auto both = keys.find("attention_bias")) {
    attention.qkv_bias = both->boolean();
    attention.output_bias = attention.qkv_bias && family.output_bias;
  }
  if (const auto found = keys.find(qkv_bias_keys)) attention.qkv_bias = found->value.boolean();
}

QueryKeyNorm read_query_key_norm(HfKeys& keys, const Family& family) {
  const auto used = keys.find("use_qk_norm");
  const auto type = keys.find("qk_norm_type");
  if (!used) return family.query_key_norm;
  if (!used->boolean() || family.llama4) return QueryKeyNorm::none;
  return type && type->text() == "per_layer" ? QueryKeyNorm::per_layer : QueryKeyNorm::per_head;
}

std::optional<SparseIndexer> read_indexer(HfKeys& keys) {
  constexpr std::string_view top_k[] = {"index_topk"};
  constexpr std::string_view heads[] = {"index_n_heads"};
  constexpr std::string_view head_dim[] = {"index_head_dim"};
  if (!keys.find(top_k)) return std::nullopt;
  SparseIndexer indexer;
  indexer.top_k = keys.number(top_k, window_range);
  indexer.heads = keys.number(heads, head_range);
  indexer.head_dim = keys.number(head_dim, head_dim_range);
  keys.note(
      fmt::format("sparse attention: an indexer picks {} tokens (index_topk)", indexer.top_k));
  return indexer;
}

Attention read_attention(HfKeys& keys, const Family& family, std::uint32_t hidden) {
  Attention attention;
  attention.heads = keys.number(head_keys, head_range);
  if (keys.find("kv_lora_rank")) {
    read_latent(keys, attention);
  } else {
    read_grouped(keys, hidden, attention);
    attention.query_key_norm = read_query_key_norm(keys, family);
  }
  read_biases(keys, family, attention);
  attention.sinks = family.sinks;
  attention.indexer = read_indexer(keys);
  return attention;
}

/// The attention of layers with a sliding window, where it has a shape of its own (MiMo).
Attention read_sliding_attention(HfKeys& keys, const Attention& full) {
  Attention out = full;
  out.heads = keys.number_if_any("swa_num_attention_heads", head_range).value_or(full.heads);
  out.kv_heads = keys.number_if_any("swa_num_key_value_heads", head_range).value_or(full.kv_heads);
  out.head_dim = keys.number_if_any("swa_head_dim", head_dim_range).value_or(full.head_dim);
  out.value_dim = keys.number_if_any("swa_v_head_dim", head_dim_range).value_or(full.value_dim);
  out.sinks = keys.flag("add_swa_attention_sink_bias", full.sinks);
  if (keys.clean() && out.heads % out.kv_heads != 0) {
    keys.language().fault(
        fmt::format("{} query heads cannot share {} key-value heads (\"swa_num_key_value_heads\")",
                    out.heads, out.kv_heads));
  }
  return out;
}

/// What a window of this reach is called; the key is required once a layer needs it.
std::uint32_t window_of(HfKeys& keys, HfKeys::Aliases aliases, const Reaches& reaches,
                        Reach reach) {
  const bool used = std::find(reaches.begin(), reaches.end(), reach) != reaches.end();
  return used ? keys.number(aliases, window_range) : 0;
}

void set_attention(HfKeys& keys, const Family& family, MoeModel& model) {
  const auto layers = static_cast<std::uint32_t>(model.layers.size());
  const Reaches reaches = read_reaches(keys, family.windows, layers);
  constexpr std::string_view chunk_keys[] = {"attention_chunk_size"};
  const std::uint32_t window = window_of(keys, window_keys, reaches, Reach::sliding);
  const std::uint32_t chunk = window_of(keys, chunk_keys, reaches, Reach::chunked);
  const auto other = keys.find("attention_chunk_size");
  if (other && chunk == 0 && other->json() != window) {
    other->fault("\"attention_chunk_size\" is not modelled without chunked layers");
  }

  Attention full = read_attention(keys, family, model.hidden);
  Attention sliding = window > 0 ? read_sliding_attention(keys, full) : full;
  full.sinks = keys.flag("add_full_attention_sink_bias", full.sinks);
  sliding.window = window;
  Attention chunked = full;
  chunked.window = chunk;
  chunked.chunked = true;
  for (std::uint32_t i = 0; i < layers; ++i) {
    model.layers[i].attention = reaches[i] == Reach::full      ? full
                                : reaches[i] == Reach::sliding ? sliding
                                                               : chunked;
  }
  const auto count = [&reaches](Reach reach) {
    return std::count(reaches.begin(), reaches.end(), reach);
  };
  if (window > 0) {
    keys.note(fmt::format("{} of {} layers attend to a sliding window of {} tokens",
                          count(Reach::sliding), layers, window));
  }
  if (chunk > 0) {
    keys.note(
        fmt::format("{} of {} layers attend within chunks of {} tokens (attention_chunk_size)",
                    count(Reach::chunked), layers, chunk));
  }
}

std::uint32_t read_shared_ffn(HfKeys& keys, const Family& family, std::uint32_t expert_ffn) {
  const std::uint32_t width = keys.number_if_any(shared_ffn_keys, {0, ffn_range.high}).value_or(0);
  const std::uint32_t count = keys.number_if_any(shared_count_keys, shared_count_range).value_or(0);
  const std::uint64_t product = std::uint64_t{count} * expert_ffn;
  if (const auto found = keys.find(shared_ffn_keys); found && width > 0) {
    if (count > 1 && width != product && keys.clean()) {
      found->value.fault(fmt::format(
          "cannot tell whether \"{}\" = {} is the width of one of the {} shared experts or of all",
          found->key, width, count));
    }
    keys.note(fmt::format("shared experts: width {} ({})", width, found->key));
    return width;
  }
  if (product > 0) {
    keys.note(fmt::format("shared experts: {} as wide as a routed one", count));
    return static_cast<std::uint32_t>(product);
  }
  if (!family.llama4) return 0;
  keys.note("Llama 4: one shared expert as wide as a routed one, without a key for it");
  return expert_ffn;
}

void set_ffns(HfKeys& keys, const Family& family, MoeModel& model) {
  const auto explicit_width = keys.number_if_any(expert_ffn_keys, ffn_range);
  const auto dense_width = keys.number_if_any("intermediate_size", ffn_range);
  const auto mlp_width = keys.number_if_any("intermediate_size_mlp", ffn_range);
  if (explicit_width) {
    model.expert_ffn = *explicit_width;
  } else if (dense_width) {
    model.expert_ffn = *dense_width;
    keys.note(fmt::format("experts: width {} (intermediate_size)", *dense_width));
  } else {
    keys.language().fault(fmt::format("none of the keys {}, intermediate_size is there",
                                      fmt::join(expert_ffn_keys, ", ")));
    model.expert_ffn = ffn_range.low;
  }

  const auto layers = static_cast<std::uint32_t>(model.layers.size());
  const std::vector<bool> sparse = read_moe_layers(keys, layers);
  const std::uint32_t shared = read_shared_ffn(keys, family, model.expert_ffn);
  const auto dense = mlp_width ? mlp_width : dense_width;
  const auto dense_layers = std::count(sparse.begin(), sparse.end(), false);
  if (dense_layers == layers && keys.clean()) {
    keys.language().fault("no layer has experts, by the keys that say which ones do");
  }
  if (dense_layers > 0 && !dense) {
    keys.language().fault("key \"intermediate_size\", the width of the dense layers, is missing");
  }
  if (dense_layers > 0) {
    keys.note(fmt::format("{} of {} layers are dense", dense_layers, layers));
  }
  for (std::uint32_t i = 0; i < layers; ++i) {
    Layer& layer = model.layers[i];
    layer.has_experts = sparse[i];
    layer.shared_ffn = sparse[i] ? shared : 0;
    layer.dense_ffn = sparse[i] ? 0 : dense.value_or(ffn_range.low);
  }
}

void set_sizes(HfKeys& keys, const Family& family, MoeModel& model) {
  model.experts = keys.number(expert_keys, expert_range);
  model.top_k = keys.number(top_k_keys, {1, keys.clean() ? model.experts : expert_range.high});
  model.layers.resize(keys.number(layer_keys, layer_range));
  model.hidden = keys.number(hidden_keys, hidden_range);
  model.vocabulary = keys.number(vocabulary_keys, vocabulary_range);
  model.gated = read_gated(keys);
  model.ffn_bias = keys.flag("mlp_bias", family.expert_biases);
  model.router_bias = family.expert_biases;
  model.shared_expert_gate = family.shared_expert_gate;
  if (const auto tied = keys.find_anywhere("tie_word_embeddings")) {
    model.tied_embeddings = tied->boolean();
  } else {
    model.tied_embeddings = family.tied_embeddings;
    keys.note(fmt::format("no tie_word_embeddings: {} assumed", family.tied_embeddings));
  }
}

void note_left_out(HfKeys& keys) {
  for (const std::string_view key : prediction_keys) {
    const auto found = keys.find(key);
    if (!found || is_off(found->json())) continue;
    keys.note(
        fmt::format("left out: multi-token prediction (\"{}\": {})", key, shown(found->json())));
  }
  for (const std::string_view key : left_out_objects) {
    if (keys.find_anywhere(key)) keys.note(fmt::format("left out: {}", key));
  }
  if (keys.find_anywhere("quantization_config")) {
    keys.note("left out: quantization_config, which says how weights are stored, not trained");
  }
}

}  // namespace

MoeModel read_model(const JsonDocument& config, std::string name) {
  Faults faults;
  const JsonView top(config, faults);
  if (!config.root.is_object()) top.fault("expected an object, the content of a config.json");
  faults.throw_if_any();

  HfKeys keys(top);
  refuse_dense(keys, config.name);
  MoeModel model;
  model.name = std::move(name);
  auto type = keys.find("model_type");
  if (!type) type = keys.find_anywhere("model_type");
  if (type) model.model_type = type->text();
  const Family family = family_of(keys, model.model_type);
  set_sizes(keys, family, model);
  set_attention(keys, family, model);
  set_ffns(keys, family, model);
  note_left_out(keys);
  keys.refuse_unread();
  faults.throw_if_any();
  model.notes = keys.notes();
  return model;
}

}  // namespace zebroid
