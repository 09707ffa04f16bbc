#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/json.hpp"

namespace zebroid {

/// What is thrown away in forward and computed again in backward. automatic = layer for ep and pp,
/// module for dist-ep and zebra.
enum class Recompute : std::uint8_t { automatic, none, module, layer };
enum class Optimizer : std::uint8_t { adamw, adamw_8bit };

/// Everything about a training run that is neither model nor cluster. Mixed half precision
/// throughout.
struct Training {
  std::uint32_t sequence_length = 4096;
  std::uint64_t global_batch_sequences = 0;  ///< 0 = by the default rule (docs/formats/scenario.md)
  Recompute recompute = Recompute::automatic;
  Optimizer optimizer = Optimizer::adamw;
  /// Each replica keeps a part of the optimizer states. Nothing = by the strategy: on for pp.
  std::optional<bool> optimizer_sharding;

  friend bool operator==(const Training&, const Training&) = default;
};

Training read_training(const JsonView& view);
Json to_json(const Training& training);

/// p[layer][expert]: share of a layer's routed copies that go to each expert, divided by top_k
/// copies per token; every row sums to 1 and no entry exceeds 1 / top_k. The same for all sources
/// and microbatches. Layers without experts are empty.
using Routing = std::vector<std::vector<double>>;

/// "uniform", "lognormal:SIGMA" (drawn once per layer from the seed), or a file with the tokens
/// that each expert got.
struct RoutingRequest {
  std::string spec = "uniform";
  std::uint64_t seed = 0;
  std::vector<std::vector<double>>
      tokens;  ///< [layers with experts][experts]; read from the file, else empty
};

/// {"spec", "seed", "tokens"} of a resolved scenario. Where spec names a file and there are no
/// tokens, these are read from it:
/// {"schema": "zebroid.routing/1", "tokens": [[...] per layer with experts]}. Throws Error(input)
/// when that fails.
RoutingRequest read_routing(const JsonView& view);
Json to_json(const RoutingRequest& request);

/// Throws Error(input) when the request does not fit the model.
Routing make_routing(const RoutingRequest& request, const std::vector<bool>& layer_has_experts,
                     std::uint32_t experts, std::uint32_t top_k);

}  // namespace zebroid
