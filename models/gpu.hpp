#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/json.hpp"
#include "core/units.hpp"

namespace zebroid {

/// A kind of GPU, by datasheet. Rates that kernels reach are the cost model's
/// (models/cost_model.hpp).
struct GpuSpec {
  std::string name;
  std::string like;               ///< catalogue GPU that it was described by; "" = none
  double compute_capability = 0;  ///< 7.0, 8.6, ...
  FlopsPerSecond half_peak;       ///< dense FP16 tensor-core rate with FP32 accumulation
  FlopsPerSecond single_peak;     ///< FP32 outside tensor cores
  BytesPerSecond memory_bandwidth;
  Bytes memory;
  BytesPerSecond link;          ///< NVLink per direction to GPUs of the same node; 0 = none
  std::uint32_t link_gpus = 0;  ///< GPUs that one NVLink joins: 2 for a bridge; 0 = all of the node
  BytesPerSecond pcie;          ///< per direction
  bool bf16 = false;
  bool flash_attention = false;  ///< FlashAttention-2 runs (compute capability 8.0 or newer)
  /// Compute runs at 1 - this while an exchange is launched and not ended.
  double sm_share_of_exchanges = 0;
  std::optional<double> watts;
  std::optional<double> price_per_hour;  ///< in the currency of the user's choice
  std::string source;                    ///< where the figures come from

  friend bool operator==(const GpuSpec&, const GpuSpec&) = default;
};

/// The GPUs shipped in configs/gpus.json, in the order of that file.
const std::vector<GpuSpec>& gpu_catalogue();
/// Where `name` stands in `gpus`: the same name, else the first that differs in case only.
std::optional<std::size_t> position_of(const std::string& name, const std::vector<GpuSpec>& gpus);
/// The names in `gpus` that go on where `name` ends: V100-16GB, V100-32GB, ... for "V100".
std::vector<std::string> variants_of(const std::string& name, const std::vector<GpuSpec>& gpus);
/// What to tell a person who named a GPU that is not in `gpus`: its variants, else the nearest
/// name.
std::string unknown_gpu(const std::string& name, const std::vector<GpuSpec>& gpus);
/// One of the catalogue, ignoring case. Throws Error(input) with the nearest name when there is
/// none.
const GpuSpec& find_gpu(const std::string& name);

/// Reads one GPU. With "like": NAME, or when the catalogue has a GPU of its own name, absent keys
/// are those of the catalogue, so that a hypothetical GPU is a few keys.
GpuSpec read_gpu(const JsonView& view, const std::string& name);
Json to_json(const GpuSpec& gpu);  ///< complete but for the name; read_gpu gives back an equal spec

}  // namespace zebroid
