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

/// Updates `size` parameters and their moments. step counts from 1; scale: of the gradients.
template <class Real>
void update(const AdamW& adamw, std::uint64_t step, double scale, bool decays, const Real* gradient,
            Real* moment1, Real* moment2, Real* parameters, std::size_t size);

}  // namespace zebroid
