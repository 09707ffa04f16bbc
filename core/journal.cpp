#include "core/journal.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "core/error.hpp"

namespace zebroid {
namespace {

constexpr std::string_view header = "zebroid.journal/1\n";
constexpr std::size_t key_size = 32;
constexpr std::size_t record_at = 2 * (key_size + 1);  // behind two digests and spaces

/// Locks the whole file. Forks do not inherit such a lock: it ends with this process, not with the
/// last of its workers.
bool lock(int fd) {
  struct flock whole {};
  whole.l_type = F_WRLCK;
  return ::fcntl(fd, F_SETLK, &whole) == 0;
}

/// Whether `path` still is the open file; another process may have removed it in between.
bool is_at(const std::filesystem::path& path, int fd) {
  struct stat opened {};
  struct stat named {};
  return ::fstat(fd, &opened) == 0 && ::stat(path.c_str(), &named) == 0 &&
         opened.st_dev == named.st_dev && opened.st_ino == named.st_ino;
}

int open_locked(const std::filesystem::path& path) {
  for (;;) {
    constexpr mode_t readable_by_all = 0644;
    Descriptor file(::open(path.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NONBLOCK,
                           readable_by_all));
    if (file.get() < 0) refuse_file(path, "write", errno);
    struct stat info {};
    if (::fstat(file.get(), &info) != 0) refuse_file(path, "read", errno);
    if (!S_ISREG(info.st_mode)) {
      throw Error(ErrorKind::input, fmt::format("{}: not a regular file", path.string()));
    }
    if (!lock(file.get())) {
      if (errno != EACCES && errno != EAGAIN) refuse_file(path, "lock", errno);
      throw Error(ErrorKind::input, fmt::format("{}: in use by another process", path.string()));
    }
    if (is_at(path, file.get())) return file.release();
  }
}

/// Reads up to `size` bytes; fewer at the end of the file only.
std::string read_at(int fd, std::uint64_t offset, std::size_t size,
                    const std::filesystem::path& path) {
  std::string out(size, '\0');
  std::size_t have = 0;
  while (have < size) {
    const ssize_t got =
        ::pread(fd, out.data() + have, size - have, static_cast<off_t>(offset + have));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) refuse_file(path, "read", errno);
    if (got == 0) break;
    have += static_cast<std::size_t>(got);
  }
  out.resize(have);
  return out;
}

}  // namespace

Journal::Journal(std::filesystem::path path) : path_(std::move(path)), file_(open_locked(path_)) {
  const std::string begin = read_at(file_.get(), 0, header.size(), path_);
  if (!header.starts_with(begin)) {
    throw Error(ErrorKind::input, fmt::format("{}: not a journal of zebroid", path_.string()));
  }
  if (begin.size() == header.size()) load();
  if (::ftruncate(file_.get(), static_cast<off_t>(end_)) != 0) refuse_file(path_, "write", errno);
  if (end_ > 0) return;
  if (!write_all(file_.get(), header)) refuse_file(path_, "write", errno);
  end_ = header.size();
}

/// Leaves `end_` behind the last whole line.
void Journal::load() {
  constexpr std::size_t piece = std::size_t{1} << 20U;
  std::string text;  // from end_ on
  for (;;) {
    const std::string more = read_at(file_.get(), end_ + text.size(), piece, path_);
    if (more.empty()) return;
    text += more;
    std::size_t begin = 0;
    for (auto end = text.find('\n'); end != std::string::npos; end = text.find('\n', begin)) {
      load_line(std::string_view(text).substr(begin, end - begin), end_ + begin);
      begin = end + 1;
    }
    text.erase(0, begin);
    end_ += begin;
  }
}

void Journal::load_line(std::string_view line, std::uint64_t offset) {
  if (line.size() < record_at || line[key_size] != ' ') return;
  const auto checksum = parse_digest(line.substr(0, key_size));
  const auto key = parse_digest(line.substr(key_size + 1, key_size));
  if (!key || checksum != digest(line.substr(key_size + 1))) return;
  places_[*key] = {offset + record_at, line.size() - record_at};
}

std::optional<std::string> Journal::find(const Digest& key) const {
  const auto found = places_.find(key);
  if (found == places_.end()) return std::nullopt;
  return read_at(file_.get(), found->second.offset, found->second.size, path_);
}

void Journal::append(const Digest& key, std::string_view record) {
  const std::string rest = fmt::format("{} {}", to_text(key), record);
  const std::string line = fmt::format("{} {}\n", to_text(digest(rest)), rest);
  if (!write_all(file_.get(), line)) refuse_file(path_, "write", errno);
  places_[key] = {end_ + record_at, record.size()};
  end_ += line.size();
}

void Journal::remove() {
  if (::unlink(path_.c_str()) != 0) refuse_file(path_, "remove", errno);
}

}  // namespace zebroid
