#pragma once

#include "schedule/schedule.hpp"

namespace zebroid {

/// How many tokens and rows the ops of a schedule handle: all that the size of what they leave in
/// memory depends on, beside the model. A prediction expects them (PredictedLoad), an executor
/// counts them.
class Amounts {
 public:
  Amounts() = default;
  Amounts(const Amounts&) = delete;
  Amounts& operator=(const Amounts&) = delete;
  virtual ~Amounts() = default;

  /// Tokens of the op's microbatch (and chunk, for dispatch, expert and combine) that the rank
  /// owns.
  virtual double tokens(RankId rank, const Op& op) const = 0;
  /// Token copies that an expert op computes; 0 for other ops.
  virtual double rows(RankId rank, const Op& op) const = 0;
  /// The first rank with the program of `rank` whose answers are those of `rank`.
  virtual RankId like(RankId rank) const { return rank; }
};

}  // namespace zebroid
