#include "cli/sweep_lines.hpp"

#include <fmt/format.h>
#include <sys/stat.h>

#include <charconv>
#include <utility>

#include "cli/terminal.hpp"
#include "core/error.hpp"
#include "core/file.hpp"

namespace zebroid {
namespace {

/// Keeps what comes early, within limits.
class PrintedLines final : public SweepLines {
 public:
  std::optional<std::string> found(std::size_t /*point*/) const override { return std::nullopt; }
  std::size_t limit() const override {
    constexpr std::size_t most_held = 8192;
    return next_ + most_held;
  }
  void add(std::size_t point, const std::string& record) override {
    early_[point] = parse_record(record).line;
    for (auto at = early_.find(next_); at != early_.end(); at = early_.find(++next_)) {
      print_out(at->second + "\n");
      early_.erase(at);
    }
  }
  void add_failed(std::size_t point, const std::string& record) override { add(point, record); }
  void finish() override {}

 private:
  std::size_t next_ = 0;
  std::map<std::size_t, std::string> early_;
};

/// The path, if a file can be made there.
std::string checked(std::string path) {
  if (path.empty()) throw Error(ErrorKind::input, "--output: expected the name of a file");
  struct stat info {};
  if (::stat(path.c_str(), &info) == 0 && !S_ISREG(info.st_mode)) {
    throw Error(ErrorKind::input,
                fmt::format("--output: {}: {}", path,
                            S_ISDIR(info.st_mode) ? "is a folder" : "not a regular file"));
  }
  return path;
}

}  // namespace

std::string to_text(const PointRecord& record) {
  return fmt::format("{} {} {}", record.tokens_per_s, record.strategy, record.line);
}

PointRecord parse_record(std::string_view text) {
  const auto strategy = text.find(' ') + 1;
  const auto line = text.find(' ', strategy) + 1;
  PointRecord out;
  std::from_chars(text.data(), text.data() + strategy - 1, out.tokens_per_s);
  out.strategy = text.substr(strategy, line - 1 - strategy);
  out.line = text.substr(line);
  return out;
}

std::unique_ptr<SweepLines> printed_lines() { return std::make_unique<PrintedLines>(); }

FileLines::FileLines(std::string path, std::size_t points, std::function<Digest(std::size_t)> key)
    : path_(checked(std::move(path))),
      points_(points),
      key_(std::move(key)),
      journal_(journal_name(path_)) {}

std::optional<std::string> FileLines::found(std::size_t point) const {
  return journal_.find(key_(point));
}

void FileLines::add(std::size_t point, const std::string& record) {
  journal_.append(key_(point), record);
}

void FileLines::add_failed(std::size_t point, const std::string& record) {
  failed_[point] = record;
}

void FileLines::finish() {
  write_file(path_, [this](const Sink& write) {
    for (std::size_t p = 0; p < points_; ++p) {
      const auto failed = failed_.find(p);
      const std::string record = failed != failed_.end() ? failed->second : found(p).value();
      write(parse_record(record).line);
      write("\n");
    }
  });
  if (failed_.empty()) journal_.remove();
}

}  // namespace zebroid
