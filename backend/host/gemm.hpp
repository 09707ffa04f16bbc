#pragma once

#include <cstddef>

namespace zebroid {

enum class Form { plain, transposed };

/// One factor of a product, stored row-major: plain as [rows, inner] on the left or [inner, columns] on the
/// right, transposed the other way round.
template <class Real>
struct Factor {
  const Real* values;
  Form form = Form::plain;
};

/// c[rows, columns] = a * b, plus c when `adds`. On one thread; bits depend on the arguments alone.
template <class Real>
void multiply(std::size_t rows, std::size_t columns, std::size_t inner, const Factor<Real>& a,
              const Factor<Real>& b, Real* c, bool adds = false);

/// "OpenBLAS 0.3.21 (SkylakeX)" or "plain loops".
const char* gemm_library();

}  // namespace zebroid
