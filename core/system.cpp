#include "core/system.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

#include "core/error.hpp"

namespace zebroid {

Descriptor::~Descriptor() {
  if (fd_ >= 0) ::close(fd_);
}

bool write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(fd, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return false;
    text.remove_prefix(static_cast<std::size_t>(written));
  }
  return true;
}

std::string system_message(int code) { return std::generic_category().message(code); }

void refuse_file(const std::filesystem::path& path, std::string_view doing, int code) {
  throw Error(ErrorKind::input,
              fmt::format("{}: cannot {}: {}", path.string(), doing, system_message(code)));
}

}  // namespace zebroid
