#pragma once

#include <cstddef>

#include "backend/host/blocks.hpp"
#include "backend/host/tensors.hpp"

namespace zebroid {

/// A learned matrix [in, out] that rows of inputs are multiplied by.
template <class Real>
class Projection {
 public:
  Projection(const Tensor& tensor, const Real* parameters, std::size_t rows)
      : matrix_(parameters + tensor.offset),
        offset_(tensor.offset),
        in_(tensor.rows),
        out_(tensor.columns),
        rows_(rows) {}

  /// y[rows, out] = x[rows, in] * matrix, plus y when `adds`.
  void forward(const Real* x, Real* y, bool adds = false) const;
  /// dx[rows, in] = dy[rows, out] * the matrix transposed, plus dx when `adds`.
  void backward(const Real* dy, Real* dx, bool adds = false) const;
  /// Adds that of these rows alone.
  void add_gradient(const Real* x, const Real* dy, const Gradient<Real>& gradient) const;
  /// The same in two steps, for rows that come in slices: the sum, plus itself when `adds`, ...
  void sum_gradient(const Real* x, const Real* dy, bool adds, Real* scratch) const;
  /// ... and then its addition.
  void add_scratch(const Gradient<Real>& gradient) const;

 private:
  const Real* matrix_;
  std::size_t offset_, in_, out_, rows_;
};

}  // namespace zebroid
