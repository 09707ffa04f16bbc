#pragma once

#include "schedule/load.hpp"
#include "schedule/schedule.hpp"
#include "schedule/timeline.hpp"

namespace zebroid {

struct SimulateOptions {
  /// An exchange is launched no earlier than the exchange listed before it on the rank. Off only to
  /// find a good order.
  bool launch_rule = true;
  /// The caller knows that verify() finds no faults.
  bool verified = false;
};

/// Predicts the timeline without hardware, exactly by the rules of docs/architecture.md, every flow
/// between two GPUs on its own. Equal inputs give bit-equal timelines. Throws Error(input) when
/// verify finds faults, and Error(internal) naming the op when a rank never gets to run one.
Timeline simulate(const Schedule& schedule, const Load& load, const SimulateOptions& options = {});

}  // namespace zebroid
