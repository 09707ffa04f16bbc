#pragma once

#include "models/scenario.hpp"
#include "planner/expert_parallel.hpp"

namespace zebroid {

/// A time below which the expert-parallel schedule of a shape in which every GPU has both roles
/// cannot end, found without making it:
/// each kind of group runs alone, in all-to-alls that take no longer than their busiest port, up to
/// the gradient sums. O(layers that differ * members^2 + layers * chunks * members) for each kind
/// of group.
Seconds expert_parallel_bound(const Scenario& scenario, const ExpertParallelShape& shape);

}  // namespace zebroid
