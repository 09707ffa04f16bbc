#include "core/process.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <map>
#include <new>
#include <system_error>
#include <utility>
#include <vector>

#include "core/error.hpp"

namespace zebroid {
namespace {

std::string system_message(int code) { return std::generic_category().message(code); }

void write_all(int fd, const std::string& text) {
  std::size_t done = 0;
  while (done < text.size()) {
    const ssize_t written = ::write(fd, text.data() + done, text.size() - done);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return;
    done += static_cast<std::size_t>(written);
  }
}

/// First byte: 0 before the output, else an ErrorKind before its message.
std::string report_of(const std::function<std::string()>& work) {
  const auto failure = [](ErrorKind kind, const char* message) {
    return std::string(1, static_cast<char>(kind)) + message;
  };
  try {
    return std::string(1, '\0') + work();
  } catch (const Error& error) {
    return failure(error.kind(), error.what());
  } catch (const std::bad_alloc&) {
    return failure(ErrorKind::internal, "out of memory");
  } catch (const std::exception& error) {
    return failure(ErrorKind::internal, error.what());
  }
}

/// What remains of the child after the fork. Never returns.
[[noreturn]] void be_child(int fd, const std::function<std::string()>& work, bool silent) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  std::signal(SIGINT, SIG_IGN);  // a terminal sends it to all; the parent decides
  std::signal(SIGTERM, SIG_DFL);
  if (silent) {
    const int nowhere = ::open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (nowhere >= 0) ::dup2(nowhere, STDERR_FILENO);
  }
  write_all(fd, report_of(work));
  ::_exit(0);  // neither flushes nor destroys what is the parent's
}

class Child {
 public:
  Child(const std::function<std::string()>& work, bool silent) {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) {
      throw Error(ErrorKind::internal, "cannot make a pipe: " + system_message(errno));
    }
    pid_ = ::fork();
    const int failure = errno;
    if (pid_ == 0) {
      ::close(ends[0]);
      be_child(ends[1], work, silent);
    }
    ::close(ends[1]);
    fd_ = ends[0];
    if (pid_ < 0) {
      ::close(fd_);
      throw Error(ErrorKind::internal, "cannot start a process: " + system_message(failure));
    }
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child() {
    ::close(fd_);
    if (pid_ > 0) {
      ::kill(pid_, SIGKILL);
      wait();
    }
  }

  int fd() const { return fd_; }

  /// Reads what is there; true once there will be no more.
  bool read_some() {
    constexpr std::size_t piece = std::size_t{64} << 10U;
    const std::size_t size = report_.size();
    report_.resize(size + piece);
    const ssize_t got = ::read(fd_, report_.data() + size, piece);
    report_.resize(size + static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
    return got == 0 || (got < 0 && errno != EINTR);
  }

  ProcessResult result(const std::string& what) {
    const int status = wait();
    ProcessResult out;
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0 || report_.empty()) {
      const std::string how =
          WIFSIGNALED(status)
              ? fmt::format("signal {} ({})", WTERMSIG(status), sigdescr_np(WTERMSIG(status)))
              : fmt::format("exit code {}", WEXITSTATUS(status));
      out.error = std::make_exception_ptr(
          Error(ErrorKind::internal, fmt::format("{} died of {}", what, how)));
    } else if (report_.front() != '\0') {
      out.error = std::make_exception_ptr(
          Error(static_cast<ErrorKind>(report_.front()), report_.substr(1)));
    } else {
      report_.erase(0, 1);
      out.output = std::move(report_);
    }
    return out;
  }

 private:
  int wait() {
    int status = 0;
    while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
    }
    pid_ = -1;
    return status;
  }

  pid_t pid_ = -1;
  int fd_ = -1;
  std::string report_;
};

using Children = std::map<std::size_t, Child>;  // by number of the work

/// Waits until some child has written, at most a tenth of a second, and returns those that ended.
std::vector<std::size_t> read_children(Children& children) {
  constexpr int most_ms = 100;
  std::vector<pollfd> waiting;
  for (const auto& [i, child] : children) waiting.push_back({child.fd(), POLLIN, 0});
  std::vector<std::size_t> ended;
  if (::poll(waiting.data(), waiting.size(), most_ms) <= 0) return ended;
  std::size_t at = 0;
  for (auto& [i, child] : children) {
    if (waiting[at++].revents != 0 && child.read_some()) ended.push_back(i);
  }
  return ended;
}

}  // namespace

std::string ProcessResult::take() {
  if (error) std::rethrow_exception(error);
  return std::move(output);
}

void run_in_processes(std::size_t count, const std::function<std::string(std::size_t)>& work,
                      const std::function<void(std::size_t, ProcessResult)>& done,
                      const ProcessOptions& options) {
  Children running;
  std::map<std::size_t, ProcessResult> ended;
  std::size_t next = 0;
  std::size_t next_done = 0;
  while (next_done < count) {
    if (options.poll) options.poll();
    while (next < count && running.size() < std::max<std::size_t>(options.jobs, 1)) {
      const std::size_t i = next++;
      running.try_emplace(
          i, [&work, i] { return work(i); }, options.silent);
    }
    for (const std::size_t i : read_children(running)) {
      ended[i] = running.at(i).result(options.what);
      running.erase(i);
    }
    for (auto first = ended.begin(); first != ended.end() && first->first == next_done;
         first = ended.begin()) {
      done(next_done++, std::move(first->second));
      ended.erase(first);
    }
  }
}

std::string run_in_process(const std::function<std::string()>& work,
                           const ProcessOptions& options) {
  std::string out;
  run_in_processes(
      1, [&work](std::size_t) { return work(); },
      [&out](std::size_t, ProcessResult result) { out = result.take(); }, options);
  return out;
}

}  // namespace zebroid
