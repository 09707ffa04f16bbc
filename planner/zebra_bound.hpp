#pragma once

#include <cstdint>

#include "models/scenario.hpp"
#include "planner/zebra.hpp"

namespace zebroid {

// Times below which no zebra schedule ends that has the groups and microbatches of `shape`: by
// compute and latencies along the streams of one attention and one expert GPU, and from each
// layer's first microbatch to the next layer's. No schedule is made.

/// With the shape's own offload.
Seconds zebra_bound(const Scenario& scenario, const ZebraShape& shape);
/// With any, of at most so many experts from each expert GPU and layer.
Seconds zebra_bound_of_all(const Scenario& scenario, const ZebraShape& shape,
                           std::uint32_t most_offload);

}  // namespace zebroid
