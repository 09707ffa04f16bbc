#pragma once

#include <cstddef>
#include <vector>

#include "backend/host/blocks.hpp"

namespace zebroid {

/// RoPE (Su et al. 2021) of base 10,000: at position p, elements i and i + d/2 of a head of width d
/// turn by the angle p * base^(-2i/d).
template <class Real>
class Rotary {
 public:
  Rotary(const Tokens& tokens, std::size_t head_dim);

  /// Turns [tokens, heads, head_dim], or turns it back.
  void rotate(std::size_t heads, Real* values) const { turn(heads, 1, values); }
  void rotate_back(std::size_t heads, Real* values) const { turn(heads, -1, values); }

 private:
  void turn(std::size_t heads, Real sign, Real* values) const;

  Tokens tokens_;
  std::size_t half_;
  std::vector<Real> cosines_, sines_;  ///< [length, half]
};

}  // namespace zebroid
