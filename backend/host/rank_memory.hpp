#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "backend/host/arena.hpp"
#include "models/moe_model.hpp"
#include "schedule/values.hpp"

namespace zebroid {

/// An op reads what another one has not left: that one was lost.
struct MissingValue {
  std::uint32_t writer = 0;  ///< index into the program
};

/// The values of one rank's program (schedule/values.hpp) as blocks of its arena: taken by their
/// writers, given back when all that need them have ended. Activations, statistics and weights are
/// all of type Real.
template <class Real>
class RankMemory {
 public:
  /// All outlive this.
  RankMemory(const MoeModel& model, const Program& program, const Values& values, Arena& arena);
  RankMemory(const RankMemory&) = delete;
  RankMemory& operator=(const RankMemory&) = delete;
  ~RankMemory() = default;

  /// Before a step, while no op runs.
  void begin();
  /// What the op writes. Throws OutOfMemory.
  void take(std::uint32_t op, const Counts& counts);
  /// The op has ended: gives back what nobody needs any more. Throws Error(internal) when an op
  /// wrote beyond its value.
  void finish(std::uint32_t op);

  /// Whether the op writes such a value.
  bool has(std::uint32_t op, What what) const;
  /// Its numbers. Throws MissingValue when the op has not written it.
  Real* numbers(std::uint32_t op, What what) const;
  /// Its whole numbers.
  std::int32_t* whole_numbers(std::uint32_t op, What what) const;

  /// Ops whose early gradients the op adds up, in their turns.
  std::vector<std::uint32_t> early_before(std::uint32_t op) const;

  /// Bytes that each value took in the last step, 0 where it was not written.
  const std::vector<double>& value_bytes() const { return value_bytes_; }

 private:
  std::uint32_t value_of(std::uint32_t op, What what) const;
  std::byte* block(std::uint32_t op, What what, std::uint32_t& value) const;
  void need_one_less(std::uint32_t value);

  const MoeModel& model_;
  const Program& program_;
  const Values& values_;
  Arena& arena_;
  std::vector<std::byte*> blocks_;                           // [values]
  std::unique_ptr<std::atomic<std::uint32_t>[]> needed_by_;  // [values] ops that have not ended
  std::vector<std::size_t> whole_at_;                        // [values] byte of the whole numbers
  std::vector<double> value_bytes_;                          // [values]
};

}  // namespace zebroid
