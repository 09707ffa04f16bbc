#include "models/hf_keys.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>

namespace zebroid {
namespace {

/// Where multimodal models keep their language model.
constexpr std::string_view nests[] = {"text_config", "language_config", "llm_config",
                                      "thinker_config"};
/// What tells that an object is the language model's own.
constexpr std::string_view language_keys[] = {"hidden_size", "d_model", "num_hidden_layers",
                                              "n_layers"};
/// Objects that hold a part of the language model (DBRX).
constexpr std::string_view sections[] = {"ffn_config", "attn_config"};

struct Suspicion {
  std::string_view part;
  std::string_view meaning;
};

/// Parts of key names that announce another architecture whatever else the name says.
constexpr Suspicion decisive_suspicions[] = {
    {"mamba", "Mamba layers"},
    {"ssm", "state-space layers"},
    {"conv_", "convolution layers"},
    {"_conv", "convolution layers"},
    {"linear_", "linear attention"},
    {"recurrent", "recurrent layers"},
    {"pattern", "layers of several kinds"},
    {"hybrid", "layers of several kinds"},
    {"layer_type", "layers of several kinds"},
    {"layer_group", "layers of several kinds"},
    {"latent", "experts or attention in a latent space"},
    {"lora", "low-rank projections"},
    {"compress", "compressed attention"},
    {"hash_layers", "routing by hash"},
    {"hc_", "several residual streams"},
};

/// Parts that do so unless a harmless part is there too. The first that fits explains the refusal.
constexpr Suspicion suspicions[] = {
    {"interval", "layers of several kinds"},
    {"block_config", "layers of several kinds"},
    {"index_", "a sparse-attention indexer"},
    {"swa_", "another attention shape in sliding-window layers"},
    {"window", "windowed attention"},
    {"chunk", "work in chunks of tokens"},
    {"moe", "a variant of the experts"},
    {"expert", "a variant of the experts"},
    {"shared_", "a variant of the shared experts"},
    {"dense", "a variant of the dense layers"},
    {"ffn", "a variant of the FFNs"},
    {"mlp", "a variant of the FFNs"},
    {"intermediate", "a variant of the FFNs"},
    {"per_layer", "sizes that differ between layers"},
    {"head_dim", "another attention shape"},
    {"heads", "another attention shape"},
    {"kv_", "a variant of keys and values"},
    {"use_cla", "attention that shares keys and values across layers"},
    {"attn", "a variant of attention"},
    {"attention", "a variant of attention"},
    {"gating", "gated attention or FFNs"},
    {"gate", "gated attention or FFNs"},
    {"is_encoder_decoder", "an encoder"},
};

/// Parts of key names that change neither weights nor matrix work, though a suspicion may fit.
constexpr std::string_view harmless_parts[] = {
    "loss",       "dropout",     "pdrop",          "jitter", "dtype", "scal",      "capacity",
    "init",       "token",       "quant",          "vision", "image", "video",     "audio",
    "rope",       "rotary",      "_fp32",          "_eps",   "_func", "router_",   "norm_topk",
    "layernorm_", "softcap",     "flash_att",      "mtp",    "nextn", "normalize", "multiplier",
    "_cache",     "expert_bias", "implementation",
};

constexpr std::string_view harmless_keys[] = {
    "_commit_hash",
    "attn_temperature_tuning",
    "cla_share_factor",  // counts only with use_cla
    "compression_config",
    "dense_list",  // Hunyuan: left over from a classification head
    "expert_model_parallel_size",
    "layernorm_linear_attention_alpha",  // MiniMax without such layers
    "layernorm_linear_attention_beta",
    "max_attn_value",
    "moe_gate",
    "moe_group",
    "moe_norm_min",
    "moe_use_aux_free",
    "n_expert_groups",
    "norm_expert_weight",
    "num_expert_group",
    "num_expert_groups",
    "output_attentions",
    "uniform_expert_assignment",
    "use_grouped_topk_moe",
    "use_mixed_mlp_moe",  // Hunyuan: shared experts are used; their number has its own key
    "use_moe_router_bias",
};

template <class Range>
bool contains(const Range& range, std::string_view value) {
  return std::find(std::begin(range), std::end(range), value) != std::end(range);
}

template <class Range>
bool has_part(const Range& parts, std::string_view key) {
  return std::any_of(std::begin(parts), std::end(parts), [key](std::string_view part) {
    return key.find(part) != std::string_view::npos;
  });
}

template <class Range>
const Suspicion* first_fit(const Range& range, std::string_view key) {
  const auto* found =
      std::find_if(std::begin(range), std::end(range), [key](const Suspicion& suspicion) {
        return key.find(suspicion.part) != std::string_view::npos;
      });
  return found == std::end(range) ? nullptr : found;
}

const Suspicion* suspicion_of(std::string_view key) {
  if (contains(harmless_keys, key)) return nullptr;
  if (const Suspicion* decisive = first_fit(decisive_suspicions, key)) return decisive;
  return has_part(harmless_parts, key) ? nullptr : first_fit(suspicions, key);
}

bool has_any(const JsonView& object, HfKeys::Aliases keys) {
  return std::any_of(keys.begin(), keys.end(),
                     [&object](std::string_view key) { return object.find(key).has_value(); });
}

std::optional<JsonView> object_in(const JsonView& object, HfKeys::Aliases keys) {
  for (const std::string_view key : keys) {
    auto inner = object.find(key);
    if (inner && inner->json().is_object()) return inner;
  }
  return std::nullopt;
}

std::optional<JsonView> at_path(const JsonView& object, std::string_view path) {
  const auto dot = path.find('.');
  if (dot == std::string_view::npos) return object.find(path);
  const auto inner = object.find(path.substr(0, dot));
  if (!inner || !inner->json().is_object()) return std::nullopt;
  return at_path(*inner, path.substr(dot + 1));
}

/// The value that an array repeats, or the value itself.
std::optional<JsonView> uniform(const JsonView& value) {
  if (!value.json().is_array()) return value;
  const Json& array = value.json();
  const bool same = !array.empty() && std::all_of(array.begin(), array.end(), [&](const Json& it) {
    return it == array.front();
  });
  if (same) return value.elements().front();
  value.fault("expected one value for all layers; values that differ are not modelled");
  return std::nullopt;
}

}  // namespace

bool is_off(const Json& value) {
  if (value.is_boolean()) return !value.get<bool>();
  if (value.is_number()) return value.get<double>() == 0;
  if (value.is_string()) return value.get_ref<const std::string&>().empty();
  return value.empty();
}

HfKeys::HfKeys(const JsonView& top) : levels_{top} {
  constexpr std::size_t deepest = 3;
  while (levels_.size() < deepest) {
    const auto inner = object_in(language(), nests);
    const bool complete = has_any(language(), language_keys) && !keys_with("expert").empty();
    if (!inner || complete) break;
    levels_.push_back(*inner);
  }
  if (levels_.size() > 1) {
    note(fmt::format("the language model is {}", language().pointer().substr(1)));
  }
}

std::optional<HfKeys::Found> HfKeys::find(Aliases aliases) {
  std::optional<Found> first;
  for (const std::string_view alias : aliases) {
    const auto value = at_path(language(), alias);
    if (!value) continue;
    read_.insert(value->pointer());
    if (!first) {
      first = Found{alias, *value};
    } else if (value->json() != first->value.json()) {
      value->fault(fmt::format("{} contradicts \"{}\": {}", shown(value->json()), first->key,
                               shown(first->value.json())));
    }
  }
  return first;
}

std::optional<JsonView> HfKeys::find(std::string_view key) {
  const auto found = find(Aliases(&key, 1));
  return found ? std::optional(found->value) : std::nullopt;
}

std::optional<JsonView> HfKeys::find_anywhere(std::string_view key) {
  std::optional<JsonView> innermost;
  for (auto level = levels_.rbegin(); level != levels_.rend(); ++level) {
    const auto value = level->find(key);
    if (!value) continue;
    read_.insert(value->pointer());
    if (!innermost) {
      innermost = value;
    } else if (value->json() != innermost->json()) {
      value->fault(fmt::format("{} contradicts {}: {}", shown(value->json()), innermost->pointer(),
                               shown(innermost->json())));
    }
  }
  return innermost;
}

std::optional<std::uint32_t> HfKeys::number_if_any(Aliases aliases, Range range) {
  const auto found = find(aliases);
  if (!found) return std::nullopt;
  const auto value = uniform(found->value);
  if (!value) return range.low;
  return static_cast<std::uint32_t>(value->integer(range.low, range.high));
}

std::optional<std::uint32_t> HfKeys::number_if_any(std::string_view key, Range range) {
  return number_if_any(Aliases(&key, 1), range);
}

std::uint32_t HfKeys::number(Aliases aliases, Range range) {
  if (const auto value = number_if_any(aliases, range)) return *value;
  if (aliases.size() == 1) {
    language().fault(fmt::format("key \"{}\" is missing", aliases.front()));
  } else {
    language().fault(fmt::format("none of the keys {} is there", fmt::join(aliases, ", ")));
  }
  return range.low;
}

bool HfKeys::flag(std::string_view key, bool otherwise) {
  const auto found = find(key);
  return found ? found->boolean() : otherwise;
}

std::optional<std::vector<std::uint32_t>> HfKeys::per_layer(std::string_view key,
                                                            std::uint32_t layers, Range range) {
  const auto found = find(key);
  if (!found) return std::nullopt;
  std::vector<std::uint32_t> out;
  each(*found, [&out, range](const JsonView& element) {
    const bool boolean = element.json().is_boolean();
    out.push_back(boolean ? std::uint32_t{element.boolean()}
                          : static_cast<std::uint32_t>(element.integer(range.low, range.high)));
  });
  if (clean() && out.size() != layers) {
    found->fault(
        fmt::format("expected an element for each of the {} layers, got {}", layers, out.size()));
  }
  if (!clean()) return std::nullopt;
  return out;
}

void HfKeys::each(const JsonView& list, const std::function<void(const JsonView&)>& read) const {
  const std::size_t before = list.faults().all().size();
  for (const JsonView& element : list.elements()) {
    read(element);
    if (list.faults().all().size() > before) return;
  }
}

std::vector<std::string> HfKeys::keys_with(std::string_view part) const {
  std::vector<std::string> out;
  for (const auto& [key, value] : language().members()) {
    if (key.find(part) != std::string::npos && !is_off(value.json())) out.push_back(key);
  }
  return out;
}

void HfKeys::refuse_unread() const {
  const std::size_t before = language().faults().all().size();
  for (const JsonView& level : levels_) refuse_unread_in(level);
  if (language().faults().all().size() > before) {
    language().faults().add("(a key that changes neither weights nor work may be deleted)");
  }
}

bool HfKeys::was_read(const std::string& pointer) const {
  const std::string inside = pointer + "/";
  const auto next = read_.lower_bound(inside);
  return read_.count(pointer) > 0 || (next != read_.end() && next->rfind(inside, 0) == 0);
}

void HfKeys::refuse_unread_in(const JsonView& object) const {
  constexpr std::size_t enough = 50;  // each fault looks up its line
  for (const auto& [key, value] : object.members()) {
    if (language().faults().all().size() >= enough) return;
    if (contains(sections, key) && value.json().is_object()) {
      refuse_unread_in(value);
    } else if (!was_read(value.pointer()) && !is_off(value.json())) {
      if (const Suspicion* suspicion = suspicion_of(key)) {
        value.fault(fmt::format("not modelled: it sounds like {}", suspicion->meaning));
      }
    }
  }
}

}  // namespace zebroid
