#pragma once

#include <bit>
#include <cstdint>
#include <vector>

namespace zebroid {

/// Spreads 64 bits so that sums and differences of results say nothing about the arguments (the
/// finalizer of SplitMix64; Steele, Lea, Flood 2014).
constexpr std::uint64_t mix(std::uint64_t x) {
  x += 0x9E3779B97F4A7C15ULL;
  x = (x ^ (x >> 30U)) * 0xBF58476D1CE4E5B9ULL;
  x = (x ^ (x >> 27U)) * 0x94D049BB133111EBULL;
  return x ^ (x >> 31U);
}

/// Numbers distinct 64-bit keys 0, 1, 2, ... in the order of their first appearance. Open
/// addressing in one array: std::unordered_map allocates for every key.
class KeyIndex {
 public:
  static constexpr std::uint32_t none = UINT32_MAX;

  explicit KeyIndex(std::size_t expected = 16) : slots_(std::bit_ceil(2 * expected + 2)) {}

  std::uint32_t size() const { return size_; }
  /// The key's number; a new one when it is new.
  std::uint32_t add(std::uint64_t key) {
    Slot* slot = find_slot(key);
    if (slot->number != none) return slot->number;
    if (2 * std::size_t{size_} >= slots_.size()) {
      grow();
      slot = find_slot(key);
    }
    *slot = {key, size_};
    return size_++;
  }
  /// The key's number, or none.
  std::uint32_t find(std::uint64_t key) const {
    return const_cast<KeyIndex*>(this)->find_slot(key)->number;  // NOLINT: it writes nothing
  }

 private:
  struct Slot {
    std::uint64_t key = 0;
    std::uint32_t number = none;
  };

  Slot* find_slot(std::uint64_t key) {
    const std::size_t mask = slots_.size() - 1;
    std::size_t at = mix(key) & mask;
    while (slots_[at].number != none && slots_[at].key != key) at = (at + 1) & mask;
    return &slots_[at];
  }

  void grow() {
    std::vector<Slot> old(2 * slots_.size());
    old.swap(slots_);
    for (const Slot& slot : old) {
      if (slot.number != none) *find_slot(slot.key) = slot;
    }
  }

  std::vector<Slot> slots_;
  std::uint32_t size_ = 0;
};

}  // namespace zebroid
