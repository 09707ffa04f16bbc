#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "core/digest.hpp"
#include "core/system.hpp"

namespace zebroid {

/// Records under keys, in a file that is only appended to, so that they outlive a process that is
/// killed. A line is "CHECKSUM KEY RECORD"; the checksum covers what follows it. Memory is for keys
/// and places, not for records. One process at a time may have a journal open.
class Journal {
 public:
  /// Opens or creates it. Lines that are torn or damaged are as if they were not there. Throws
  /// Error(input) when it cannot be opened, is another kind of file, or is in use.
  explicit Journal(std::filesystem::path path);

  bool contains(const Digest& key) const { return places_.contains(key); }
  /// The record of a key, the latest one; nothing when there is none.
  std::optional<std::string> find(const Digest& key) const;
  /// Adds a record, which has no line breaks. Throws Error(input) when it cannot be written.
  void append(const Digest& key, std::string_view record);
  /// Removes the file.
  void remove();

 private:
  struct Place {
    std::uint64_t offset;  ///< of the record
    std::size_t size;
  };

  void load();
  void load_line(std::string_view line, std::uint64_t offset);

  std::filesystem::path path_;
  Descriptor file_;
  std::uint64_t end_ = 0;
  std::unordered_map<Digest, Place> places_;
};

}  // namespace zebroid
