#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>

namespace zebroid {

// Loops over one row. Sums run in lanes, an order that is fixed and that compilers can vectorise.

inline constexpr std::size_t row_lanes = 8;

template <class Real>
Real sum_of(const std::array<Real, row_lanes>& lanes) {
  return ((lanes[0] + lanes[4]) + (lanes[1] + lanes[5])) +
         ((lanes[2] + lanes[6]) + (lanes[3] + lanes[7]));
}

template <class Real>
Real dot(const Real* a, const Real* b, std::size_t size) {
  std::array<Real, row_lanes> sums{};
  std::size_t i = 0;
  for (; i + row_lanes <= size; i += row_lanes) {
    for (std::size_t lane = 0; lane < row_lanes; ++lane) sums[lane] += a[i + lane] * b[i + lane];
  }
  for (std::size_t lane = 0; i + lane < size; ++lane) sums[lane] += a[i + lane] * b[i + lane];
  return sum_of(sums);
}

/// Sum of a * b * c.
template <class Real>
Real dot(const Real* a, const Real* b, const Real* c, std::size_t size) {
  std::array<Real, row_lanes> sums{};
  std::size_t i = 0;
  for (; i + row_lanes <= size; i += row_lanes) {
    for (std::size_t lane = 0; lane < row_lanes; ++lane) {
      sums[lane] += a[i + lane] * b[i + lane] * c[i + lane];
    }
  }
  for (std::size_t lane = 0; i + lane < size; ++lane) {
    sums[lane] += a[i + lane] * b[i + lane] * c[i + lane];
  }
  return sum_of(sums);
}

/// Of a row that is not empty.
template <class Real>
Real largest(const Real* values, std::size_t size) {
  std::array<Real, row_lanes> most;
  most.fill(values[0]);
  std::size_t i = 0;
  for (; i + row_lanes <= size; i += row_lanes) {
    for (std::size_t lane = 0; lane < row_lanes; ++lane) {
      most[lane] = most[lane] < values[i + lane] ? values[i + lane] : most[lane];
    }
  }
  for (; i < size; ++i) most[0] = std::max(most[0], values[i]);
  return *std::max_element(most.begin(), most.end());
}

/// out[i] = exp(values[i] - shift), which may be `values`; the sum of these.
template <class Real>
Real exponentials(const Real* values, std::size_t size, Real shift, Real* out) {
  std::array<Real, row_lanes> sums{};
  for (std::size_t i = 0; i < size; ++i) {
    out[i] = std::exp(values[i] - shift);
    sums[i % row_lanes] += out[i];
  }
  return sum_of(sums);
}

/// into[i] += values[i]
template <class Real>
void add_row(const Real* __restrict values, std::size_t size, Real* __restrict into) {
  for (std::size_t i = 0; i < size; ++i) into[i] += values[i];
}

/// values[i] *= factor
template <class Real>
void scale_row(Real factor, std::size_t size, Real* values) {
  for (std::size_t i = 0; i < size; ++i) values[i] *= factor;
}

}  // namespace zebroid
