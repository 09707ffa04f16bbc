#pragma once

#include <chrono>
#include <cstddef>
#include <exception>
#include <string>
#include <string_view>

namespace zebroid {

/// Thrown where Ctrl-C is noticed.
class Interrupted : public std::exception {
 public:
  const char* what() const noexcept override { return "interrupted"; }
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

/// A progress line on stderr while long work runs; nothing unless stderr is a terminal and half a
/// second has passed.
class Progress {
 public:
  Progress(std::string what, std::size_t total, bool quiet);
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  ~Progress();

  /// `done` of `total` are finished; `best` is shown behind.
  void update(std::size_t done, std::string_view best);

 private:
  std::string what_;
  std::size_t total_;
  bool shown_;
  std::chrono::steady_clock::time_point start_;
  std::chrono::steady_clock::time_point last_;
  bool dirty_ = false;
};

}  // namespace zebroid
