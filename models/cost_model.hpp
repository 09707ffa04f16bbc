#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "core/json.hpp"
#include "core/units.hpp"
#include "models/gpu.hpp"
#include "models/moe_model.hpp"

namespace zebroid {

/// What a predicted time rests on, best first.
enum class Evidence : std::uint8_t { measured, interpolated, extrapolated, roofline };
inline constexpr std::size_t evidence_count = 4;
std::string_view name_of(Evidence evidence);

/// A predicted time, split by what its parts rest on.
struct Cost {
  std::array<Seconds, evidence_count> by_evidence;

  Seconds total() const;
  Cost& operator+=(const Cost& other);
};

/// Classes of kernels whose efficiency is known or assumed per GPU kind.
enum class KernelClass : std::uint8_t { gemm, attention_core, memory_bound };
inline constexpr std::size_t kernel_class_count = 3;
std::string_view name_of(KernelClass kernel);

/// Time of a kernel of one class on one GPU kind, with x its size (rows of a GEMM, sequence length
/// of the attention core):
///   launch + work / (peak * efficiency) * (1 + half_size / x).
struct KernelCalibration {
  double efficiency = 0;  ///< of half_peak or of memory_bandwidth, for large sizes
  double half_size = 0;   ///< size at which half of that efficiency is reached
  double backward = 1;    ///< rate of the backward kernel over the forward kernel's
  Seconds launch;         ///< constant part of one kernel
  Evidence evidence = Evidence::roofline;
  std::string source;

  friend bool operator==(const KernelCalibration&, const KernelCalibration&) = default;
};

/// Efficiencies by GPU kind and kernel class; kinds that are not listed take the defaults, which
/// are roofline.
struct Calibration {
  std::map<std::string, std::array<KernelCalibration, kernel_class_count>> gpus;

  KernelCalibration of(const GpuSpec& gpu, KernelClass kernel) const;
};

/// The shipped files of configs/calibrations, then `extra` files over them. Throws Error(input).
Calibration load_calibration(const std::vector<std::string>& extra);
/// {gpu: {class: {...}}}, as a resolved scenario holds it.
Calibration read_calibration(const JsonView& view);
Json to_json(const Calibration& calibration, const std::vector<GpuSpec>& kinds);

enum class Direction : std::uint8_t { forward, backward };

/// Seconds of the module-level ops of one model on one GPU kind, at full rate, without
/// communication. Recomputation costs as forward. All sizes may be fractional; 0 tokens, rows or
/// parameters cost nothing. Sources: FLOPs from the architecture (models/moe_model.hpp), rates from
/// the calibration, element-wise traffic counted per module in cost_model.cpp.
class CostModel {
 public:
  CostModel(const MoeModel& model, const GpuSpec& gpu, const Calibration& calibration);

  /// Norms, attention, gate, dense FFN and shared experts of one layer, permutation of the routed
  /// tokens, at layer 0 also the embedding, for `sequences` sequences of `sequence_length` tokens.
  Cost attention(std::uint32_t layer, Direction direction, double sequences,
                 double sequence_length) const;
  /// Grouped SwiGLU GEMMs over `rows` token copies spread over `experts` experts that have rows.
  Cost expert(Direction direction, double rows, double experts) const;
  /// Final norm, LM head and loss.
  Cost head(Direction direction, double tokens) const;
  /// Unscaling, clipping and AdamW of `parameters` parameters.
  Cost step(double parameters) const;

 private:
  Cost gemms(Flops flops, Bytes weights, double rows, double kernels) const;
  Cost attention_core(Flops forward_flops, Direction direction, double sequence_length) const;
  Cost memory_bound(Bytes traffic, double kernels) const;
  const KernelCalibration& of(KernelClass kernel) const {
    return kernels_[static_cast<std::size_t>(kernel)];
  }

  const MoeModel& model_;
  const GpuSpec& gpu_;
  std::array<KernelCalibration, kernel_class_count> kernels_;
};

}  // namespace zebroid
