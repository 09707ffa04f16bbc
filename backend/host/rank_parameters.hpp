#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "backend/host/arena.hpp"
#include "backend/host/blocks.hpp"
#include "backend/host/step_job.hpp"
#include "core/exact_sum.hpp"

namespace zebroid {

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
};

/// Parameters that one rank holds, with gradients and AdamW states, in its arena.
template <class Real>
class RankParameters {
 public:
  /// Starts parameters from the job's seed. All outlive this. Throws OutOfMemory.
  RankParameters(const StepJob& job, const NormParts& norm, RankId rank, Arena& arena);
  RankParameters(const RankParameters&) = delete;
  RankParameters& operator=(const RankParameters&) = delete;
  ~RankParameters() = default;

  /// Before a step: gradients are zero.
  void begin();

  /// nullptr where the rank does not hold them.
  Held<Real>* shared(std::uint32_t layer);
  Held<Real>* expert(std::uint32_t layer, std::uint32_t e);
  const Held<Real>* shared(std::uint32_t layer) const;
  const Held<Real>* expert(std::uint32_t layer, std::uint32_t e) const;
  /// Room for the gradient of one tensor, for the compute stream.
  Real* scratch() { return scratch_; }

  /// The squared norm of all gradients: at first of this rank's parts.
  ExactSum& squares();
  /// AdamW on this rank's parts, when squares() are those of all ranks. A norm that is no
  /// number changes nothing.
  void update(std::uint64_t step);
  double gradient_norm() const { return gradient_norm_; }
  std::size_t bytes() const { return bytes_; }

 private:
  Real* take(std::size_t elements);
  ExactSum own_squares() const;
  Held<Real> hold(std::vector<Tensor> tensors, std::uint64_t place, Interval part, Interval summed);
  void update(Held<Real>& held, std::uint64_t step, double scale);

  const StepJob& job_;
  const NormParts& norm_;
  RankId rank_;
  Arena& arena_;
  std::size_t bytes_ = 0;
  std::vector<std::unique_ptr<Held<Real>>> shared_;  // [layers]; null where not held
  std::vector<std::vector<Held<Real>>> experts_;     // [layers][held, ascending]
  Real* scratch_ = nullptr;
  std::optional<ExactSum> squares_;  // nothing until asked for
  double gradient_norm_ = 0;
};

}  // namespace zebroid
