#pragma once

#include <cmath>
#include <limits>

namespace zebroid {

/// The number that a file states where `read` turns it into `value`: `guess` or a neighbour of it,
/// so that writing and reading again gives the same bits.
template <class Read>
double as_written(double value, double guess, Read read) {
  constexpr double infinity = std::numeric_limits<double>::infinity();
  for (const double number :
       {guess, std::nextafter(guess, -infinity), std::nextafter(guess, infinity)}) {
    if (read(number) == value) return number;
  }
  return guess;
}

/// Rates and sizes that input may state, in multiples of 1e9 (or GiB): the product of any of them
/// with a schedule's bytes or flops stays far from the ends of double.
inline constexpr double least_giga = 1e-6;
inline constexpr double most_giga = 1e6;

}  // namespace zebroid
