#include "backend/host/norm.hpp"

#include <algorithm>
#include <cmath>

#include "backend/host/rows.hpp"

namespace zebroid {
namespace {

constexpr double epsilon = 1e-5;

template <class Real>
void norm_row(const Real* __restrict x, const Real* __restrict weights, Real inverse,
              std::size_t width, Real* __restrict y) {
  for (std::size_t i = 0; i < width; ++i) y[i] = x[i] * inverse * weights[i];
}

}  // namespace

template <class Real>
Real RmsNorm<Real>::inverse_rms(const Real* x) const {
  const Real mean = dot(x, x, width_) / static_cast<Real>(width_);
  return 1 / std::sqrt(mean + static_cast<Real>(epsilon));
}

template <class Real>
void RmsNorm<Real>::forward(const Real* x, Real* y) const {
  for (std::size_t row = 0; row < rows_; ++row) {
    const Real* of_row = x + row * width_;
    norm_row(of_row, weights_, inverse_rms(of_row), width_, y + row * width_);
  }
}

template <class Real>
void RmsNorm<Real>::backward(const Real* x, const Real* dy, Real* dx, Real* dweights) const {
  for (std::size_t row = 0; row < rows_; ++row) {
    const Real* __restrict in = x + row * width_;
    const Real* __restrict gradient = dy + row * width_;
    Real* __restrict out = dx + row * width_;
    Real* __restrict sums = dweights;
    const Real inverse = inverse_rms(in);
    const Real shrink =
        dot(gradient, in, weights_, width_) * inverse * inverse / static_cast<Real>(width_);
    for (std::size_t i = 0; i < width_; ++i) {
      sums[i] += gradient[i] * in[i] * inverse;
      out[i] += inverse * (gradient[i] * weights_[i] - in[i] * shrink);
    }
  }
}

template <class Real>
void RmsNorm<Real>::backward(const Real* x, const Real* dy, Real* dx,
                             const Gradient<Real>& gradient) const {
  std::fill_n(gradient.scratch, width_, Real{0});
  backward(x, dy, dx, gradient.scratch);
  add_gradient(gradient.scratch, gradient);
}

template <class Real>
void RmsNorm<Real>::add_gradient(const Real* dweights, const Gradient<Real>& gradient) const {
  add_row(dweights, width_, gradient.into + offset_);
}

template class RmsNorm<float>;
template class RmsNorm<double>;

}  // namespace zebroid
