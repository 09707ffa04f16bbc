#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
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

/// 64 bits that stand for bytes which come piece by piece; how they were cut does not matter.
class Checksum {
 public:
  Checksum();
  Checksum(const Checksum&) = delete;
  Checksum& operator=(const Checksum&) = delete;
  ~Checksum();

  void add(const void* bytes, std::size_t size);
  std::uint64_t value() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace zebroid

template <>
struct std::hash<zebroid::Digest> {
  std::size_t operator()(const zebroid::Digest& digest) const noexcept { return digest.low; }
};
