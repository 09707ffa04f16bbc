#pragma once

#include <cstdint>
#include <vector>

#include "models/hf_keys.hpp"

namespace zebroid {

/// How far back the attention of a layer sees.
enum class Reach { full, sliding, chunked };
using Reaches = std::vector<Reach>;

/// Which layers have a window when no key lists them.
enum class Windows {
  everywhere,   ///< all from max_window_layers on slide
  alternating,  ///< layers 0, 2, 4, ... slide
  chunks,  ///< Llama 4: all but those without rotary positions, every fourth, see only their chunk
};

/// [layers]. Part of read_model, as the next one.
Reaches read_reaches(HfKeys& keys, Windows windows, std::uint32_t layers);

/// [layers] true where the layer has routed experts: what all keys on it allow. Adds a fault where
/// two contradict.
std::vector<bool> read_moe_layers(HfKeys& keys, std::uint32_t layers);

}  // namespace zebroid
