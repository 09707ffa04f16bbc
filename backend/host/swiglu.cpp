#include "backend/host/swiglu.hpp"

#include <cmath>

namespace zebroid {
namespace {

template <class Real>
Real sigmoid(Real x) {
  return 1 / (1 + std::exp(-x));
}

}  // namespace

template <class Real>
void swiglu(std::size_t size, const SwigluValues<Real>& values) {
  const Real* __restrict gate = values.gate;
  const Real* __restrict up = values.up;
  Real* __restrict product = values.product;
  for (std::size_t i = 0; i < size; ++i) product[i] = gate[i] * sigmoid(gate[i]) * up[i];
}

template <class Real>
void swiglu_backward(std::size_t size, const SwigluValues<const Real>& values,
                     const SwigluValues<Real>& gradients) {
  const Real* __restrict gate = values.gate;
  const Real* __restrict up = values.up;
  const Real* __restrict dproduct = gradients.product;
  Real* __restrict dgate = gradients.gate;
  Real* __restrict dup = gradients.up;
  for (std::size_t i = 0; i < size; ++i) {
    const Real share = sigmoid(gate[i]);
    dgate[i] = dproduct[i] * up[i] * share * (1 + gate[i] * (1 - share));
    dup[i] = dproduct[i] * gate[i] * share;
  }
}

template void swiglu(std::size_t, const SwigluValues<float>&);
template void swiglu(std::size_t, const SwigluValues<double>&);
template void swiglu_backward(std::size_t, const SwigluValues<const float>&,
                              const SwigluValues<float>&);
template void swiglu_backward(std::size_t, const SwigluValues<const double>&,
                              const SwigluValues<double>&);

}  // namespace zebroid
