#include "models/cost_model.hpp"

#include <algorithm>

namespace zebroid {
namespace {

constexpr double half_bytes = 2;
constexpr double single_bytes = 4;

// Passes over a [tokens, hidden] activation in half precision, a read or a write each, of unfused
// but not naive kernels.
constexpr double norm_passes = 2;      // read, write
constexpr double residual_passes = 3;  // read both, write sum
constexpr double permute_passes = 1;   // read (or write) once, and once more per routed copy
constexpr double norms_per_layer = 2;
constexpr double residuals_per_layer = 2;
constexpr double activation_passes =
    3;                              // SwiGLU: read gate and up, write product, each [rows, ffn]
constexpr double scale_passes = 2;  // routing weight: read, write, each [rows, hidden]
constexpr double group_passes = 2;  // sorting received rows by expert, and back
constexpr double backward_traffic =
    2;  // every element-wise backward reads its gradient beside its input
// The loss reads half-precision logits, keeps them in single precision for softmax, and writes
// half-precision gradients.
constexpr double logit_bytes_forward = 2 * half_bytes + 2 * single_bytes;
constexpr double logit_bytes_backward = single_bytes + half_bytes;
// AdamW in mixed precision: reads gradient (2), master weight, both moments (4 each); writes these
// three and the half-precision weight; the norm before reads the gradient once more.
constexpr double step_bytes_per_parameter = 2 + 3 * 4 + 3 * 4 + 2 + 2;

// Kernels launched, for the constant part.
constexpr double attention_gemms = 4;  // qkv, output, gate, and one for latent or dense parts
constexpr double attention_elementwise = 8;

double per_direction(Direction direction, double forward, double backward) {
  return direction == Direction::forward ? forward : backward;
}

}  // namespace

std::string_view name_of(Evidence evidence) {
  constexpr std::array<std::string_view, evidence_count> names = {"measured", "interpolated",
                                                                  "extrapolated", "roofline"};
  return names.at(static_cast<std::size_t>(evidence));
}

std::string_view name_of(KernelClass kernel) {
  constexpr std::array<std::string_view, kernel_class_count> names = {"gemm", "attention_core",
                                                                      "memory_bound"};
  return names.at(static_cast<std::size_t>(kernel));
}

Seconds Cost::total() const {
  Seconds sum;
  for (const Seconds part : by_evidence) sum += part;
  return sum;
}

Cost& Cost::operator+=(const Cost& other) {
  for (std::size_t e = 0; e < evidence_count; ++e) by_evidence.at(e) += other.by_evidence.at(e);
  return *this;
}

CostModel::CostModel(const MoeModel& model, const GpuSpec& gpu, const Calibration& calibration)
    : model_(model), gpu_(gpu) {
  for (std::size_t k = 0; k < kernel_class_count; ++k) {
    kernels_.at(k) = calibration.of(gpu, static_cast<KernelClass>(k));
  }
}

Cost CostModel::gemms(Flops flops, Bytes weights, double rows, double kernels) const {
  const KernelCalibration& gemm = of(KernelClass::gemm);
  const KernelCalibration& memory = of(KernelClass::memory_bound);
  const Seconds math =
      flops / (gpu_.half_peak * gemm.efficiency) * (1 + gemm.half_size / std::max(rows, 1.0));
  const Seconds traffic = weights / (gpu_.memory_bandwidth * memory.efficiency);
  Cost cost;
  cost.by_evidence.at(static_cast<std::size_t>(gemm.evidence)) =
      std::max(math, traffic) + gemm.launch * kernels;
  return cost;
}

Cost CostModel::attention_core(Flops forward_flops, Direction direction,
                               double sequence_length) const {
  constexpr double backward_flops = 2.5;  // FlashAttention-2: five matrix products against two
  const KernelCalibration& core = of(KernelClass::attention_core);
  const Flops flops = forward_flops * per_direction(direction, 1, backward_flops);
  const double rate = core.efficiency * per_direction(direction, 1, core.backward);
  Cost cost;
  cost.by_evidence.at(static_cast<std::size_t>(core.evidence)) =
      flops / (gpu_.half_peak * rate) * (1 + core.half_size / std::max(sequence_length, 1.0)) +
      core.launch;
  return cost;
}

Cost CostModel::memory_bound(Bytes traffic, double kernels) const {
  const KernelCalibration& memory = of(KernelClass::memory_bound);
  Cost cost;
  cost.by_evidence.at(static_cast<std::size_t>(memory.evidence)) =
      traffic / (gpu_.memory_bandwidth * memory.efficiency) + memory.launch * kernels;
  return cost;
}

Cost CostModel::attention(std::uint32_t layer, Direction direction, double sequences,
                          double sequence_length) const {
  const double tokens = sequences * sequence_length;
  if (tokens <= 0) return {};
  const Layer& spec = model_.layers[layer];
  const ForwardFlops flops = attention_flops(model_, layer, sequences, sequence_length);
  const double matrix_products =
      per_direction(direction, 1, 2);  // backward: input and weight gradients
  const LayerParameters parameters = layer_parameters(model_, layer);
  Cost cost = gemms((flops.projections + flops.router + flops.dense) * matrix_products,
                    Bytes{parameters.without_experts() * half_bytes}, tokens,
                    attention_gemms * matrix_products);
  cost += attention_core(flops.core, direction, sequence_length);

  const double routed = spec.has_experts ? model_.top_k : 0;
  const double hidden_passes = norm_passes * norms_per_layer +
                               residual_passes * residuals_per_layer +
                               (spec.has_experts ? 2 * (permute_passes + routed) : 0) +
                               (layer == 0 ? 2 : 0);  // embedding: read the row, write it
  const double rotated = 2.0 * (spec.attention.heads + spec.attention.kv_heads) *
                         spec.attention.head_dim;  // RoPE: read and write queries and keys
  const double ffn = activation_passes * (spec.dense_ffn + spec.shared_ffn);
  const double values = hidden_passes * model_.hidden + rotated + ffn;
  cost += memory_bound(
      Bytes{tokens * values * half_bytes * per_direction(direction, 1, backward_traffic)},
      attention_elementwise * per_direction(direction, 1, backward_traffic));
  return cost;
}

Cost CostModel::expert(Direction direction, double rows, double experts) const {
  if (rows <= 0 || experts <= 0) return {};
  const double matrix_products = per_direction(direction, 1, 2);
  const double matrices = model_.matrices();
  Cost cost = gemms(
      expert_flops(model_, rows) * matrix_products,
      Bytes{experts * matrices * model_.hidden * model_.expert_ffn * half_bytes * matrix_products},
      rows / experts, experts * matrices * matrix_products);
  const double values =
      (activation_passes * model_.expert_ffn + (scale_passes + group_passes) * model_.hidden) *
      per_direction(direction, 1, backward_traffic);
  cost += memory_bound(Bytes{rows * values * half_bytes},
                       4 * per_direction(direction, 1, backward_traffic));
  return cost;
}

Cost CostModel::head(Direction direction, double tokens) const {
  if (tokens <= 0) return {};
  const double matrix_products = per_direction(direction, 1, 2);
  Cost cost = gemms(head_flops(model_, tokens) * matrix_products,
                    Bytes{static_cast<double>(model_.vocabulary) * model_.hidden * half_bytes},
                    tokens, matrix_products);
  const double logit_bytes = per_direction(direction, logit_bytes_forward, logit_bytes_backward);
  const double norm_bytes =
      norm_passes * half_bytes * per_direction(direction, 1, backward_traffic);
  cost += memory_bound(
      Bytes{tokens * (logit_bytes * model_.vocabulary + norm_bytes * model_.hidden)}, 4);
  return cost;
}

Cost CostModel::step(double parameters) const {
  if (parameters <= 0) return {};
  return memory_bound(Bytes{parameters * step_bytes_per_parameter}, 4);
}

}  // namespace zebroid
