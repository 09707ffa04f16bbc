#pragma once

#include "sim/simulate.hpp"

namespace zebroid {

// The engines behind simulate(). The schedule has no faults; options.fidelity is one that the
// engine has, for SimGrid not automatic.

Timeline simulate_fast(const Schedule& schedule, const Load& load, const SimulateOptions& options);

/// In this process, which may hold one SimGrid engine in its life: simulate() forks. Only where
/// has_simgrid().
Timeline simulate_with_simgrid(const Schedule& schedule, const Load& load,
                               const SimulateOptions& options);

}  // namespace zebroid
