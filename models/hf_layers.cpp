#include "models/hf_layers.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

namespace zebroid {
namespace {

using Range = HfKeys::Range;

constexpr Range layer_range{1, 10'000};
constexpr Range flag_range{0, 1};
constexpr std::string_view window_keys[] = {"sliding_window", "sliding_window_size"};
constexpr std::string_view leading_dense_keys[] = {"first_k_dense_replace", "num_dense_layers",
                                                   "moe_layer_num_skipped"};

std::string length_fault(std::uint32_t layers, std::size_t got) {
  return fmt::format("expected an element for each of the {} layers, got {}", layers, got);
}

Reaches reaches_by_type(const JsonView& types, std::uint32_t layers) {
  constexpr std::array<std::pair<std::string_view, Reach>, 3> known{
      {{"full_attention", Reach::full},
       {"sliding_attention", Reach::sliding},
       {"chunked_attention", Reach::chunked}}};
  Reaches out;
  for (const JsonView& element : types.elements()) {
    const std::string type = element.text();
    const auto* found = std::find_if(known.begin(), known.end(),
                                     [&type](const auto& entry) { return entry.first == type; });
    if (found == known.end()) {
      if (!type.empty()) element.fault(fmt::format("\"{}\" layers are not modelled", type));
      return Reaches(layers, Reach::full);
    }
    out.push_back(found->second);
  }
  if (out.size() != layers && types.faults().empty()) {
    types.fault(length_fault(layers, out.size()));
  }
  out.resize(layers, Reach::full);
  return out;
}

/// Layers with rotary positions see their chunk only, the others everything.
Reaches chunk_reaches(HfKeys& keys, std::uint32_t layers) {
  const std::uint32_t interval =
      keys.number_if_any("no_rope_layer_interval", layer_range).value_or(4);
  Reaches out(layers, Reach::full);
  if (!keys.find("attention_chunk_size")) return out;
  const auto listed = keys.find("no_rope_layers");
  std::optional<std::vector<std::uint32_t>> rope;
  if (listed && !is_off(listed->json())) {
    rope = keys.per_layer("no_rope_layers", layers, flag_range);
  }
  for (std::uint32_t i = 0; i < layers; ++i) {
    const bool has_rope = rope ? (*rope)[i] == 1 : (i + 1) % interval != 0;
    if (has_rope) out[i] = Reach::chunked;
  }
  return out;
}

Reaches window_reaches(HfKeys& keys, Windows windows, std::uint32_t layers) {
  Reaches out(layers, Reach::full);
  const bool slides = keys.flag("use_sliding_window", keys.find(window_keys).has_value());
  const auto first = keys.number_if_any("max_window_layers", {0, layer_range.high}).value_or(0);
  if (!slides) return out;
  for (std::uint32_t i = 0; i < layers; ++i) {
    const bool here = windows == Windows::alternating ? i % 2 == 0 : i >= first;
    if (here) out[i] = Reach::sliding;
  }
  return out;
}

/// One rule of a config: which layers it lets have experts.
struct MoeRule {
  JsonView source;
  bool exact = false;  ///< lists the layers, where other rules only exclude some
  std::vector<bool> mask;
};

class MoeLayers {
 public:
  MoeLayers(HfKeys& keys, std::uint32_t layers) : keys_(keys), layers_(layers) {}

  std::vector<bool> read() {
    leading_dense();
    frequency();
    steps();
    listed();
    start_and_end();
    std::vector<bool> out(layers_, true);
    for (const MoeRule& rule : rules_) {
      for (std::uint32_t i = 0; i < layers_; ++i) out[i] = out[i] && rule.mask[i];
    }
    for (const MoeRule& rule : rules_) {
      if (rule.exact && rule.mask != out) {
        rule.source.fault("lists other layers with experts than the other keys do");
      }
    }
    return out;
  }

 private:
  template <class Predicate>
  void add(const JsonView& source, bool exact, const Predicate& has_experts) {
    MoeRule rule{source, exact, std::vector<bool>(layers_)};
    for (std::uint32_t i = 0; i < layers_; ++i) rule.mask[i] = has_experts(i);
    rules_.push_back(std::move(rule));
  }

  void leading_dense() {
    const auto found = keys_.find(leading_dense_keys);
    if (!found) return;
    const auto dense = keys_.number_if_any(leading_dense_keys, {0, layers_});
    add(found->value, false, [&](std::uint32_t i) { return i >= *dense; });
  }

  void frequency() {
    const auto found = keys_.find("moe_layer_freq");
    if (!found) return;
    if (found->json().is_array()) {
      const auto flags = keys_.per_layer("moe_layer_freq", layers_, flag_range);
      if (flags) add(*found, true, [&](std::uint32_t i) { return (*flags)[i] == 1; });
      return;
    }
    const auto every = keys_.number_if_any("moe_layer_freq", layer_range);
    add(*found, false, [&](std::uint32_t i) { return i % *every == 0; });
  }

  void steps() {
    for (const std::string_view key :
         {"decoder_sparse_step", "interleave_moe_layer_step", "moe_layer_interval"}) {
      const auto found = keys_.find(key);
      const auto step = keys_.number_if_any(key, layer_range);
      if (step) add(*found, false, [&](std::uint32_t i) { return (i + 1) % *step == 0; });
    }
  }

  void listed() {
    if (const auto found = keys_.find("mlp_only_layers")) {
      const std::vector<bool> dense = layer_set(*found);
      add(*found, false, [&](std::uint32_t i) { return !dense[i]; });
    }
    if (const auto found = keys_.find("moe_layers"); found && !is_off(found->json())) {
      const std::vector<bool> sparse = layer_set(*found);
      add(*found, true, [&](std::uint32_t i) { return bool{sparse[i]}; });
    }
    const auto found = keys_.find("mlp_layer_types");
    if (!found || is_off(found->json())) return;
    std::vector<std::string> types;
    keys_.each(*found, [&types](const JsonView& element) {
      types.push_back(element.name_of("kind of layer", {"sparse", "dense"}));
    });
    if (types.size() != layers_) {
      if (keys_.clean()) found->fault(length_fault(layers_, types.size()));
      return;
    }
    add(*found, true, [&](std::uint32_t i) { return types[i] == "sparse"; });
  }

  void start_and_end() {
    const auto start = keys_.find("moe_layer_start_index");
    const auto end = keys_.find("moe_layer_end_index");
    if (start) {
      const std::int64_t first = start->integer(0, layers_ - 1);
      add(*start, false, [first](std::uint32_t i) { return i >= first; });
    }
    if (end && end->json() != -1) {
      const std::int64_t last = end->integer(0, layers_ - 1);
      add(*end, false, [last](std::uint32_t i) { return i <= last; });
    }
  }

  std::vector<bool> layer_set(const JsonView& list) const {
    std::vector<bool> out(layers_, false);
    keys_.each(list, [&](const JsonView& element) {
      out[static_cast<std::size_t>(element.integer(0, layers_ - 1))] = true;
    });
    return out;
  }

  HfKeys& keys_;
  std::uint32_t layers_;
  std::vector<MoeRule> rules_;
};

/// MiniMax: 1 is softmax attention, 0 linear attention.
void refuse_linear_attention(HfKeys& keys, std::uint32_t layers) {
  const auto found = keys.find("attn_type_list");
  const auto types = keys.per_layer("attn_type_list", layers, flag_range);
  if (found && types && std::count(types->begin(), types->end(), 0U) > 0) {
    found->fault("layers with linear attention (0) are not modelled");
  }
}

}  // namespace

Reaches read_reaches(HfKeys& keys, Windows windows, std::uint32_t layers) {
  refuse_linear_attention(keys, layers);
  Reaches otherwise = windows == Windows::chunks ? chunk_reaches(keys, layers)
                                                 : window_reaches(keys, windows, layers);
  if (const auto pattern = keys.per_layer("hybrid_layer_pattern", layers, flag_range)) {
    Reaches out(layers, Reach::full);
    for (std::uint32_t i = 0; i < layers; ++i) {
      if ((*pattern)[i] == 1) out[i] = Reach::sliding;
    }
    return out;
  }
  const auto types = keys.find("layer_types");
  if (!types || is_off(types->json())) return otherwise;
  Reaches out = reaches_by_type(*types, layers);
  const auto slides = keys.find("use_sliding_window");
  if (slides && is_off(slides->json()) && std::count(out.begin(), out.end(), Reach::sliding) > 0) {
    types->fault("lists layers with a sliding window, but \"use_sliding_window\" is false");
  }
  return out;
}

std::vector<bool> read_moe_layers(HfKeys& keys, std::uint32_t layers) {
  return MoeLayers(keys, layers).read();
}

}  // namespace zebroid
