#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace zebroid {

/// 128 bits that stand for a text: the same on every machine, and different for different texts as
/// long as nobody makes them collide. It is XXH3, whose values xxhash keeps stable since 0.8.
struct Digest {
  std::uint64_t high = 0;
  std::uint64_t low = 0;

  friend bool operator==(const Digest&, const Digest&) = default;
};

Digest digest(std::string_view text);

std::string to_text(const Digest& digest);                    ///< 32 hexadecimal digits
std::optional<Digest> parse_digest(std::string_view digits);  ///< nothing for other texts

}  // namespace zebroid

template <>
struct std::hash<zebroid::Digest> {
  std::size_t operator()(const zebroid::Digest& digest) const noexcept { return digest.low; }
};
