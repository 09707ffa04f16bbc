#pragma once

#include <cstddef>
#include <exception>
#include <functional>
#include <string>

namespace zebroid {

/// What a function returned that ran in a process of its own, or why it did not.
struct ProcessResult {
  std::string output;
  std::exception_ptr error;  ///< its Error, or Error(internal) saying how the process died

  /// The output; throws the error.
  std::string take();
};

struct ProcessOptions {
  std::size_t jobs = 1;              ///< processes at once
  bool silent = false;               ///< their stderr goes nowhere
  std::function<void()> poll;        ///< called now and then; may throw to end all
  std::string what = "the process";  ///< what errors call one
};

/// Runs work(0) ... work(count - 1), each in a fork of this process, and calls done(i, result) here
/// in this order, each as soon as it and all before it have ended. What a process breaks stays in
/// it. Throws Error(internal) when the system gives no process; processes still running are killed
/// when this throws.
void run_in_processes(std::size_t count, const std::function<std::string(std::size_t)>& work,
                      const std::function<void(std::size_t, ProcessResult)>& done,
                      const ProcessOptions& options);

/// One of them.
std::string run_in_process(const std::function<std::string()>& work, const ProcessOptions& options);

}  // namespace zebroid
