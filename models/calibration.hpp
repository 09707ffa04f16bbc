#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/json.hpp"
#include "core/units.hpp"
#include "models/collectives.hpp"
#include "models/evidence.hpp"
#include "models/gpu.hpp"
#include "models/link_rates.hpp"
#include "models/measured.hpp"
#include "models/measured_table.hpp"

namespace zebroid {

/// Classes of kernels whose efficiency is known or assumed per GPU kind.
enum class KernelClass : std::uint8_t { gemm, grouped_gemm, attention_core, memory_bound };
inline constexpr std::size_t kernel_class_count = 4;
std::string_view name_of(KernelClass kernel);
KernelClass class_of(MeasuredOp op);  ///< of an operation that is no collective

/// Time of a kernel of one class on one GPU kind, with x its size (the least dimension of a GEMM,
/// rows per expert of a grouped one, tokens of a sequence of attention):
///   (launch + max(FLOPs / (peak * efficiency) * (1 + half_size / x), bytes / memory rate)) / rate.
/// The memory rate is memory_bandwidth times memory_efficiency.
struct KernelCurve {
  double efficiency = 0;  ///< of half_peak or of memory_bandwidth, for large sizes; 0 = no curve
  double half_size = 0;   ///< size at which half of that efficiency is reached
  double memory_efficiency = 0;  ///< 0 = the efficiency of the class memory_bound
  double backward = 1;           ///< rate of the backward kernel over the forward kernel's
  Seconds launch;                ///< constant part of one kernel
  double rate = 1;  ///< what-if: all kernels of the class, measured ones too, run at this multiple
  Evidence evidence = Evidence::roofline;
  std::string source;

  friend bool operator==(const KernelCurve&, const KernelCurve&) = default;
};

/// What is known of the kernels of one GPU kind.
struct GpuCalibration {
  std::array<KernelCurve, kernel_class_count> curves;
  std::vector<MeasuredTable> tables;  ///< by key, each once
  std::vector<CollectiveFit> collectives;

  friend bool operator==(const GpuCalibration&, const GpuCalibration&) = default;
};

/// Calibrations by GPU kind; kinds that are not listed take the defaults, which are roofline.
struct Calibration {
  std::map<std::string, GpuCalibration> gpus;  ///< "A40+T4": collectives over both kinds
  std::vector<LinkRate> links;                 ///< by link, then Gbps

  /// Nothing for grouped_gemm where nobody calibrated it; every other class has a curve, or
  /// Error(input).
  std::optional<KernelCurve> curve(const GpuSpec& gpu, KernelClass kernel) const;
  /// Tables of the kind of this name; none where it has none.
  const std::vector<MeasuredTable>& tables(const std::string& gpu) const;
};

/// The names in it of these kinds, of GPUs that they are like, and of groups of several of both.
std::vector<std::string> names_of(const Calibration& calibration,
                                  const std::vector<GpuSpec>& kinds);

/// The shipped files of configs/calibrations, then `extra` files over them: a later file's curves,
/// tables and links replace those of the same class or key. Throws Error(input).
Calibration load_calibration(const std::vector<std::string>& extra);
/// {gpu: {class: {...}, "tables": [...]}, "links": [...]}, as a resolved scenario holds it.
Calibration read_calibration(const JsonView& view);
/// For these kinds, every default written out, with the tables and collectives of kinds that they
/// are like and of groups of several, and all links.
Json to_json(const Calibration& calibration, const std::vector<GpuSpec>& kinds);
/// One kind of a calibration file: {gpus, notes, kernels, tables}.
Json to_json(const GpuCalibration& calibration, const std::vector<std::string>& gpus,
             const std::string& notes);

}  // namespace zebroid
