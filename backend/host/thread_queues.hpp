#pragma once

#include <array>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "backend/executor.hpp"
#include "backend/host/trouble.hpp"

namespace zebroid {

/// The queues of one rank as threads, one for each stream that is used. What is queued before
/// start() is an iteration, which can run any number of times.
class ThreadQueues final : public Queues {
 public:
  using Clock = std::chrono::steady_clock;
  /// Runs an op on a stream's thread. It reports its own failures; throws nothing but Stopped,
  /// which ends the thread.
  using Work = std::function<void(std::uint32_t op)>;

  /// events: one more than the largest. The trouble outlives this.
  ThreadQueues(std::uint32_t events, Work work, Trouble& trouble);
  ~ThreadQueues() override;

  void wait(Stream stream, Event event) override;
  void record(Stream stream, Event event) override;
  void run(Stream stream, std::uint32_t op) override;

  /// Loses the op and the news of its end, in every iteration: a fault.
  void drop(std::uint32_t op);

  /// Starts the threads. Throws std::system_error when the system gives none.
  void start();
  /// Runs what is queued once more. All of it has ended.
  void begin();
  /// Waits until all has ended or the run is stopped; false then, and after `most`.
  bool finish(std::chrono::milliseconds most);

  /// Where a stream is.
  struct State {
    enum class What : std::uint8_t { done, starting, waiting, running, dead };
    Stream stream = Stream::compute;
    What what = What::done;
    Event event = 0;           ///< waiting: for this one
    std::uint32_t op = no_op;  ///< running: this one; waiting or dead: the next one, if any
    std::size_t begun = 0;     ///< ops of this iteration
    Clock::time_point since;   ///< it is at this command
    static constexpr std::uint32_t no_op = UINT32_MAX;
  };
  struct Snapshot {
    std::vector<State> streams;
    std::size_t events = 0;     ///< that have happened
    std::size_t ops_ended = 0;  ///< ends of ops among them
    std::size_t ops_begun = 0;
    std::vector<char> happened;  ///< [events], in detail only
    std::vector<char> begun;  ///< [events] of ended(op): the op was taken from its queue; likewise
  };
  enum class Detail : std::uint8_t { counts, events };
  Snapshot snapshot(Detail detail) const;
  /// Whether no thread runs an op; those of a run that was stopped will begin none.
  bool rests() const;
  /// When each event of the last iteration happened, [events]; for launched(op) of an op that is
  /// no exchange, when it was begun.
  std::vector<Clock::time_point> times() const;

 private:
  struct Command {
    enum class What : std::uint8_t { wait, record, run, lose };
    What what;
    std::uint32_t number;  // event or op
  };
  struct Queue {
    std::vector<Command> commands;
    std::size_t next = 0;
    std::uint64_t iteration = 0;  // that it has finished
    std::size_t begun = 0;        // ops of this iteration
    bool dead = false;
    State::What what = State::What::done;
    Clock::time_point since;
  };

  Queue& queue(Stream stream) { return queues_.at(static_cast<std::size_t>(stream)); }
  void serve(Queue& queue);
  void run_iteration(Queue& queue);
  bool all_ended() const;
  void begin_op(Queue& queue, std::uint32_t op);
  static State state_of(Stream stream, const Queue& queue);

  Work work_;
  Trouble& trouble_;
  mutable std::mutex mutex_;
  std::condition_variable_any changed_;
  std::array<Queue, stream_count> queues_;
  std::vector<char> happened_;
  std::vector<char> begun_;
  std::size_t events_ = 0;  // that have happened
  std::size_t ops_ended_ = 0;
  std::vector<Clock::time_point> times_;
  std::uint64_t iteration_ = 0;
  std::vector<std::jthread> threads_;
};

}  // namespace zebroid
