#include "backend/host/rotary.hpp"

#include <cmath>

#include "core/error.hpp"

namespace zebroid {
namespace {

constexpr double base = 10'000;

template <class Real>
void turn_head(const Real* __restrict cosines, const Real* __restrict sines, Real sign,
               std::size_t half, Real* __restrict head) {
  for (std::size_t i = 0; i < half; ++i) {
    const Real first = head[i];
    const Real second = head[half + i];
    const Real sine = sign * sines[i];
    head[i] = first * cosines[i] - second * sine;
    head[half + i] = second * cosines[i] + first * sine;
  }
}

}  // namespace

template <class Real>
Rotary<Real>::Rotary(const Tokens& tokens, std::size_t head_dim)
    : tokens_(tokens),
      half_(head_dim / 2),
      cosines_(tokens.length * half_),
      sines_(tokens.length * half_) {
  ensure(head_dim % 2 == 0, "RoPE turns pairs: head_dim is even");
  std::vector<double> frequencies(half_);
  for (std::size_t i = 0; i < half_; ++i) {
    frequencies[i] = std::pow(base, -2.0 * static_cast<double>(i) / static_cast<double>(head_dim));
  }
  for (std::size_t position = 0; position < tokens.length; ++position) {
    for (std::size_t i = 0; i < half_; ++i) {
      const double angle = static_cast<double>(position) * frequencies[i];
      cosines_[position * half_ + i] = static_cast<Real>(std::cos(angle));
      sines_[position * half_ + i] = static_cast<Real>(std::sin(angle));
    }
  }
}

template <class Real>
void Rotary<Real>::turn(std::size_t heads, Real sign, Real* values) const {
  for (std::size_t token = 0; token < tokens_.count(); ++token) {
    const std::size_t at = token % tokens_.length * half_;
    for (std::size_t head = 0; head < heads; ++head, values += 2 * half_) {
      turn_head(cosines_.data() + at, sines_.data() + at, sign, half_, values);
    }
  }
}

template class Rotary<float>;
template class Rotary<double>;

}  // namespace zebroid
