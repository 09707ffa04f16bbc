#pragma once

#include <cstdint>
#include <vector>

#include "models/scenario.hpp"
#include "planner/zebra.hpp"

namespace zebroid {

// Times below which no zebra schedule ends that has the groups, microbatches and chunks of `shape`:
// by compute and latencies along the streams of one attention and one expert GPU, and from each
// layer's first microbatch to the next layer's. No schedule is made.

/// What is known about the order of a GPU's compute ops.
enum class ComputeOrder : std::uint8_t {
  by_layer,  ///< that of zebra_schedule()
  any,
};

/// With the shape's own placement.
Seconds zebra_bound(const Scenario& scenario, const ZebraShape& shape,
                    ComputeOrder order = ComputeOrder::by_layer);
/// With any that places each layer as one of `choices` does in the first group.
Seconds zebra_bound_of_all(const Scenario& scenario, const ZebraShape& shape,
                           const std::vector<Placement>& choices,
                           ComputeOrder order = ComputeOrder::by_layer);

}  // namespace zebroid
