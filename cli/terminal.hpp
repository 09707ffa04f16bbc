#pragma once

#include <chrono>
#include <cstddef>
#include <stdexcept>
#include <string>
#include <string_view>

namespace zebroid {

/// Thrown where Ctrl-C is noticed.
class Interrupted : public std::runtime_error {
 public:
  explicit Interrupted(const std::string& message = "interrupted") : std::runtime_error(message) {}
};

/// From now on SIGINT and SIGTERM are noticed by stop_if_interrupted() instead of ending the
/// process; a second one ends it.
void notice_interrupts();
/// Throws Interrupted once a signal has come.
void stop_if_interrupted();

/// Writes to stdout at once. Throws Error(input) when that fails, for example on a full disk.
void print_out(std::string_view text);
/// Writes a line to stderr; nothing happens when that fails.
void print_note(std::string_view text);

enum class ColorMode { automatic, always, never };
/// Whether to colour what goes to stdout: a terminal, and NO_COLOR unset, unless the mode says.
bool use_color(ColorMode mode);

/// Seconds as a person says them: "45 s", "12 min", "3.5 h".
std::string duration_text(double seconds);
/// 226696.4 as "226,696".
std::string grouped(double number);

/// A progress line on stderr while long work runs; nothing unless stderr is a terminal and half a
/// second has passed.
class Progress {
 public:
  Progress(std::string what, std::size_t total, bool quiet);
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  ~Progress();

  bool shown() const { return shown_; }
  /// Of those that update() will say are finished, so many were before; they say nothing about
  /// speed.
  void resume(std::size_t before) { before_ = before; }
  /// `done` of `total` are finished; the note is shown behind.
  void update(std::size_t done, std::string_view note);
  /// Takes the line away, until the next update().
  void clear();

 private:
  std::string what_;
  std::size_t total_;
  std::size_t before_ = 0;
  bool shown_;
  std::chrono::steady_clock::time_point start_;
  std::chrono::steady_clock::time_point last_;
  bool dirty_ = false;
};

}  // namespace zebroid
