#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/units.hpp"
#include "models/measured.hpp"
#include "models/moe_model.hpp"

namespace zebroid {

enum class Direction : std::uint8_t { forward, backward };

/// A kernel that an op runs `count` times, one after the other.
struct KernelCall {
  MeasuredOp op = MeasuredOp::gemm;
  std::string_view kernel;  ///< of elementwise ops: rms_norm, add, rope, silu_mul, ...
  /// Of a GEMM always forward: its shape says it all.
  Direction direction = Direction::forward;
  Shape shape{};  ///< as measured; of one run
  double count = 1;
  Flops flops;      ///< of one run
  Bytes bytes;      ///< read and written by one run
  double size = 1;  ///< what decides how near the kernel comes to its peak rate
  /// False: the shape is the nearest that is measured (a sliding window, latent attention).
  bool as_measured = true;
};

/// Names of elementwise kernels. Modules run all but `activation`, that of an FFN without a gate.
const std::vector<std::string>& elementwise_kernels();

/// The kernel of an operation at a shape, run once.
KernelCall kernel_call(MeasuredOp op, const Shape& shape, Direction direction,
                       std::string_view kernel = "");

// What the modules of a training step run, without communication. Sizes may be fractional; nothing
// for 0 tokens, rows or parameters.

/// Norms, attention, gate, dense FFN and shared experts of one layer, permutation of the routed
/// tokens, at layer 0 also the embedding, for `sequences` sequences of `sequence_length` tokens.
std::vector<KernelCall> attention_kernels(const MoeModel& model, std::uint32_t layer,
                                          Direction direction, double sequences,
                                          double sequence_length);
/// `rows` token copies spread over `experts` experts that have rows, as two dense products each.
std::vector<KernelCall> expert_kernels(const MoeModel& model, Direction direction, double rows,
                                       double experts);
/// The same as one kernel.
KernelCall grouped_expert_kernel(const MoeModel& model, Direction direction, double rows,
                                 double experts);
/// Final norm, LM head and loss.
std::vector<KernelCall> head_kernels(const MoeModel& model, Direction direction, double tokens);
/// Unscaling, clipping and AdamW of `parameters` parameters.
std::vector<KernelCall> step_kernels(double parameters);

}  // namespace zebroid
