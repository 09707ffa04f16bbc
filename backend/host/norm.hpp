#pragma once

#include <cstddef>

#include "backend/host/blocks.hpp"
#include "backend/host/tensors.hpp"

namespace zebroid {

/// RMSNorm (Zhang and Sennrich 2019) of rows, with learned weights and 1e-5 added to the mean
/// square.
template <class Real>
class RmsNorm {
 public:
  RmsNorm(const Tensor& tensor, const Real* parameters, std::size_t rows)
      : weights_(parameters + tensor.offset),
        offset_(tensor.offset),
        width_(tensor.columns),
        rows_(rows) {}

  void forward(const Real* x, Real* y) const;
  /// Adds the gradient of x to dx, and that of the weights to dweights[width], row by row.
  void backward(const Real* x, const Real* dy, Real* dx, Real* dweights) const;
  /// The same, where the weights' gradient is that of these rows alone.
  void backward(const Real* x, const Real* dy, Real* dx, const Gradient<Real>& gradient) const;
  void add_gradient(const Real* dweights, const Gradient<Real>& gradient) const;

 private:
  Real inverse_rms(const Real* x) const;

  const Real* weights_;
  std::size_t offset_, width_, rows_;
};

}  // namespace zebroid
