#include "core/file.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <utility>

#include "core/error.hpp"

namespace zebroid {
namespace {

[[noreturn]] void fail(std::string_view doing, const std::filesystem::path& path, int code) {
  throw Error(ErrorKind::input, fmt::format("{}: cannot {}: {}", path.string(), doing,
                                            std::generic_category().message(code)));
}

/// A file descriptor that closes itself.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const { return fd_; }
  int release() { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

/// Removes a temporary file unless it was renamed away.
class TemporaryFile {
 public:
  explicit TemporaryFile(std::filesystem::path path) : path_(std::move(path)) {}
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  ~TemporaryFile() {
    if (!path_.empty()) ::unlink(path_.c_str());
  }
  const std::filesystem::path& path() const { return path_; }
  void keep() { path_.clear(); }

 private:
  std::filesystem::path path_;
};

void write_all(int fd, std::string_view content, const std::filesystem::path& path) {
  while (!content.empty()) {
    const ssize_t written = ::write(fd, content.data(), content.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail("write", path, errno);
    content.remove_prefix(static_cast<std::size_t>(written));
  }
}

}  // namespace

std::string read_file(const std::filesystem::path& path, std::size_t limit) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (file.get() < 0) fail("read", path, errno);
  struct stat info {};
  if (::fstat(file.get(), &info) != 0) fail("read", path, errno);
  if (S_ISDIR(info.st_mode)) fail("read", path, EISDIR);
  if (!S_ISREG(info.st_mode) && !S_ISFIFO(info.st_mode)) {
    throw Error(ErrorKind::input, fmt::format("{}: not a regular file", path.string()));
  }
  ::fcntl(file.get(), F_SETFL, O_RDONLY);  // opening must not wait for a pipe's writer, reading may
  std::string content;
  constexpr std::size_t step = std::size_t{1} << 16U;
  for (;;) {
    const std::size_t have = content.size();
    content.resize(have + step);
    const ssize_t got = ::read(file.get(), content.data() + have, step);
    content.resize(have + (got > 0 ? static_cast<std::size_t>(got) : 0));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail("read", path, errno);
    if (content.size() > limit) {
      throw Error(ErrorKind::input,
                  fmt::format("{}: longer than the limit of {} bytes", path.string(), limit));
    }
    if (got == 0) return content;
  }
}

void write_file(const std::filesystem::path& path, std::string_view content) {
  struct stat info {};
  if (::stat(path.c_str(), &info) == 0 &&
      !S_ISREG(info.st_mode)) {  // a pipe or terminal: nothing to replace
    const Descriptor file(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
    if (file.get() < 0) fail("write", path, errno);
    write_all(file.get(), content, path);
    return;
  }
  std::string name = path.string() + ".XXXXXX";
  Descriptor file(::mkostemp(name.data(), O_CLOEXEC));
  if (file.get() < 0) fail("write", path, errno);
  TemporaryFile temporary(name);
  constexpr mode_t readable_by_all = 0644;
  ::fchmod(file.get(), readable_by_all);
  write_all(file.get(), content, path);
  if (::fsync(file.get()) != 0) fail("write", path, errno);
  if (::close(file.release()) != 0) fail("write", path, errno);
  if (::rename(temporary.path().c_str(), path.c_str()) != 0) fail("write", path, errno);
  temporary.keep();
}

}  // namespace zebroid
