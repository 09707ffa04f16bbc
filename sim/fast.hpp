#pragma once

#include <memory>

#include "schedule/load.hpp"
#include "schedule/schedule.hpp"
#include "schedule/timeline.hpp"
#include "sim/fold.hpp"
#include "sim/simulate.hpp"

namespace zebroid {

/// A schedule and a load made ready for the fast engine, to be run any number of times: what
/// simulate() does once. Ranks that are alike run as one, exchanges that meet no other on their
/// ports by profiles solved in advance.
class FastSimulation {
 public:
  /// Schedule (without faults) and load outlive it; options.fidelity is pair, profile or automatic.
  FastSimulation(const Schedule& schedule, const Load& load, const SimulateOptions& options);
  FastSimulation(FastSimulation&&) noexcept;
  FastSimulation& operator=(FastSimulation&&) noexcept;
  ~FastSimulation();

  /// One iteration from its start; returns when it ends. Allocates nothing, except that the first
  /// run may find out that ranks differ more than was thought and start again. Throws
  /// Error(internal) naming an op that never runs.
  Seconds run();
  /// Of the last run. Needs options.timeline.
  Timeline timeline() const;

  Fidelity fidelity() const;         ///< pair or profile
  std::size_t rank_classes() const;  ///< ranks that differ
  /// Share of the time that exchanges of the last run spent moving bytes in which they shared a
  /// port with another one: what profile approximates.
  double overlap_fraction() const;

 private:
  class Engine;
  void make(Strictness strictness);

  const Schedule* schedule_;
  const Load* load_;
  SimulateOptions options_;
  std::unique_ptr<Engine> engine_;
};

}  // namespace zebroid
