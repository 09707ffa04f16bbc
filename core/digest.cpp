#include "core/digest.hpp"

#include <fmt/format.h>

#include <charconv>

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace zebroid {
namespace {

constexpr std::size_t half_digits = 16;

std::optional<std::uint64_t> parse_half(std::string_view digits) {
  constexpr int hexadecimal = 16;
  std::uint64_t out = 0;
  const char* const end = digits.data() + digits.size();
  const auto [at, failure] = std::from_chars(digits.data(), end, out, hexadecimal);
  if (at != end || failure != std::errc()) return std::nullopt;
  return out;
}

}  // namespace

Digest digest(std::string_view text) {
  const XXH128_hash_t hash = XXH3_128bits(text.data(), text.size());
  return {hash.high64, hash.low64};
}

std::string to_text(const Digest& digest) {
  return fmt::format("{:016x}{:016x}", digest.high, digest.low);
}

std::optional<Digest> parse_digest(std::string_view digits) {
  if (digits.size() != 2 * half_digits) return std::nullopt;
  const auto high = parse_half(digits.substr(0, half_digits));
  const auto low = parse_half(digits.substr(half_digits));
  if (!high || !low) return std::nullopt;
  return Digest{*high, *low};
}

struct Checksum::State {
  XXH3_state_t of;
};

Checksum::Checksum() : state_(std::make_unique<State>()) { XXH3_64bits_reset(&state_->of); }
Checksum::~Checksum() = default;

void Checksum::add(const void* bytes, std::size_t size) {
  XXH3_64bits_update(&state_->of, bytes, size);
}

std::uint64_t Checksum::value() const { return XXH3_64bits_digest(&state_->of); }

}  // namespace zebroid
