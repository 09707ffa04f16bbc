#pragma once

#include <cstddef>

namespace zebroid {

/// gate, up and product = silu(gate) * up of a SwiGLU FFN (Shazeer 2020), or gradients of these.
template <class Real>
struct SwigluValues {
  Real* gate = nullptr;
  Real* up = nullptr;
  Real* product = nullptr;
};

template <class Real>
void swiglu(std::size_t size, const SwigluValues<Real>& values);
/// Of a product's gradient, that of gate and up.
template <class Real>
void swiglu_backward(std::size_t size, const SwigluValues<const Real>& values,
                     const SwigluValues<Real>& gradients);

}  // namespace zebroid
