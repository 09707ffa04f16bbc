#pragma once

#include <compare>

namespace zebroid {

/// A double with a dimension: seconds^S bytes^B flop^F. Costs nothing over a plain double.
template <int S, int B, int F>
struct Quantity {
  double value = 0;

  friend constexpr auto operator<=>(Quantity, Quantity) = default;
  friend constexpr Quantity operator+(Quantity a, Quantity b) { return {a.value + b.value}; }
  friend constexpr Quantity operator-(Quantity a, Quantity b) { return {a.value - b.value}; }
  friend constexpr Quantity operator*(Quantity a, double k) { return {a.value * k}; }
  friend constexpr Quantity operator*(double k, Quantity a) { return {k * a.value}; }
  friend constexpr Quantity operator/(Quantity a, double k) { return {a.value / k}; }
  constexpr Quantity& operator+=(Quantity b) {
    value += b.value;
    return *this;
  }
  constexpr Quantity& operator-=(Quantity b) {
    value -= b.value;
    return *this;
  }
};

template <int S1, int B1, int F1, int S2, int B2, int F2>
constexpr Quantity<S1 + S2, B1 + B2, F1 + F2> operator*(Quantity<S1, B1, F1> a,
                                                        Quantity<S2, B2, F2> b) {
  return {a.value * b.value};
}

template <int S1, int B1, int F1, int S2, int B2, int F2>
constexpr Quantity<S1 - S2, B1 - B2, F1 - F2> operator/(Quantity<S1, B1, F1> a,
                                                        Quantity<S2, B2, F2> b) {
  return {a.value / b.value};
}

template <int S, int B, int F>
constexpr double operator/(Quantity<S, B, F> a, Quantity<S, B, F> b) {
  return a.value / b.value;
}

using Seconds = Quantity<1, 0, 0>;
using Bytes = Quantity<0, 1, 0>;
using Flops = Quantity<0, 0, 1>;  ///< floating-point operations; a multiply-add counts two
using BytesPerSecond = Quantity<-1, 1, 0>;
using FlopsPerSecond = Quantity<-1, 0, 1>;

constexpr Bytes gibibytes(double n) { return {n * 1024.0 * 1024.0 * 1024.0}; }

}  // namespace zebroid
