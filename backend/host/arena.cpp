#include "backend/host/arena.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <new>

namespace zebroid {
namespace {

constexpr std::size_t alignment = 64;
constexpr std::size_t guard = 64;  // before a block, with its size, and after it
constexpr unsigned char guard_byte = 0xa5;
constexpr int poison = 0xff;

std::byte* start_of(void* block) { return static_cast<std::byte*>(block) - guard; }

bool is_guard(const std::byte* begin, std::size_t size) {
  return std::all_of(begin, begin + size,
                     [](std::byte byte) { return byte == std::byte{guard_byte}; });
}

}  // namespace

OutOfMemory::OutOfMemory(std::size_t needed, std::size_t in_use, std::optional<std::size_t> limit)
    : std::runtime_error(
          limit ? fmt::format("{} bytes more do not fit: {} of {} bytes are in use", needed, in_use,
                              *limit)
                : fmt::format("{} bytes more do not fit: {} bytes are in use, and the system gives "
                              "no more",
                              needed, in_use)) {}

Arena::~Arena() {
  for (std::byte* start : blocks_) ::operator delete(start, std::align_val_t{alignment});
}

void* Arena::take(std::size_t bytes) {
  std::byte* start = nullptr;
  {
    const std::scoped_lock lock(mutex_);
    if (limit_ && in_use_ + bytes > *limit_) throw OutOfMemory(bytes, in_use_, limit_);
    start = static_cast<std::byte*>(
        ::operator new(bytes + 2 * guard, std::align_val_t{alignment}, std::nothrow));
    if (start == nullptr) throw OutOfMemory(bytes, in_use_, std::nullopt);
    blocks_.insert(start);
    in_use_ += bytes;
    peak_ = std::max(peak_, in_use_);
  }
  std::memset(start, guard_byte, guard);
  std::memcpy(start, &bytes, sizeof bytes);
  std::memset(start + guard, poison, bytes);
  std::memset(start + guard + bytes, guard_byte, guard);
  return start + guard;
}

bool Arena::give(void* block) {
  std::byte* start = start_of(block);
  std::size_t bytes = 0;
  std::memcpy(&bytes, start, sizeof bytes);
  const bool whole = is_guard(start + sizeof bytes, guard - sizeof bytes) &&
                     is_guard(start + guard + bytes, guard);
  if (whole) std::memset(block, poison, bytes);
  {
    const std::scoped_lock lock(mutex_);
    if (whole) in_use_ -= bytes;
    blocks_.erase(start);
  }
  ::operator delete(start, std::align_val_t{alignment});
  return whole;
}

std::size_t Arena::peak_bytes() const {
  const std::scoped_lock lock(mutex_);
  return peak_;
}

}  // namespace zebroid
