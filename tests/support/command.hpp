#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace zebroid::testing {

/// A new, empty folder that is removed with its content.
class TemporaryFolder {
 public:
  TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  ~TemporaryFolder();

  const std::filesystem::path& path() const { return path_; }
  /// Writes a file of this folder.
  void write(const std::string& name, const std::string& content) const;
  std::string read(const std::string& name) const;
  /// Names of what is in it, sorted.
  std::vector<std::string> names() const;

 private:
  std::filesystem::path path_;
};

/// What became of a command.
struct Ran {
  std::string out;
  std::string err;
  int exit_code = 0;  ///< as a shell says it: 128 + the signal that ended it
};

struct RunOptions {
  std::filesystem::path folder = ".";  ///< in which it runs
  bool interrupt_at_output = false;    ///< sends SIGINT as soon as something came on stdout
};

/// Expects this exit code and one message on stderr, which says all these.
void expect_one_message(const Ran& ran, int exit_code, const std::vector<std::string>& says);

/// Runs a line of sh in which `zebroid` is the command of this build. An interrupt reaches only the
/// shell, unless the line says `exec zebroid`.
Ran run_line(const std::string& line, const RunOptions& options = {});

/// The command itself, with arguments written as for sh.
Ran run_zebroid(const std::string& arguments, const RunOptions& options = {});

}  // namespace zebroid::testing
