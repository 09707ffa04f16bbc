#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace zebroid {

/// What a function returned that ran in a process of its own, or why it did not.
struct ProcessResult {
  std::string output;
  std::exception_ptr error;  ///< its Error, or Error(internal) saying how the process died

  /// The output; throws the error.
  std::string take();
};

struct ProcessOptions {
  bool silent = false;               ///< stderr of a process goes nowhere
  std::function<void()> poll;        ///< called now and then; may throw to end all
  std::string what = "the process";  ///< what errors call one
};

/// Runs `work` in a fork of this process. What it breaks stays there. Throws its Error, and
/// Error(internal) when it dies or the system gives no process.
std::string run_in_process(const std::function<std::string()>& work, const ProcessOptions& options);

/// Forks of this process that stay and do numbered works, a batch at a time. One that dies costs
/// the work it was at: the rest of its batch goes to others, and a new fork takes its place. All
/// end with this object, and with this process.
class Workers {
 public:
  using Number = std::uint64_t;
  using Work = std::function<std::string(Number)>;
  struct Finished {
    Number number;
    ProcessResult result;
  };

  /// Forks `jobs` processes. Throws Error(internal) when the system gives none.
  Workers(std::size_t jobs, Work work, ProcessOptions options);
  Workers(const Workers&) = delete;
  Workers& operator=(const Workers&) = delete;
  ~Workers();

  /// How many more works keep everyone busy for a while.
  std::size_t wanted() const;
  /// Whether a process has nothing to do.
  bool idle() const;
  void give(const std::vector<Number>& numbers);
  /// What has been finished since the last call, in no order; waits for something, at most so long.
  /// Throws what the poll throws, and Error(internal) when a process cannot be replaced.
  std::vector<Finished> wait(std::chrono::milliseconds most);

 private:
  class Worker;

  std::size_t batch() const;
  void hand_out();
  void collect(std::unique_ptr<Worker>& worker, std::vector<Finished>& out);

  Work work_;
  ProcessOptions options_;
  std::vector<std::unique_ptr<Worker>> workers_;  ///< null: died, and nothing to do since
  std::deque<Number> queue_;
  double pace_s_ = 0;  ///< recent seconds per work; 0 = not known yet
};

}  // namespace zebroid
