#pragma once

#include <cstdint>
#include <vector>

#include "backend/host/rank_state.hpp"

namespace zebroid {

/// What the compute ops of one rank do, one at a time.
template <class Real>
class ComputeOps {
 public:
  /// The state outlives this.
  explicit ComputeOps(RankState<Real>& state);

  /// Before a step; steps count from 0.
  void begin(std::uint64_t step);
  /// An op of the compute stream whose values have been taken.
  void run(std::uint32_t op);
  /// Sum of the losses of the rank's tokens in each microbatch of the last step; 0 without head.
  const std::vector<double>& losses() const { return losses_; }

 private:
  AttentionValues<Real> attention_values_of(std::uint32_t op) const;
  AttentionInput<Real> attention_input(const Op& op) const;
  Text::Tokens text(const Op& op) const;

  void attention(std::uint32_t op);
  void load_input(const Op& op, Real* x) const;
  void choose(const Op& op, const AttentionValues<Real>& values);
  void sort_rows(std::uint32_t op, const AttentionValues<Real>& values);
  void attention_backward(std::uint32_t op);
  void head(std::uint32_t op);

  /// What the experts of a rank read in an op, expert after expert.
  struct ExpertRows {
    const Real* x = nullptr;
    const Real* weight = nullptr;
    std::vector<Real> own_weight;  ///< where the copies are this rank's own
  };
  ExpertRows expert_rows(const Op& op) const;
  Real* expert_values(std::uint32_t op) const;
  void expert(std::uint32_t op);
  const Real* expert_gradient(std::uint32_t op) const;
  void expert_backward(std::uint32_t op);

  std::vector<Real*> gradients_for(std::uint32_t op, const std::vector<Held<Real>*>& arrays) const;
  void add_early(std::uint32_t op, const std::vector<Held<Real>*>& arrays) const;

  RankState<Real>& state_;
  const StepJob& job_;
  std::uint64_t step_ = 0;
  std::vector<std::vector<Real>> bias_;  // [layers][experts]
  std::vector<double> losses_;           // [microbatches]
};

}  // namespace zebroid
