#pragma once

#include <cstddef>

namespace zebroid {

/// Of a product [rows, columns] = [rows, inner] * [inner, columns].
struct ProductSize {
  std::size_t rows = 0;
  std::size_t columns = 0;
  std::size_t inner = 0;
};

enum class Form { plain, transposed };

/// One factor of a product, stored row-major without gaps: plain as [rows, inner] on the left or
/// [inner, columns] on the right, transposed the other way round.
template <class Real>
struct Factor {
  const Real* values = nullptr;
  Form form = Form::plain;
};

/// c = a * b, plus c when `adds`; else what c held, NaN even, does not matter. c overlaps neither.
/// On the calling thread; bits depend on the arguments alone, not on where the arrays lie.
template <class Real>
void multiply(const ProductSize& size, const Factor<Real>& a, const Factor<Real>& b, Real* c,
              bool adds = false);

/// What multiply() does without OpenBLAS.
template <class Real>
void multiply_in_loops(const ProductSize& size, const Factor<Real>& a, const Factor<Real>& b,
                       Real* c, bool adds = false);

/// "OpenBLAS 0.3.21 (SkylakeX)" or "plain loops".
const char* gemm_library();

}  // namespace zebroid
