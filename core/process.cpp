#include "core/process.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <new>
#include <optional>
#include <utility>

#include "core/error.hpp"
#include "core/system.hpp"

namespace zebroid {
namespace {

using Clock = std::chrono::steady_clock;
using Number = Workers::Number;

constexpr double horizon_s = 0.05;  // a worker asks for work about that often

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

ProcessResult result_of(const std::string& report) {
  const std::string text = report.substr(1);
  if (report.front() == '\0') return {text, nullptr};
  return {"", std::make_exception_ptr(Error(static_cast<ErrorKind>(report.front()), text))};
}

/// A report behind its size.
std::string framed(const std::string& report) {
  const std::uint64_t size = report.size();
  std::string out(sizeof size, '\0');
  std::memcpy(out.data(), &size, sizeof size);
  return out + report;
}

/// Takes the first whole report off what a child has written.
std::optional<std::string> next_report(std::string& unread) {
  std::uint64_t size = 0;
  if (unread.size() < sizeof size) return std::nullopt;
  std::memcpy(&size, unread.data(), sizeof size);
  if (unread.size() - sizeof size < size) return std::nullopt;
  std::string report = unread.substr(sizeof size, size);
  unread.erase(0, sizeof size + size);
  return report;
}

/// The next number from the parent; nothing once it has gone.
std::optional<Number> next_number(int fd) {
  Number number = 0;
  const ssize_t got = ::recv(fd, &number, sizeof number, MSG_WAITALL);
  if (got != sizeof number) return std::nullopt;
  return number;
}

/// A fork that lives in `body`, which talks to this process through one end of a socket.
class Child {
 public:
  Child(const std::function<void(int)>& body, bool silent) {
    std::array<int, 2> ends{};
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) {
      throw Error(ErrorKind::internal, "cannot make a socket: " + system_message(errno));
    }
    const Descriptor theirs(ends[1]);
    fd_ = ends[0];
    const pid_t parent = ::getpid();
    pid_ = ::fork();
    const int failure = errno;
    if (pid_ == 0) become(parent, theirs.get(), body, silent);
    if (pid_ < 0) {
      ::close(fd_);
      throw Error(ErrorKind::internal, "cannot start a process: " + system_message(failure));
    }
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child() {
    ::close(fd_);
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    wait();
  }

  int fd() const { return fd_; }

  /// False when it has gone.
  bool send(const std::vector<Number>& numbers) const {
    const std::size_t size = numbers.size() * sizeof(Number);
    return ::send(fd_, numbers.data(), size, MSG_NOSIGNAL) == static_cast<ssize_t>(size);
  }

  /// Adds what it has written to `unread`; false once there will be no more.
  bool receive(std::string& unread) const {
    constexpr std::size_t piece = std::size_t{64} << 10U;
    const std::size_t size = unread.size();
    unread.resize(size + piece);
    const ssize_t got = ::read(fd_, unread.data() + size, piece);
    unread.resize(size + static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
    return got > 0 || (got < 0 && errno == EINTR);
  }

  /// For one that has gone.
  std::string cause_of_death() {
    const int status = wait();
    if (!WIFSIGNALED(status)) return fmt::format("exit code {}", WEXITSTATUS(status));
    return fmt::format("signal {} ({})", WTERMSIG(status), sigdescr_np(WTERMSIG(status)));
  }

 private:
  /// What remains of the child after the fork.
  [[noreturn]] static void become(pid_t parent, int fd, const std::function<void(int)>& body,
                                  bool silent) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(1);
    for (const int signal : {SIGINT, SIGTERM}) {  // these go to whole groups; the parent decides
      std::signal(signal, SIG_IGN);
    }
    if (silent) {
      const int nowhere = ::open("/dev/null", O_WRONLY | O_CLOEXEC);
      if (nowhere >= 0) ::dup2(nowhere, STDERR_FILENO);
    }
    // Others must not wait for an end of file because a copy is open here.
    const auto own = static_cast<unsigned>(::dup2(fd, STDERR_FILENO + 1));
    ::close_range(own + 1, ~0U, 0);
    body(static_cast<int>(own));
    ::_exit(0);  // neither flushes nor destroys what is the parent's
  }

  int wait() {
    int status = 0;
    while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
    }
    pid_ = -1;
    return status;
  }

  pid_t pid_ = -1;
  int fd_ = -1;
};

}  // namespace

std::string ProcessResult::take() {
  if (error) std::rethrow_exception(error);
  return std::move(output);
}

std::string run_in_process(const std::function<std::string()>& work,
                           const ProcessOptions& options) {
  Workers workers(
      1, [&work](Number) { return work(); }, options);
  workers.give({0});
  for (;;) {
    constexpr std::chrono::milliseconds between_polls(100);
    for (Workers::Finished& finished : workers.wait(between_polls)) return finished.result.take();
  }
}

/// A child and its batch.
class Workers::Worker {
 public:
  Worker(const Work& work, bool silent)
      : child_(
            [&work](int fd) {
              while (const auto number = next_number(fd)) {
                const auto one = [&] { return work(*number); };
                if (!write_all(fd, framed(report_of(one)))) return;
              }
            },
            silent) {}

  int fd() const { return child_.fd(); }
  const std::deque<Number>& batch() const { return batch_; }

  /// False when it has gone.
  bool give(const std::vector<Number>& numbers) {
    batch_.assign(numbers.begin(), numbers.end());
    since_ = Clock::now();
    return child_.send(numbers);
  }

  /// Adds what it has finished; false once there will be no more.
  bool collect(std::vector<Finished>& out) {
    const bool lives = child_.receive(unread_);
    for (;;) {
      const auto report = next_report(unread_);
      if (!report) return lives;
      out.push_back({batch_.front(), result_of(*report)});
      batch_.pop_front();
    }
  }

  /// Seconds since it was last asked or got its batch.
  double lap() {
    const auto now = Clock::now();
    return std::chrono::duration<double>(now - std::exchange(since_, now)).count();
  }

  std::string cause_of_death() { return child_.cause_of_death(); }

 private:
  Child child_;
  std::deque<Number> batch_;  // not finished yet; it is at the first
  std::string unread_;
  Clock::time_point since_;
};

Workers::Workers(std::size_t jobs, Work work, ProcessOptions options)
    : work_(std::move(work)), options_(std::move(options)) {
  for (std::size_t j = 0; j < jobs; ++j) {
    workers_.push_back(std::make_unique<Worker>(work_, options_.silent));
  }
}

Workers::~Workers() = default;

std::size_t Workers::batch() const {
  constexpr double most = 1024;  // fits the buffer of a socket
  return pace_s_ > 0 ? static_cast<std::size_t>(std::clamp(horizon_s / pace_s_, 1.0, most)) : 1;
}

bool Workers::idle() const {
  return queue_.empty() && std::any_of(workers_.begin(), workers_.end(), [](const auto& worker) {
           return !worker || worker->batch().empty();
         });
}

std::size_t Workers::wanted() const {
  std::size_t out = 0;
  const bool slow = pace_s_ == 0 || pace_s_ > horizon_s;  // nobody queues behind a long work
  for (const auto& worker : workers_) {
    if (!slow || !worker || worker->batch().empty()) out += batch();
  }
  return out - std::min(out, queue_.size());
}

void Workers::give(const std::vector<Number>& numbers) {
  queue_.insert(queue_.end(), numbers.begin(), numbers.end());
  hand_out();
}

void Workers::hand_out() {
  for (auto& worker : workers_) {
    if (queue_.empty()) return;
    if (!worker) worker = std::make_unique<Worker>(work_, options_.silent);
    if (!worker->batch().empty()) continue;
    const std::size_t share = (queue_.size() + workers_.size() - 1) / workers_.size();
    const auto end = queue_.begin() + static_cast<std::ptrdiff_t>(std::min(batch(), share));
    if (worker->give({queue_.begin(), end})) {
      queue_.erase(queue_.begin(), end);
    } else {
      worker.reset();  // it died with nothing to do
    }
  }
}

void Workers::collect(std::unique_ptr<Worker>& worker, std::vector<Finished>& out) {
  const std::size_t before = out.size();
  const bool lives = worker->collect(out);
  if (const std::size_t finished = out.size() - before; finished > 0) {
    constexpr double weight = 0.1;
    const double pace = worker->lap() / static_cast<double>(finished);
    pace_s_ = pace_s_ == 0 ? pace : pace_s_ + weight * (pace - pace_s_);
  }
  if (lives) return;
  if (!worker->batch().empty()) {
    const std::string message =
        fmt::format("{} died of {}", options_.what, worker->cause_of_death());
    out.push_back({worker->batch().front(),
                   {"", std::make_exception_ptr(Error(ErrorKind::internal, message))}});
    queue_.insert(queue_.begin(), worker->batch().begin() + 1, worker->batch().end());
  }
  worker.reset();
}

std::vector<Workers::Finished> Workers::wait(std::chrono::milliseconds most) {
  hand_out();
  std::vector<pollfd> waiting;
  for (const auto& worker : workers_) waiting.push_back({worker ? worker->fd() : -1, POLLIN, 0});
  const int ready = ::poll(waiting.data(), waiting.size(), static_cast<int>(most.count()));
  if (options_.poll) options_.poll();
  std::vector<Finished> out;
  if (ready <= 0) return out;
  for (std::size_t w = 0; w < workers_.size(); ++w) {
    if (waiting[w].revents != 0) collect(workers_[w], out);
  }
  hand_out();
  return out;
}

}  // namespace zebroid
