#pragma once

#include <cstdint>
#include <vector>

#include "schedule/schedule.hpp"

namespace zebroid {

/// Which compute op of a program runs next when its stream is not in order: of those that can run
/// the first listed.
class WorkConserving {
 public:
  static constexpr std::uint32_t none = UINT32_MAX;

  WorkConserving(const Program& program, const Reads& reads);

  /// Back to the start of the iteration.
  void reset();
  /// Whether all that an op reads has ended.
  bool has_inputs(std::uint32_t op) const { return waits_[op] == 0; }
  /// The compute op that begins now, or none.
  std::uint32_t next();
  /// The one that began last.
  std::uint32_t running() const { return running_; }
  void end(std::uint32_t op);

 private:
  void add(std::uint32_t op);

  std::vector<char> is_compute_;             // [ops]
  std::vector<std::uint32_t> reads_;         // [ops] how many
  std::vector<std::uint32_t> first_reader_;  // [ops + 1] into readers_
  std::vector<std::uint32_t> readers_;
  std::vector<std::uint32_t> waits_;  // [ops] how many reads have not ended
  std::vector<std::uint32_t> ready_;  // a heap, the first listed on top
  std::uint32_t running_ = none;
};

}  // namespace zebroid
