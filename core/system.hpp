#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <utility>

namespace zebroid {

/// A file descriptor that closes itself.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor();
  int get() const { return fd_; }
  int release() { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

/// Writes all of it; false, with errno, when the system does not let us.
bool write_all(int fd, std::string_view text);

/// The system's words for an errno.
std::string system_message(int code);

/// Throws Error(input): "PATH: cannot DOING: the system's words for `code`".
[[noreturn]] void refuse_file(const std::filesystem::path& path, std::string_view doing, int code);

}  // namespace zebroid
