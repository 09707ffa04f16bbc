#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/hash.hpp"
#include "schedule/schedule.hpp"

namespace zebroid {

/// The ops of a program by what they do. The program outlives it.
class OpIndex {
 public:
  explicit OpIndex(const Program& program);

  /// All chunks of (work, pass, layer, microbatch), ascending by chunk; indices into the program.
  std::span<const std::uint32_t> all_chunks(Work work, Pass pass, std::uint32_t layer,
                                            std::uint32_t microbatch) const;
  /// Those with the layer, microbatch and chunk of `like`; one in a program without faults.
  std::span<const std::uint32_t> one_chunk(Work work, Pass pass, const Op& like) const;

 private:
  const Program& program_;
  KeyIndex kinds_;                    // of (work, pass, layer, microbatch)
  std::vector<std::uint32_t> first_;  // [kinds + 1] into order_
  std::vector<std::uint32_t> order_;  // ops by kind, then chunk
};

}  // namespace zebroid
