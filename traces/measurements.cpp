#include <algorithm>
#include <cerrno>
#include <iterator>
#include <set>
#include <system_error>
#include <utility>

#include "core/error.hpp"
#include "core/file.hpp"
#include "core/gzip.hpp"
#include "core/system.hpp"
#include "traces/complaints.hpp"
#include "traces/lines.hpp"
#include "traces/readers.hpp"
#include "traces/routing_traces.hpp"
#include "traces/tables.hpp"

namespace zebroid {
namespace {

namespace fs = std::filesystem;

template <class T>
void append(std::vector<T>& to, std::vector<T>&& from) {
  to.insert(to.end(), std::make_move_iterator(from.begin()), std::make_move_iterator(from.end()));
}

void append(Samples& to, Samples&& from) {
  append(to.samples, std::move(from.samples));
  append(to.complaints, std::move(from.complaints));
  append(to.notes, std::move(from.notes));
}

/// The regular files of a folder and of the folders in it, by name.
void list(const fs::path& folder, std::vector<fs::path>& files, Samples& out) {
  std::error_code failure;
  std::vector<fs::path> entries;
  for (fs::directory_iterator at(folder, failure), end; !failure && at != end;
       at.increment(failure)) {
    entries.push_back(at->path());
  }
  if (failure) {
    Complaints(folder.string(), out.complaints).add(0, "cannot read: " + failure.message());
  }
  std::sort(entries.begin(), entries.end());
  for (const fs::path& entry : entries) {
    // Links to folders may lead back; a pipe would wait for its writer.
    if (fs::is_directory(fs::symlink_status(entry, failure))) {
      list(entry, files, out);
    } else if (fs::is_regular_file(entry, failure)) {
      files.push_back(entry);
    }
  }
}

std::string_view first_line(std::string_view text) {
  std::vector<std::string> ignored;
  Complaints complaints("", ignored);
  LineReader lines(text, complaints);
  return lines.next() ? lines.line() : std::string_view();
}

/// The line that names the columns of a CSV text: the first that is no comment.
std::string_view header_line(std::string_view text) {
  std::vector<std::string> ignored;
  Complaints complaints("", ignored);
  CsvReader csv(text, complaints);
  return csv.next() ? csv.line() : std::string_view();
}

bool is_nccl_log(std::string_view text) {
  return text.find("out-of-place") != std::string_view::npos &&
         text.find("in-place") != std::string_view::npos;
}

Samples only_complaint(const std::string& name, std::string_view message) {
  Samples out;
  Complaints(name, out.complaints).add(0, message);
  return out;
}

Samples read_text(std::string_view text, const std::string& name, const ReadOptions& options) {
  const bool binary = text.find('\0') != std::string_view::npos;
  const std::string_view first = binary ? std::string_view() : first_line(text);
  if (first.find("\"zebroid.samples/") != std::string_view::npos) return read_samples(text, name);
  if (trimmed(first).starts_with('{')) {
    if (is_routing_trace(text)) return only_complaint(name, about_routing_trace(text));
  } else if (!binary) {
    if (is_nccl_log(text)) return read_nccl_log(text, name, options);
    if (resembles_table(header_line(text))) return read_kernel_table(text, name, options);
  }
  return only_complaint(
      name,
      "no format that zebroid reads: CSV tables (AIConfigurator, Vidur, DeepBench, zebroid's own), "
      "logs of nccl-tests, zebroid.samples/1");
}

Samples read_one(const fs::path& path, const ReadOptions& options) {
  constexpr std::size_t most_bytes = std::size_t{256} << 20U;
  const std::string name = path.string();
  try {
    std::string content = read_file(path, most_bytes);
    if (is_gzip(content)) content = gunzip(content, most_unpacked, name);
    return read_text(content, name, options);
  } catch (const Error& error) {  // it names the file
    Samples out;
    out.complaints.emplace_back(error.what());
    return out;
  }
}

}  // namespace

Samples read_measurements(const std::vector<fs::path>& paths, const ReadOptions& options) {
  Samples out;
  std::vector<fs::path> files;
  for (const fs::path& path : paths) {
    std::error_code failure;
    if (!fs::exists(path, failure)) refuse_file(path, "read", failure ? failure.value() : ENOENT);
    if (fs::is_directory(path, failure)) {
      list(path, files, out);
    } else {
      files.push_back(path);
    }
  }
  // A file that a folder brought already is the same measurement, not a second one.
  std::set<fs::path> seen;
  for (const fs::path& file : files) {
    std::error_code failure;
    if (seen.insert(fs::canonical(file, failure)).second || failure)
      append(out, read_one(file, options));
  }
  return out;
}

}  // namespace zebroid
