#pragma once

#include <charconv>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace zebroid {

/// Lines of a text, one after the other, without "\n" or "\r\n".
class Lines {
 public:
  explicit Lines(std::string_view text) : rest_(text) {}

  /// Puts the next one into `line`; false after the last.
  bool next(std::string_view& line);
  std::size_t number() const { return number_; }  ///< of the latest line, counted from 1

 private:
  std::string_view rest_;
  std::size_t number_ = 0;
};

/// What spaces and tabs separate.
std::vector<std::string_view> words_of(std::string_view line);
bool contains(std::string_view text, std::string_view part);
std::string lower_case(std::string_view text);

/// The whole text as a number, in the C locale; nothing when it is none or beyond the type.
template <class Number>
std::optional<Number> number_in(std::string_view text, int base = 10)
  requires std::is_integral_v<Number>
{
  Number out{};
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), out, base);
  if (failure != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return out;
}
std::optional<double> decimal_in(std::string_view text);  ///< finite

/// Complaints about one file: the first of them, and how many more there were.
class Complaints {
 public:
  explicit Complaints(std::string file) : file_(std::move(file)) {}

  void add(std::size_t line, std::string_view message);
  std::vector<std::string> take();

 private:
  std::string file_;
  std::vector<std::string> first_;
  std::size_t more_ = 0;
};

}  // namespace zebroid
