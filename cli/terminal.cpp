#include "cli/terminal.hpp"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <utility>

#include "core/error.hpp"
#include "core/system.hpp"

namespace zebroid {
namespace {

volatile std::sig_atomic_t signal_seen = 0;

extern "C" void on_signal(int signal) {
  if (signal_seen != 0) std::_Exit(128 + signal);
  signal_seen = signal;
}

std::size_t terminal_width() {
  winsize size{};
  constexpr std::size_t usual = 80;
  return ::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1 ? size.ws_col : usual;
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
  if (write_all(STDOUT_FILENO, text)) return;
  throw Error(ErrorKind::input, "standard output: cannot write: " + system_message(errno));
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

std::string duration_text(double seconds) {
  constexpr double minute = 60;
  constexpr double hour = 60 * minute;
  constexpr double few = 2;  // "90 s" says more than "2 min"
  if (seconds < few * minute) return fmt::format("{:.0f} s", seconds);
  if (seconds < few * hour) return fmt::format("{:.0f} min", seconds / minute);
  return fmt::format("{:.1f} h", seconds / hour);
}

std::string grouped(double number) {
  std::string out = fmt::format("{:.0f}", number);
  for (auto at = static_cast<std::ptrdiff_t>(out.size()) - 3; at > 0; at -= 3) {
    out.insert(static_cast<std::size_t>(at), ",");
  }
  return out;
}

Progress::Progress(std::string what, std::size_t total, bool quiet)
    : what_(std::move(what)),
      total_(total),
      shown_(!quiet && ::isatty(STDERR_FILENO) != 0),
      start_(std::chrono::steady_clock::now()),
      last_(start_) {}

Progress::~Progress() { clear(); }

void Progress::clear() {
  if (dirty_) std::fputs("\r\033[K", stderr);
  dirty_ = false;
}

void Progress::update(std::size_t done, std::string_view note) {
  if (!shown_) return;
  using namespace std::chrono_literals;
  const auto now = std::chrono::steady_clock::now();
  if (now - start_ < 500ms || (now - last_ < 100ms && done < total_)) return;
  last_ = now;
  constexpr double percent = 100;
  std::string line = fmt::format("{} {}/{} ({:.0f} %)", what_, done, total_,
                                 percent * static_cast<double>(done) / static_cast<double>(total_));
  if (done > before_) {
    const double rate =
        static_cast<double>(done - before_) / std::chrono::duration<double>(now - start_).count();
    line += fmt::format(", {:.3g}/s, {} left", rate,
                        duration_text(static_cast<double>(total_ - done) / rate));
  }
  if (!note.empty()) line += fmt::format(", {}", note);
  fmt::print(stderr, "\r\033[K{}", line.substr(0, terminal_width() - 1));
  std::fflush(stderr);
  dirty_ = true;
}

}  // namespace zebroid
