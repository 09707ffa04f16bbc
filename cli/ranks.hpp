#pragma once

#include <memory>
#include <optional>
#include <string>

namespace zebroid {

/// Which of the processes that one mpirun started this is; the only one elsewhere.
struct RankPlace {
  int rank = 0;
  int size = 1;
};
RankPlace rank_place();

/// Messages between these processes. Nothing waits for a message: waiting in MPI would take the
/// core from a worker.
class Ranks {
 public:
  struct Message {
    int from;
    std::string text;
  };

  Ranks() = default;
  Ranks(const Ranks&) = delete;
  Ranks& operator=(const Ranks&) = delete;
  virtual ~Ranks() = default;

  virtual void send(int to, const std::string& text) = 0;
  virtual std::optional<Message> receive() = 0;
  /// Waits until all ranks leave. Who ends without it makes mpirun end the others.
  virtual void leave() = 0;
};

bool has_mpi();  ///< whether this build has it
/// Once; all ranks do. Without MPI, Error(internal).
std::unique_ptr<Ranks> join_ranks();

}  // namespace zebroid
