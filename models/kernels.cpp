#include "models/kernels.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "core/error.hpp"

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
constexpr double core_backward_flops = 2.5;  // FlashAttention-2: five matrix products against two

double per_direction(Direction direction, double forward, double backward) {
  return direction == Direction::forward ? forward : backward;
}

KernelCall gemm_call(double m, double n, double k) {
  return {.op = MeasuredOp::gemm,
          .shape = {m, n, k},
          .flops = {2 * m * n * k},
          .bytes = {half_bytes * (m * k + k * n + m * n)},
          .size = std::min({m, n, k})};
}

KernelCall grouped_call(const Shape& shape, Direction direction) {
  const auto [rows, experts, hidden, ffn, unused] = shape;
  const double products = per_direction(direction, 1, 2);
  const double matrices = 3 * hidden * ffn;
  const double busy = std::min(experts, rows);  // experts without rows read nothing
  return {.op = MeasuredOp::grouped_gemm,
          .direction = direction,
          .shape = shape,
          .flops = {2 * rows * matrices * products},
          .bytes = {half_bytes * products *
                    (busy * matrices + rows * (2 * hidden + activation_passes * ffn))},
          .size = rows / std::max(busy, 1.0)};
}

KernelCall attention_call(const Shape& shape, Direction direction) {
  const auto [sequences, length, heads, kv_heads, head_dim] = shape;
  const double pairs = length * (length + 1) / 2;
  return {.op = MeasuredOp::attention,
          .direction = direction,
          .shape = shape,
          .flops = {per_direction(direction, 1, core_backward_flops) * sequences * heads * pairs *
                    4 * head_dim},
          .bytes = {half_bytes * per_direction(direction, 1, 2) * sequences * length * head_dim *
                    (2 * heads + 2 * kv_heads)},
          .size = length};
}

KernelCall elementwise_call(std::string_view kernel, double bytes, Direction direction) {
  return {.op = MeasuredOp::elementwise,
          .kernel = kernel,
          .direction = direction,
          .shape = {bytes},
          .bytes = {bytes}};
}

/// Kernels of one op, in its order.
class Calls {
 public:
  explicit Calls(Direction direction) : direction_(direction) {}

  /// [rows, in] times [in, out]; backward: the gradients of input and weights.
  void product(double rows, double in, double out, double count = 1) {
    if (in <= 0 || out <= 0) return;
    if (direction_ == Direction::forward) return add(gemm_call(rows, out, in), count);
    add(gemm_call(rows, in, out), count);
    add(gemm_call(in, out, rows), count);
  }
  /// `values` half-precision numbers read or written forward; the gradient's come on top backward.
  void elementwise(std::string_view kernel, double values, double count = 1) {
    bytes(kernel, values * half_bytes * per_direction(direction_, 1, backward_traffic), count);
  }
  void bytes(std::string_view kernel, double bytes, double count = 1) {
    if (bytes > 0) add(elementwise_call(kernel, bytes, direction_), count);
  }
  void add(const KernelCall& call, double count) { calls_.emplace_back(call).count = count; }
  std::vector<KernelCall> take() { return std::move(calls_); }

 private:
  Direction direction_;
  std::vector<KernelCall> calls_;
};

void add_ffn(Calls& calls, const MoeModel& model, double tokens, double width) {
  if (width <= 0) return;
  calls.product(tokens, model.hidden, (model.matrices() - 1) * width);
  calls.elementwise("silu_mul", activation_passes * tokens * width);
  calls.product(tokens, width, model.hidden);
}

KernelCall core_of(const MoeModel& model, std::uint32_t layer, Direction direction,
                   double sequences, double length) {
  const Attention& attention = model.layers[layer].attention;
  KernelCall core = attention_call(
      {sequences, length, static_cast<double>(attention.heads),
       static_cast<double>(attention.kv_heads), static_cast<double>(attention.head_dim)},
      direction);
  const Flops flops = attention_flops(model, layer, sequences, length).core *
                      per_direction(direction, 1, core_backward_flops);
  core.as_measured = flops == core.flops;
  core.flops = flops;
  return core;
}

}  // namespace

const std::vector<std::string>& elementwise_kernels() {
  static const std::vector<std::string> names = {
      "rms_norm", "add",   "rope",  "silu_mul",      "activation", "embedding",
      "permute",  "scale", "group", "cross_entropy", "adamw"};
  return names;
}

KernelCall kernel_call(MeasuredOp op, const Shape& shape, Direction direction,
                       std::string_view kernel) {
  switch (op) {
    case MeasuredOp::gemm:
      return gemm_call(shape[0], shape[1], shape[2]);
    case MeasuredOp::grouped_gemm:
      return grouped_call(shape, direction);
    case MeasuredOp::attention:
      return attention_call(shape, direction);
    case MeasuredOp::elementwise:
      return elementwise_call(kernel, shape[0], direction);
    default:
      throw Error(ErrorKind::internal, "a collective is no kernel");
  }
}

std::vector<KernelCall> attention_kernels(const MoeModel& model, std::uint32_t layer,
                                          Direction direction, double sequences,
                                          double sequence_length) {
  const double tokens = sequences * sequence_length;
  if (tokens <= 0) return {};
  const Layer& spec = model.layers[layer];
  const double hidden_values = tokens * model.hidden;
  Calls calls(direction);
  if (layer == 0) calls.elementwise("embedding", 2 * hidden_values);
  calls.elementwise("rms_norm", norm_passes * hidden_values, norms_per_layer);
  calls.elementwise("add", residual_passes * hidden_values, residuals_per_layer);
  const std::vector<Matrix> matrices = attention_matrices(model, layer);
  for (const Matrix& matrix : matrices) calls.product(tokens, matrix.in, matrix.out);
  const double rotated = 2.0 * (spec.attention.heads + spec.attention.kv_heads) *
                         spec.attention.head_dim;  // read and write queries and keys
  calls.elementwise("rope", tokens * rotated);
  calls.add(core_of(model, layer, direction, sequences, sequence_length), 1);
  add_ffn(calls, model, tokens, spec.dense_ffn);
  if (!spec.has_experts) return calls.take();
  calls.product(tokens, model.hidden, model.experts);
  calls.elementwise("permute", (permute_passes + model.top_k) * hidden_values, 2);
  add_ffn(calls, model, tokens, spec.shared_ffn);
  if (spec.shared_ffn > 0 && model.shared_expert_gate) calls.product(tokens, model.hidden, 1);
  return calls.take();
}

std::vector<KernelCall> expert_kernels(const MoeModel& model, Direction direction, double rows,
                                       double experts) {
  if (rows <= 0 || experts <= 0) return {};
  Calls calls(direction);
  const double each = rows / experts;
  calls.product(each, model.hidden, (model.matrices() - 1.0) * model.expert_ffn, experts);
  calls.product(each, model.expert_ffn, model.hidden, experts);
  calls.elementwise("silu_mul", activation_passes * rows * model.expert_ffn);
  calls.elementwise("scale", scale_passes * rows * model.hidden);
  calls.elementwise("group", group_passes / 2 * rows * model.hidden, 2);
  return calls.take();
}

KernelCall grouped_expert_kernel(const MoeModel& model, Direction direction, double rows,
                                 double experts) {
  KernelCall call = grouped_call(
      {rows, experts, static_cast<double>(model.hidden), static_cast<double>(model.expert_ffn)},
      direction);
  const Flops flops = expert_flops(model, rows) * per_direction(direction, 1, 2);
  call.as_measured = flops == call.flops;
  call.flops = flops;
  return call;
}

std::vector<KernelCall> head_kernels(const MoeModel& model, Direction direction, double tokens) {
  if (tokens <= 0) return {};
  Calls calls(direction);
  calls.elementwise("rms_norm", norm_passes * tokens * model.hidden);
  calls.product(tokens, model.hidden, model.vocabulary);
  calls.bytes("cross_entropy", per_direction(direction, logit_bytes_forward, logit_bytes_backward) *
                                   tokens * model.vocabulary);
  return calls.take();
}

std::vector<KernelCall> step_kernels(double parameters) {
  if (parameters <= 0) return {};
  Calls calls(Direction::forward);
  calls.bytes("adamw", step_bytes_per_parameter * parameters);
  return calls.take();
}

}  // namespace zebroid
