#pragma once

#include <cstddef>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

namespace zebroid {

/// The whole content of a regular file or a pipe. Throws Error(input) when it is absent, a
/// directory, not readable or longer than `limit` bytes.
std::string read_file(const std::filesystem::path& path, std::size_t limit);

/// Writes `content` to a temporary file beside `path`, then renames it over `path`: readers see the
/// old file or the new one, never half of it. Throws Error(input) naming the path and the system's
/// reason (full disk, no permission).
void write_file(const std::filesystem::path& path, std::string_view content);
/// The same with content that `make` writes piece by piece, for what need not be in memory at once.
using Sink = std::function<void(std::string_view)>;
void write_file(const std::filesystem::path& path, const std::function<void(const Sink&)>& make);

/// Throws what write_file() would throw for this path, and leaves nothing there: for work that
/// takes long before it writes.
void try_to_write(const std::filesystem::path& path);

}  // namespace zebroid
