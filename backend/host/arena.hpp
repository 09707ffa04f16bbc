#pragma once

#include <cstddef>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <unordered_set>

namespace zebroid {

/// More memory was asked for than the limit leaves, or the system has.
class OutOfMemory : public std::runtime_error {
 public:
  OutOfMemory(std::size_t needed, std::size_t in_use, std::optional<std::size_t> limit);
};

/// The memory of one logical rank. Blocks are aligned to 64 bytes, lie between guard bytes and are
/// filled with 0xff, not a number for float and double, when they are taken and when they are given
/// back. Safe to use from several threads.
class Arena {
 public:
  explicit Arena(std::optional<std::size_t> limit_bytes = std::nullopt) : limit_(limit_bytes) {}
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;
  ~Arena();  ///< frees what was not given back

  /// Throws OutOfMemory.
  void* take(std::size_t bytes);
  /// False when the block's guards were overwritten.
  [[nodiscard]] bool give(void* block);

  std::size_t peak_bytes() const;  ///< most that was in use at once

 private:
  mutable std::mutex mutex_;
  std::optional<std::size_t> limit_;
  std::size_t in_use_ = 0;
  std::size_t peak_ = 0;
  std::unordered_set<std::byte*> blocks_;  // with their first guard
};

}  // namespace zebroid
