#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "schedule/amounts.hpp"
#include "schedule/step_layout.hpp"

namespace zebroid {

/// How many token copies of each owner go to each expert, as the owners find out in forward. Others
/// read what an exchange or an op of theirs has told them is there.
class RouteCounts {
 public:
  explicit RouteCounts(const Schedule& schedule);

  /// [chunks, experts] of one owner's tokens in a layer and microbatch.
  std::span<std::uint32_t> of(RankId owner, std::uint32_t layer, std::uint32_t microbatch);
  std::span<const std::uint32_t> of(RankId owner, std::uint32_t layer,
                                    std::uint32_t microbatch) const;
  /// Copies that go to an expert in the op's layer, microbatch and chunk.
  std::uint32_t copies(RankId owner, const Op& op, std::uint32_t e) const {
    return of(owner, op.layer, op.microbatch)[op.chunk * experts_ + e];
  }
  /// All copies of a layer that went to each expert, [experts].
  std::vector<double> tokens(std::uint32_t layer) const;

 private:
  std::size_t first(RankId owner, std::uint32_t layer, std::uint32_t microbatch) const {
    return ((owner.value * layers_ + layer) * microbatches_ + microbatch) * chunks_ * experts_;
  }

  std::size_t layers_, microbatches_, chunks_, experts_;
  std::vector<std::uint32_t> counts_;
};

/// Tokens and rows as a run counted them.
class CountedAmounts final : public Amounts {
 public:
  /// All outlive this. length: tokens of a sequence.
  CountedAmounts(const Schedule& schedule, const StepLayout& layout, const RouteCounts& counts,
                 std::size_t length)
      : schedule_(schedule), layout_(layout), counts_(counts), length_(length) {}

  double tokens(RankId rank, const Op& op) const override;
  double rows(RankId rank, const Op& op) const override;
  /// Of one expert.
  std::size_t rows_of(RankId rank, const Op& op, std::uint32_t e) const;

 private:
  const Schedule& schedule_;
  const StepLayout& layout_;
  const RouteCounts& counts_;
  std::size_t length_;
};

}  // namespace zebroid
