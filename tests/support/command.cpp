#include "tests/support/command.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <stdexcept>

#include "core/file.hpp"

namespace zebroid::testing {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void child(const std::string& line, const fs::path& folder, int out, int err) {
  const std::string path = fs::path(ZEBROID_BINARY).parent_path().string() + ":" +
                           (std::getenv("PATH") != nullptr ? std::getenv("PATH") : "");
  for (const char* name : {"ZEBROID_CONFIG_DIR", "NO_COLOR"}) unsetenv(name);
  if (setenv("PATH", path.c_str(), 1) == 0 && chdir(folder.c_str()) == 0 &&
      dup2(out, STDOUT_FILENO) >= 0 && dup2(err, STDERR_FILENO) >= 0) {
    execl("/bin/sh", "sh", "-c", line.c_str(), nullptr);
  }
  std::_Exit(127);
}

std::string read_all(int fd, pid_t to_interrupt) {
  std::string out;
  std::array<char, 4096> buffer{};
  for (;;) {
    const ssize_t got = ::read(fd, buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return out;
    if (out.empty() && to_interrupt > 0) kill(to_interrupt, SIGINT);
    out.append(buffer.data(), static_cast<std::size_t>(got));
  }
}

int wait_for(pid_t process) {
  int status = 0;
  while (waitpid(process, &status, 0) < 0) {
    if (errno != EINTR) throw std::runtime_error("waitpid failed");
  }
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

}  // namespace

TemporaryFolder::TemporaryFolder() {
  std::string name = (fs::temp_directory_path() / "zebroid-test-XXXXXX").string();
  if (mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
  path_ = name;
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

void TemporaryFolder::write(const std::string& name, const std::string& content) const {
  std::ofstream file(path_ / name, std::ios::binary);
  file << content;
  file.close();
  if (!file) throw std::runtime_error("cannot write " + name);
}

std::string TemporaryFolder::read(const std::string& name) const {
  return read_file(path_ / name, std::size_t{1} << 30U);
}

std::vector<std::string> TemporaryFolder::names() const {
  std::vector<std::string> out;
  for (const auto& entry : fs::directory_iterator(path_)) out.push_back(entry.path().filename());
  std::sort(out.begin(), out.end());
  return out;
}

Ran run_line(const std::string& line, const RunOptions& options) {
  std::array<int, 2> out{};
  const std::unique_ptr<FILE, int (*)(FILE*)> err(std::tmpfile(), &std::fclose);
  if (err == nullptr || pipe(out.data()) != 0) throw std::runtime_error("no pipe or file to read");
  const pid_t process = fork();
  if (process == 0) {
    close(out[0]);
    child(line, options.folder, out[1], fileno(err.get()));
  }
  close(out[1]);
  if (process < 0) throw std::runtime_error("fork failed");
  Ran ran;
  ran.out = read_all(out[0], options.interrupt_at_output ? process : 0);
  close(out[0]);
  ran.exit_code = wait_for(process);
  std::rewind(err.get());  // the offset is shared with the command, which left it at the end
  ran.err = read_all(fileno(err.get()), 0);
  return ran;
}

Ran run_zebroid(const std::string& arguments, const RunOptions& options) {
  return run_line("exec zebroid " + arguments, options);
}

void expect_one_message(const Ran& ran, int exit_code, const std::vector<std::string>& says) {
  using ::testing::EndsWith;
  using ::testing::HasSubstr;
  using ::testing::StartsWith;
  EXPECT_EQ(ran.exit_code, exit_code) << ran.err;
  EXPECT_THAT(ran.err, StartsWith("zebroid: "));
  EXPECT_THAT(ran.err, EndsWith("\n"));
  EXPECT_THAT(ran.err, Not(HasSubstr("internal error")));
  EXPECT_THAT(ran.err, Not(HasSubstr("\nzebroid: "))) << "more than one message";
  for (const std::string& part : says) EXPECT_THAT(ran.err, HasSubstr(part));
}

}  // namespace zebroid::testing
