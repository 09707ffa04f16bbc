#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <vector>

#include "backend/host/compute_ops.hpp"
#include "backend/host/exchange_ops.hpp"
#include "backend/host/host_run.hpp"
#include "backend/host/thread_queues.hpp"
#include "schedule/timeline.hpp"

namespace zebroid {

/// One rank while a schedule runs: state, streams, and the times of its ops.
template <class Real>
class HostRank {
 public:
  using Clock = std::chrono::steady_clock;
  struct Context {  ///< all outlive this
    const StepJob& job;
    const NormParts& norm;
    const Values& values;  ///< of the rank's program, as the two below
    const OpIndex& index;
    const Reads& reads;
    RouteCounts& routes;
    const CountedAmounts& amounts;
    Communicator& communicator;
    Trouble& trouble;
    const HostOptions& options;
  };

  /// Takes and starts the rank's parameters. Throws OutOfMemory.
  HostRank(const Context& context, RankId rank);

  /// Its streams with an iteration queued; their threads end before this does.
  std::unique_ptr<ThreadQueues> make_queues();

  const RankParameters<Real>& parameters() const { return parameters_; }
  const RankMemory<Real>& memory() const { return memory_; }
  const Arena& arena() const { return arena_; }
  const std::vector<double>& losses() const { return compute_.losses(); }

  /// Before an iteration.
  void begin(std::uint64_t step);
  /// Of the iteration that has ended, [ops].
  std::vector<OpTimes> times(const ThreadQueues& queues, Clock::time_point start) const;

 private:
  const Injection* injection() const;
  bool fails(FaultKind kind, std::uint32_t op) const;
  void run(std::uint32_t op);
  void run_op(std::uint32_t op);
  void disturb(std::uint32_t op);

  Context context_;
  RankId rank_;
  const Program& program_;
  Arena arena_;
  RankMemory<Real> memory_;
  RankParameters<Real> parameters_;
  RankState<Real> state_;
  ComputeOps<Real> compute_;
  ExchangeOps<Real> exchanges_;
  std::vector<OpTimes> times_;
  std::vector<Clock::time_point> started_;
  std::uint64_t step_ = 0;
  std::atomic<bool> dead_ = false;
};

}  // namespace zebroid
