#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "backend/host/arena.hpp"
#include "backend/host/blocks.hpp"
#include "backend/host/step_job.hpp"

namespace zebroid {

/// Adds gradients of microbatches, or of their chunks, in their order, whichever ends first: one
/// that ends early is kept apart until its turn.
template <class Real>
class InOrder {
 public:
  /// The `turn`-th one: `add` adds to the array that it is given.
  template <class Add>
  void run(std::uint32_t turn, Real* into, std::size_t size, const Add& add) {
    if (turn != next_) {
      std::vector<Real>& apart = early_[turn];
      apart.assign(size, 0);
      add(apart.data());
      return;
    }
    add(into);
    for (++next_; !early_.empty() && early_.begin()->first == next_; ++next_) {
      const std::vector<Real>& apart = early_.begin()->second;
      for (std::size_t i = 0; i < size; ++i) into[i] += apart[i];
      early_.erase(early_.begin());
    }
  }
  void begin() {
    next_ = 0;
    early_.clear();
  }

 private:
  std::uint32_t next_ = 0;
  std::map<std::uint32_t, std::vector<Real>> early_;
};

/// A layer's shared parameters, or an expert, on one rank: flat arrays.
template <class Real>
struct Held {
  std::vector<Tensor> tensors;
  std::size_t size = 0;
  Real* values = nullptr;
  Real* gradient = nullptr;
  Interval part;            ///< elements whose optimizer states are here
  Real* moments = nullptr;  ///< [2, part]
  Interval summed;          ///< elements whose gradient this rank has from all others after sums
  InOrder<Real> turns;      ///< of attention, or of the expert
  InOrder<Real> head_turns;
};

/// Parameters that one rank holds, with gradients and AdamW states, in its arena.
template <class Real>
class RankParameters {
 public:
  /// Starts parameters from the job's seed. All outlive this. Throws OutOfMemory.
  RankParameters(const StepJob& job, const NormParts& norm, RankId rank, Arena& arena);
  RankParameters(const RankParameters&) = delete;
  RankParameters& operator=(const RankParameters&) = delete;
  ~RankParameters();

  /// Before a step: gradients are zero.
  void begin();

  /// nullptr where the rank does not hold them.
  Held<Real>* shared(std::uint32_t layer);
  Held<Real>* expert(std::uint32_t layer, std::uint32_t e);
  const Held<Real>* shared(std::uint32_t layer) const;
  const Held<Real>* expert(std::uint32_t layer, std::uint32_t e) const;
  /// Room for the gradient of one tensor, for the compute stream.
  Real* scratch() { return scratch_; }

  /// Parts of the squared norm of all gradients, [parts]: at first this rank's, zero elsewhere.
  std::vector<double>& norm_values();
  /// AdamW on this rank's parts, when norm_values() are those of all ranks. A norm that is no
  /// number changes nothing.
  void update(std::uint64_t step);
  double gradient_norm() const { return gradient_norm_; }
  std::size_t bytes() const { return bytes_; }

 private:
  Real* take(std::size_t elements);
  void fill_norm();
  Held<Real> hold(std::vector<Tensor> tensors, std::uint64_t place, Interval part, Interval summed);
  void update(Held<Real>& held, std::uint64_t step, double scale);

  const StepJob& job_;
  const NormParts& norm_;
  RankId rank_;
  Arena& arena_;
  std::vector<Real*> arrays_;
  std::size_t bytes_ = 0;
  std::vector<std::unique_ptr<Held<Real>>> shared_;  // [layers]; null where not held
  std::vector<std::vector<Held<Real>>> experts_;     // [layers][held, ascending]
  Real* scratch_ = nullptr;
  std::vector<double> norm_values_;  // empty until asked for
  double gradient_norm_ = 0;
};

}  // namespace zebroid
