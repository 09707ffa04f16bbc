#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace zebroid {

/// A sum of numbers >= 0 that has the same bits in whatever order and groups they are added: a
/// fixed-point number. Sums on several ranks add up word by word, as integers of any collective do.
class ExactSum {
 public:
  /// Up to 2^127, to 2^-128: eight words of 32 bits with room for carries, and a count of numbers
  /// beyond.
  static constexpr std::size_t size = 9;
  using Words = std::array<std::int64_t, size>;

  /// A number of 2^127 or more, or none at all, makes the sum infinite.
  void add(double number);
  /// To the last bits of a double.
  double value() const;

  const Words& words() const { return words_; }
  Words& words() { return words_; }

 private:
  Words words_{};
};

}  // namespace zebroid
