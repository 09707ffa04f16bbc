#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace zebroid {

/// Bytes to learn, cut into sequences of equal length one after the other; the text starts again
/// where it ends.
class Text {
 public:
  static constexpr std::size_t most_bytes = std::size_t{256} << 20U;

  explicit Text(std::string bytes);
  /// A file; throws Error(input) when it cannot be read, is empty or longer than most_bytes.
  static Text from_file(const std::filesystem::path& path);
  /// The text that zebroid brings along.
  static Text built_in();

  struct Tokens {
    std::vector<std::uint32_t> ids;      ///< [sequences * length]
    std::vector<std::uint32_t> targets;  ///< the byte after each
  };
  /// Sequences first, first + 1, ...; any number.
  Tokens sequences(std::uint64_t first, std::size_t count, std::size_t length) const;

 private:
  std::string bytes_;
};

}  // namespace zebroid
