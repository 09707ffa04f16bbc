#include "backend/host/projection.hpp"

#include "backend/host/gemm.hpp"
#include "backend/host/rows.hpp"

namespace zebroid {

template <class Real>
void Projection<Real>::forward(const Real* x, Real* y, bool adds) const {
  multiply({rows_, out_, in_}, {x}, {matrix_}, y, adds);
}

template <class Real>
void Projection<Real>::backward(const Real* dy, Real* dx, bool adds) const {
  multiply({rows_, in_, out_}, {dy}, {matrix_, Form::transposed}, dx, adds);
}

template <class Real>
void Projection<Real>::sum_gradient(const Real* x, const Real* dy, bool adds, Real* scratch) const {
  multiply({in_, out_, rows_}, {x, Form::transposed}, {dy}, scratch, adds);
}

template <class Real>
void Projection<Real>::add_scratch(const Gradient<Real>& gradient) const {
  add_row(gradient.scratch, in_ * out_, gradient.into + offset_);
}

template <class Real>
void Projection<Real>::add_gradient(const Real* x, const Real* dy,
                                    const Gradient<Real>& gradient) const {
  sum_gradient(x, dy, false, gradient.scratch);
  add_scratch(gradient);
}

template class Projection<float>;
template class Projection<double>;

}  // namespace zebroid
