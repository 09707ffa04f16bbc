#include "cli/terminal.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <system_error>
#include <utility>

#include "core/error.hpp"

namespace zebroid {
namespace {

volatile std::sig_atomic_t signal_seen = 0;

extern "C" void on_signal(int signal) {
  if (signal_seen != 0) std::_Exit(128 + signal);
  signal_seen = signal;
}

}  // namespace

void notice_interrupts() {
  struct sigaction action {};
  action.sa_handler = on_signal;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  std::signal(SIGPIPE, SIG_IGN);  // a closed pipe is then an error of write
  std::signal(SIGXFSZ, SIG_IGN);  // and so is a file beyond `ulimit -f`
}

void stop_if_interrupted() {
  if (signal_seen != 0) throw Interrupted();
}

void print_out(std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(STDOUT_FILENO, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) {
      throw Error(ErrorKind::input,
                  "standard output: cannot write: " + std::generic_category().message(errno));
    }
    text.remove_prefix(static_cast<std::size_t>(written));
  }
}

void print_note(std::string_view text) {
  const std::string line = std::string(text) + "\n";
  std::fwrite(line.data(), 1, line.size(), stderr);  // if that fails, the exit code says enough
}

bool use_color(ColorMode mode) {
  if (mode != ColorMode::automatic) return mode == ColorMode::always;
  // NOLINTNEXTLINE(concurrency-mt-unsafe): nothing here sets variables
  return ::isatty(STDOUT_FILENO) != 0 && std::getenv("NO_COLOR") == nullptr;
}

Progress::Progress(std::string what, std::size_t total, bool quiet)
    : what_(std::move(what)),
      total_(total),
      shown_(!quiet && ::isatty(STDERR_FILENO) != 0),
      start_(std::chrono::steady_clock::now()),
      last_(start_) {}

Progress::~Progress() {
  if (dirty_) std::fputs("\r\033[K", stderr);
}

void Progress::update(std::size_t done, std::string_view best) {
  if (!shown_) return;
  using namespace std::chrono_literals;
  const auto now = std::chrono::steady_clock::now();
  if (now - start_ < 500ms || (now - last_ < 100ms && done < total_)) return;
  last_ = now;
  const double elapsed = std::chrono::duration<double>(now - start_).count();
  const double left =
      done == 0 ? 0 : elapsed / static_cast<double>(done) * static_cast<double>(total_ - done);
  constexpr double percent = 100;
  fmt::print(stderr, "\r\033[K{} {}/{} ({:.0f} %), {:.0f} s left{}{}", what_, done, total_,
             percent * static_cast<double>(done) / static_cast<double>(total_), left,
             best.empty() ? "" : ", best ", best);
  std::fflush(stderr);
  dirty_ = true;
}

}  // namespace zebroid
