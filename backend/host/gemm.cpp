#include "backend/host/gemm.hpp"

#include <algorithm>
#include <array>
#include <limits>
#include <string>
#include <type_traits>
#include <vector>

#include "core/error.hpp"

#ifdef ZEBROID_HAS_OPENBLAS
#include <cblas.h>
#endif

namespace zebroid {
namespace {

/// Row-major, [height, width].
struct Stored {
  std::size_t row_step = 0;
  std::size_t column_step = 0;
};

/// How far apart neighbours of a factor lie whose plain form has this width, and height.
Stored steps(Form form, std::size_t height, std::size_t width) {
  return form == Form::plain ? Stored{width, 1} : Stored{1, height};
}

// A tile of c stays in registers while a panel of each factor streams past it; panels are packed in
// the order of use. Sizes suit the caches of any machine of the last ten years.
constexpr std::size_t tile_rows = 4;
template <class Real>
constexpr std::size_t tile_columns = 32 / sizeof(Real);
constexpr std::size_t block_rows = 64;
constexpr std::size_t block_columns = 256;
constexpr std::size_t block_inner = 256;

struct Range {
  std::size_t first = 0;
  std::size_t size = 0;
};

Range block_at(std::size_t first, std::size_t block, std::size_t end) {
  return {first, std::min(block, end - first)};
}

/// values(across, inner) of a block, as panels [inner, step] with zeros for what is past the end.
template <class Real, std::size_t step>
void pack(const Real* values, const Stored& stored, const Range& across, const Range& inner,
          std::vector<Real>& out) {
  out.resize((across.size + step - 1) / step * step * inner.size);
  Real* to = out.data();
  for (std::size_t panel = 0; panel < across.size; panel += step) {
    const std::size_t width = std::min(step, across.size - panel);
    for (std::size_t i = 0; i < inner.size; ++i, to += step) {
      const Real* from = values + (across.first + panel) * stored.row_step +
                         (inner.first + i) * stored.column_step;
      for (std::size_t j = 0; j < width; ++j) to[j] = from[j * stored.row_step];
      std::fill(to + width, to + step, Real{0});
    }
  }
}

template <class Real>
using Tile = std::array<std::array<Real, tile_columns<Real>>, tile_rows>;

template <class Real>
Tile<Real> multiply_panels(const Real* __restrict a, const Real* __restrict b, std::size_t inner) {
  Tile<Real> sums{};
  for (std::size_t k = 0; k < inner; ++k, a += tile_rows, b += tile_columns<Real>) {
    for (std::size_t i = 0; i < tile_rows; ++i) {
      for (std::size_t j = 0; j < tile_columns<Real>; ++j) sums[i][j] += a[i] * b[j];
    }
  }
  return sums;
}

/// A block of c: its rows and columns, and the length of c's rows.
struct Target {
  Range rows, columns;
  std::size_t row_length = 0;
};

template <class Real>
void multiply_blocks(const Target& target, const std::vector<Real>& a, const std::vector<Real>& b,
                     std::size_t inner, Real* c) {
  for (std::size_t row = 0; row < target.rows.size; row += tile_rows) {
    const std::size_t height = std::min(tile_rows, target.rows.size - row);
    for (std::size_t column = 0; column < target.columns.size; column += tile_columns<Real>) {
      const std::size_t width = std::min(tile_columns<Real>, target.columns.size - column);
      const Tile<Real> tile =
          multiply_panels(a.data() + row * inner, b.data() + column * inner, inner);
      for (std::size_t i = 0; i < height; ++i) {
        Real* to =
            c + (target.rows.first + row + i) * target.row_length + target.columns.first + column;
        for (std::size_t j = 0; j < width; ++j) to[j] += tile[i][j];
      }
    }
  }
}

#ifdef ZEBROID_HAS_OPENBLAS
/// Ops are what runs in parallel: a product that starts threads of its own would disturb others.
void use_one_thread() {
  static const bool done = [] {
    openblas_set_num_threads(1);
    return true;
  }();
  static_cast<void>(done);
}

CBLAS_TRANSPOSE order(Form form) { return form == Form::plain ? CblasNoTrans : CblasTrans; }

template <class Real>
void multiply_by_library(const ProductSize& size, const Factor<Real>& a, const Factor<Real>& b,
                         Real* c, bool adds) {
  constexpr auto most = static_cast<std::size_t>(std::numeric_limits<blasint>::max());
  ensure(size.rows <= most && size.columns <= most && size.inner <= most,
         "a matrix is too long for OpenBLAS");
  use_one_thread();
  const auto rows = static_cast<blasint>(size.rows);
  const auto columns = static_cast<blasint>(size.columns);
  const auto inner = static_cast<blasint>(size.inner);
  const blasint a_width = a.form == Form::plain ? inner : rows;
  const blasint b_width = b.form == Form::plain ? columns : inner;
  const Real keep = adds ? 1 : 0;
  if constexpr (std::is_same_v<Real, float>) {
    cblas_sgemm(CblasRowMajor, order(a.form), order(b.form), rows, columns, inner, 1, a.values,
                a_width, b.values, b_width, keep, c, columns);
  } else {
    cblas_dgemm(CblasRowMajor, order(a.form), order(b.form), rows, columns, inner, 1, a.values,
                a_width, b.values, b_width, keep, c, columns);
  }
}
#endif

}  // namespace

template <class Real>
void multiply_in_loops(const ProductSize& size, const Factor<Real>& a, const Factor<Real>& b,
                       Real* c, bool adds) {
  if (!adds) std::fill_n(c, size.rows * size.columns, Real{0});
  const Stored a_steps = steps(a.form, size.rows, size.inner);
  const Stored b_steps = steps(b.form, size.inner, size.columns);
  const Stored b_columns = {b_steps.column_step, b_steps.row_step};
  std::vector<Real> a_panels, b_panels;
  for (std::size_t column = 0; column < size.columns; column += block_columns) {
    const Range columns = block_at(column, block_columns, size.columns);
    for (std::size_t k = 0; k < size.inner; k += block_inner) {
      const Range inner = block_at(k, block_inner, size.inner);
      pack<Real, tile_columns<Real>>(b.values, b_columns, columns, inner, b_panels);
      for (std::size_t row = 0; row < size.rows; row += block_rows) {
        const Range rows = block_at(row, block_rows, size.rows);
        pack<Real, tile_rows>(a.values, a_steps, rows, inner, a_panels);
        multiply_blocks({rows, columns, size.columns}, a_panels, b_panels, inner.size, c);
      }
    }
  }
}

template <class Real>
void multiply(const ProductSize& size, const Factor<Real>& a, const Factor<Real>& b, Real* c,
              bool adds) {
#ifdef ZEBROID_HAS_OPENBLAS
  if (size.rows > 0 && size.columns > 0 && size.inner > 0) {
    multiply_by_library(size, a, b, c, adds);
    return;
  }
#endif
  multiply_in_loops(size, a, b, c, adds);
}

const char* gemm_library() {
#ifdef ZEBROID_HAS_OPENBLAS
  static const std::string name = [] {
    const std::string config = openblas_get_config();  // "OpenBLAS 0.3.21 NO_LAPACKE ..."
    const std::size_t version = config.find(' ');
    const std::size_t end = version == std::string::npos ? version : config.find(' ', version + 1);
    return config.substr(0, end) + " (" + openblas_get_corename() + ")";
  }();
  return name.c_str();
#else
  return "plain loops";
#endif
}

template void multiply(const ProductSize&, const Factor<float>&, const Factor<float>&, float*,
                       bool);
template void multiply(const ProductSize&, const Factor<double>&, const Factor<double>&, double*,
                       bool);
template void multiply_in_loops(const ProductSize&, const Factor<float>&, const Factor<float>&,
                                float*, bool);
template void multiply_in_loops(const ProductSize&, const Factor<double>&, const Factor<double>&,
                                double*, bool);

}  // namespace zebroid
