#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace zebroid {

/// Operations that are measured alone. Kernels run on one GPU, collectives over several.
enum class MeasuredOp : std::uint8_t {
  gemm,          ///< [m, k] times [k, n]
  grouped_gemm,  ///< a whole expert layer on one GPU: both products of the gated FFN, activation
  attention,     ///< causal core, without projections
  elementwise,   ///< memory-bound kernels, told apart by their kernel's name
  all_to_all,
  all_reduce,
  all_gather,
  reduce_scatter,
  broadcast,
  send_recv,
};
inline constexpr std::size_t measured_op_count = 10;
std::string_view name_of(MeasuredOp op);  ///< as above
bool is_collective(MeasuredOp op);

inline constexpr std::size_t most_axes = 5;
/// Sizes of an operation, one per axis of axes_of(op), the rest 0.
using Shape = std::array<double, most_axes>;

/// Names of the sizes that tell two runs of an operation apart:
///   gemm          m n k
///   grouped_gemm  rows experts hidden ffn      rows: token copies that this GPU's experts get
///   attention     sequences sequence_length heads kv_heads head_dim
///   elementwise   bytes                        read and written together
///   collectives   bytes ranks ranks_per_node   bytes: the size that nccl-tests prints
const std::vector<std::string_view>& axes_of(MeasuredOp op);

}  // namespace zebroid
