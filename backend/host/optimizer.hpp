#pragma once

#include <cstddef>
#include <cstdint>

namespace zebroid {

/// AdamW (Loshchilov and Hutter 2019) with global clipping.
struct AdamW {
  double learning_rate = 3e-3;
  double beta1 = 0.9;
  double beta2 = 0.95;
  double epsilon = 1e-8;
  double decay = 0.1;
  double clip = 1.0;  ///< most that the norm of all gradients may be
};

/// In double, in the order of the array.
template <class Real>
double sum_of_squares(const Real* values, std::size_t size);

/// What gradients are multiplied with so that their norm is at most clip.
double clip_scale(const AdamW& adamw, double norm);

/// One update of a tensor.
struct UpdateStep {
  std::uint64_t number = 1;  ///< counts from 1
  double scale = 1;          ///< of the gradients, as clip_scale() says
  bool decays = true;        ///< false for norms
};

/// A tensor with what AdamW keeps for it: `size` elements each.
template <class Real>
struct Learned {
  const Real* gradient = nullptr;
  Real* moment1 = nullptr;
  Real* moment2 = nullptr;
  Real* parameters = nullptr;
  std::size_t size = 0;
};

/// Updates parameters and moments; decay is decoupled, moments are corrected for starting at 0.
template <class Real>
void update(const AdamW& adamw, const UpdateStep& step, const Learned<Real>& learned);

}  // namespace zebroid
