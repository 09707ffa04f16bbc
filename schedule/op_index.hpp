#pragma once

#include <array>
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
                                            std::uint32_t microbatch) const {
    if (!has_.at(number_of(work, pass))) return {};  // asked for far more often than listed
    const std::uint32_t kind = kinds_.find(key_of(work, pass, layer, microbatch));
    if (kind == KeyIndex::none) return {};
    return std::span(order_).subspan(first_[kind], first_[kind + 1] - first_[kind]);
  }
  /// Those with the layer, microbatch and chunk of `like`; one in a program without faults.
  std::span<const std::uint32_t> one_chunk(Work work, Pass pass, const Op& like) const;

 private:
  static constexpr std::size_t passes = 3;
  static constexpr std::size_t works = static_cast<std::size_t>(Work::gather) + 1;

  static constexpr std::size_t number_of(Work work, Pass pass) {
    return static_cast<std::size_t>(work) * passes + static_cast<std::size_t>(pass);
  }
  static constexpr std::uint64_t key_of(Work work, Pass pass, std::uint32_t layer,
                                        std::uint32_t microbatch) {
    return static_cast<std::uint64_t>(work) << 56U | static_cast<std::uint64_t>(pass) << 48U |
           static_cast<std::uint64_t>(layer) << 16U | microbatch;
  }

  const Program& program_;
  KeyIndex kinds_;                    // of (work, pass, layer, microbatch)
  std::vector<std::uint32_t> first_;  // [kinds + 1] into order_
  std::vector<std::uint32_t> order_;  // ops by kind, then chunk
  std::array<bool, works * passes> has_{};
};

}  // namespace zebroid
