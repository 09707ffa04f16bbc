#pragma once

#include <cstdint>

#include "schedule/schedule.hpp"

namespace zebroid {

/// The in-order queues of one rank, one for each stream, and events between them: threads on a
/// host, CUDA streams on a GPU. What is queued runs as soon as it may.
class Queues {
 public:
  using Event = std::uint32_t;

  Queues() = default;
  Queues(const Queues&) = delete;
  Queues& operator=(const Queues&) = delete;
  virtual ~Queues() = default;

  /// What the stream is given from now on waits for the event.
  virtual void wait(Stream stream, Event event) = 0;
  /// The event happens when all that the stream was given so far has ended.
  virtual void record(Stream stream, Event event) = 0;
  /// The op with this index in the rank's program.
  virtual void run(Stream stream, std::uint32_t op) = 0;
};

/// The event that an op has ended, or that an exchange is launched on this rank.
constexpr Queues::Event ended(std::uint32_t op) { return 2 * op + 1; }
constexpr Queues::Event launched(std::uint32_t op) { return 2 * op; }

/// Queues one iteration of a rank under the rules of docs/architecture.md: each op after the ops
/// that it reads, each exchange launched no earlier than the one listed before it. It knows nothing
/// else of ops, and nothing of strategies.
void issue(const Program& program, const Reads& reads, Queues& queues);

}  // namespace zebroid
