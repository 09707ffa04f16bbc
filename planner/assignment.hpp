#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/units.hpp"

namespace zebroid {

/// Deals `experts` experts to `holders` holders in contiguous runs of equal length; when they do
/// not divide, the longer runs start at holder `shift`, so that over the layers all holders get
/// equally many. Returns the holder of each.
std::vector<std::uint32_t> deal_evenly(std::uint32_t experts, std::uint32_t holders,
                                       std::uint32_t shift);

/// How the bubble that moving one chunk closes is computed (HeterMoE Algorithm 1, line 4): as its
/// prose and units say, or as printed, with n1 and n2 exchanged. Equal for M = N.
enum class SqueezeForm : std::uint8_t { prose, printed };

/// What gather-and-squeeze is given (HeterMoE §4.2, Algorithm 1). Times are forward times of one
/// microbatch and layer.
struct GatherAndSqueeze {
  std::uint32_t experts = 0;         ///< n, per layer
  std::uint32_t layers = 0;          ///< L, with experts
  std::uint32_t attention_gpus = 0;  ///< M
  std::uint32_t expert_gpus = 0;     ///< N
  Seconds attention;                 ///< T_A_attn
  Seconds experts_on_expert_gpu;     ///< T_E_exp: one expert GPU's experts, on it
  Seconds experts_on_attention_gpu;  ///< T_E_attn: the same rows' experts, on an attention GPU
  double most_offloaded =
      0;  ///< n_max, per expert GPU over all layers: more would not fit the attention GPUs
  double least_offloaded = 0;  ///< n_min: fewer would not fit the expert GPUs
  SqueezeForm form = SqueezeForm::prose;
};

/// Experts that each expert GPU gives away.
struct Offload {
  bool fits = true;  ///< n_min <= n_max, and a chunk exists (M | N or N | M) where n_min > 0
  std::vector<std::uint32_t> per_layer;  ///< [layers]; from each expert GPU
};

/// Algorithm 1: a greedy pass over the layers that accumulates bubbles and spends them on chunks of
/// experts.
Offload gather_and_squeeze(const GatherAndSqueeze& input);

}  // namespace zebroid
