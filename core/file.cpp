#include "core/file.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "core/error.hpp"
#include "core/system.hpp"

namespace zebroid {
namespace {

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

/// Collects small pieces before it writes them.
class Buffer {
 public:
  Buffer(int fd, const std::filesystem::path& path) : fd_(fd), path_(path) {}
  void add(std::string_view piece) {
    constexpr std::size_t enough = std::size_t{1} << 20U;
    pending_ += piece;
    if (pending_.size() >= enough) flush();
  }
  void flush() {
    if (!write_all(fd_, pending_)) refuse_file(path_, "write", errno);
    pending_.clear();
  }

 private:
  int fd_;
  const std::filesystem::path& path_;
  std::string pending_;
};

/// A pipe or terminal, which is written to but not replaced.
bool is_special(const std::filesystem::path& path) {
  struct stat info {};
  return ::stat(path.c_str(), &info) == 0 && !S_ISREG(info.st_mode);
}

int open_special(const std::filesystem::path& path) {
  const int out = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
  if (out < 0) refuse_file(path, "write", errno);
  return out;
}

/// That of the file which is replaced, else as of any new file.
mode_t mode_for(const std::filesystem::path& path) {
  struct stat info {};
  constexpr mode_t permissions = 07777;
  if (::stat(path.c_str(), &info) == 0) return info.st_mode & permissions;
  constexpr mode_t all = 0666;
  const mode_t mask = ::umask(0);
  ::umask(mask);
  return all & ~mask;
}

/// A new file beside `path`, whose name it puts into `name`.
int open_beside(const std::filesystem::path& path, std::string& name) {
  name = path.string() + ".XXXXXX";
  const int out = ::mkostemp(name.data(), O_CLOEXEC);
  if (out < 0) refuse_file(path, "write", errno);
  return out;
}

}  // namespace

std::string read_file(const std::filesystem::path& path, std::size_t limit) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (file.get() < 0) refuse_file(path, "read", errno);
  struct stat info {};
  if (::fstat(file.get(), &info) != 0) refuse_file(path, "read", errno);
  if (S_ISDIR(info.st_mode)) refuse_file(path, "read", EISDIR);
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
    if (got < 0) refuse_file(path, "read", errno);
    if (content.size() > limit) {
      throw Error(ErrorKind::input,
                  fmt::format("{}: longer than the limit of {} bytes", path.string(), limit));
    }
    if (got == 0) return content;
  }
}

void write_file(const std::filesystem::path& path, std::string_view content) {
  write_file(path, [content](const Sink& write) { write(content); });
}

void write_file(const std::filesystem::path& path, const std::function<void(const Sink&)>& make) {
  const auto fill = [&](int fd) {
    Buffer buffer(fd, path);
    make([&buffer](std::string_view piece) { buffer.add(piece); });
    buffer.flush();
  };
  if (is_special(path)) return fill(Descriptor(open_special(path)).get());
  std::string name;
  Descriptor file(open_beside(path, name));
  TemporaryFile temporary(name);
  ::fchmod(file.get(), mode_for(path));
  fill(file.get());
  if (::fsync(file.get()) != 0) refuse_file(path, "write", errno);
  if (::close(file.release()) != 0) refuse_file(path, "write", errno);
  if (::rename(temporary.path().c_str(), path.c_str()) != 0) refuse_file(path, "write", errno);
  temporary.keep();
}

void try_to_write(const std::filesystem::path& path) {
  if (is_special(path)) {
    if (::access(path.c_str(), W_OK) != 0) refuse_file(path, "write", errno);
    if (std::filesystem::is_directory(path)) refuse_file(path, "write", EISDIR);
    return;
  }
  std::string name;
  const Descriptor file(open_beside(path, name));
  const TemporaryFile temporary(name);
}

}  // namespace zebroid
