#pragma once

#include <charconv>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace zebroid {

/// What spaces and tabs separate.
std::vector<std::string_view> words_of(std::string_view line);
bool contains(std::string_view text, std::string_view part);
std::string lower_case(std::string_view text);  ///< of ASCII letters

/// The whole text as a number without fraction; nothing when it is none or beyond the type.
template <class Number>
std::optional<Number> whole_number_in(std::string_view text)
  requires std::is_integral_v<Number>
{
  Number out{};
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), out);
  if (failure != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return out;
}

}  // namespace zebroid
