#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "backend/host/faults.hpp"
#include "backend/host/optimizer.hpp"
#include "backend/host/text.hpp"
#include "core/error.hpp"
#include "models/scenario.hpp"
#include "schedule/schedule.hpp"
#include "schedule/timeline.hpp"

namespace zebroid {

enum class Precision : std::uint8_t { float32, float64 };

/// One step of training.
struct StepReport {
  std::uint32_t step = 0;    ///< from 1
  double loss = 0;           ///< mean cross-entropy over all tokens
  double gradient_norm = 0;  ///< before clipping
  Seconds duration;          ///< from the first op to the last, without --verify's comparison
};

struct HostOptions {
  std::uint32_t steps = 1;  ///< at least 1
  Precision precision = Precision::float32;
  std::uint64_t seed = 0;  ///< of the first parameters
  AdamW adamw;
  std::optional<std::size_t> memory_limit_bytes;  ///< of each rank
  std::chrono::duration<double> least_deadline{5};
  bool verify = false;     ///< compares every step with the reference, bit by bit
  bool checksums = false;  ///< of every message
  std::optional<Injection> injection;
  /// Ops start late, by up to 0.3 ms drawn from this: other orders of events.
  std::optional<std::uint64_t> delay_seed;
  std::function<void(const StepReport&)> on_step;
  /// Called now and then with the ops that have ended since the run began; may throw to end it.
  std::function<void(std::size_t ended)> poll;
  /// Called with what ended the run where a thread still runs half a second later: to end the
  /// process. Without it, and when it returns, run_on_host() waits for the thread.
  std::function<void(const Error&)> on_hang;
};

/// Memory of one rank, without what is not in its arena.
struct RankMemoryUse {
  double predicted_bytes = 0;  ///< most that the schedule can make it need, whatever takes how
                               ///< long, with the routing that each step counted
  double needed_bytes = 0;     ///< the same of the blocks that its ops took
  double peak_bytes = 0;       ///< most that was in use at once in any step
};

struct HostRun {
  std::vector<StepReport> steps;
  Timeline timeline;                        ///< of the last step
  std::vector<std::vector<double>> tokens;  ///< [layers with experts][experts] copies in it
  std::vector<RankMemoryUse> memory;        ///< [ranks]
  std::size_t threads = 0;
  std::string arithmetic;  ///< "OpenBLAS 0.3.21 ..., float32"
};

/// What a run will take, to say so where that is too much.
struct HostNeeds {
  double bytes = 0;  ///< of all ranks with their sums, and of the reference where it is asked for
  double largest_rank_bytes = 0;
  RankId largest_rank;
  double available_bytes = 0;  ///< to this process now; 0 = not known
};
/// Expected from the scenario's routing. The schedule is free of faults. Throws Error(input) for a
/// model that the host does not compute.
HostNeeds host_needs(const Schedule& schedule, const Scenario& scenario,
                     const HostOptions& options);

/// Trains by the schedule on this host: a thread for each stream of each rank. Throws Error(input)
/// for a schedule with faults or a model that the host does not compute, Error(infeasible) naming
/// rank, op and bytes where a rank's memory ends, Error(check) for the first bit that differs from
/// the reference, Error(aborted) naming the op and rank to blame for anything else.
HostRun run_on_host(const Schedule& schedule, const Scenario& scenario, Text text,
                    const HostOptions& options);

}  // namespace zebroid
