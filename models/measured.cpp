#include "models/measured.hpp"

namespace zebroid {

std::string_view name_of(MeasuredOp op) {
  constexpr std::array<std::string_view, measured_op_count> names = {
      "gemm",       "grouped_gemm", "attention",      "elementwise", "all_to_all",
      "all_reduce", "all_gather",   "reduce_scatter", "broadcast",   "send_recv"};
  return names.at(static_cast<std::size_t>(op));
}

bool is_collective(MeasuredOp op) { return op >= MeasuredOp::all_to_all; }

const std::vector<std::string_view>& axes_of(MeasuredOp op) {
  static const std::vector<std::string_view> gemm = {"m", "n", "k"};
  static const std::vector<std::string_view> grouped = {"rows", "experts", "hidden", "ffn"};
  static const std::vector<std::string_view> attention = {"sequences", "sequence_length", "heads",
                                                          "kv_heads", "head_dim"};
  static const std::vector<std::string_view> elementwise = {"bytes"};
  static const std::vector<std::string_view> collective = {"bytes", "ranks", "ranks_per_node"};
  switch (op) {
    case MeasuredOp::gemm:
      return gemm;
    case MeasuredOp::grouped_gemm:
      return grouped;
    case MeasuredOp::attention:
      return attention;
    case MeasuredOp::elementwise:
      return elementwise;
    default:
      return collective;
  }
}

}  // namespace zebroid
