#pragma once

#include <string>

#include "models/kernels.hpp"

namespace zebroid {

/// One measurable operation as a person writes it: "gemm m=4096 n=6144 k=4096", "attention
/// sequences=1 sequence_length=4096 heads=32 kv_heads=8 head_dim=128 direction=backward",
/// "elementwise kernel=rms_norm bytes=33554432", "all_to_all bytes=1048576 ranks=8
/// ranks_per_node=1".
struct KernelSpec {
  MeasuredOp op = MeasuredOp::gemm;
  std::string kernel;  ///< of elementwise ones
  Direction direction = Direction::forward;
  Shape shape{};
};

std::string text_of(const KernelSpec& spec);
/// Throws Error(input) that says what was expected.
KernelSpec parse_kernel_spec(const std::string& text);

}  // namespace zebroid
