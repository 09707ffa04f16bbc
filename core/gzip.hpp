#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace zebroid {

/// The most that a packed file may unpack to where nothing else is said.
inline constexpr std::size_t most_unpacked = std::size_t{256} << 20U;

/// Whether the bytes begin as gzip does.
bool is_gzip(std::string_view packed);

/// What gzip packed: all members one after another; zeros after the last are padding. Throws
/// Error(input) naming `name` when the bytes are damaged or cut off, when something else follows,
/// or when they unpack to more than `limit` bytes, of which no more are ever held.
std::string gunzip(std::string_view packed, std::size_t limit, const std::string& name);

}  // namespace zebroid
