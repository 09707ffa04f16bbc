#include "backend/host/text.hpp"

#include <fmt/format.h>

#include <system_error>
#include <utility>

#include "core/error.hpp"
#include "core/file.hpp"
#include "models/config_dir.hpp"

namespace zebroid {

Text::Text(std::string bytes) : bytes_(std::move(bytes)) {
  ensure(!bytes_.empty(), "a text to learn has bytes");
}

Text Text::from_file(const std::filesystem::path& path) {
  std::error_code unknown;  // then read_file() says why
  if (std::filesystem::is_fifo(path, unknown)) {
    throw Error(ErrorKind::input, path.string() + ": not a regular file");
  }
  std::string bytes = read_file(path, most_bytes);
  if (bytes.empty()) {
    throw Error(ErrorKind::input,
                fmt::format("{}: expected a text to learn, got an empty file", path.string()));
  }
  return Text(std::move(bytes));
}

Text Text::built_in() { return from_file(config_dir() / "texts" / "two-generations.txt"); }

Text::Tokens Text::sequences(std::uint64_t first, std::size_t count, std::size_t length) const {
  const std::size_t tokens = count * length;
  Tokens out;
  out.ids.reserve(tokens);
  out.targets.reserve(tokens);
  const auto byte = [this](std::uint64_t at) {
    return std::uint32_t{static_cast<unsigned char>(bytes_[at % bytes_.size()])};
  };
  for (std::uint64_t at = first * length; at < first * length + tokens; ++at) {
    out.ids.push_back(byte(at));
    out.targets.push_back(byte(at + 1));
  }
  return out;
}

}  // namespace zebroid
