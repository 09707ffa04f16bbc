#pragma once

#include <cstdint>
#include <vector>

#include "models/scenario.hpp"
#include "planner/placement.hpp"
#include "planner/roles.hpp"
#include "schedule/schedule.hpp"

namespace zebroid {

/// One zebra group: attention GPUs own the sequences, expert GPUs the experts that do not move.
struct ZebraGroup : RoleGroup {
  Placement placement;
};

struct ZebraShape {
  std::vector<ZebraGroup> groups;
  std::uint32_t microbatches = 1;
  std::uint32_t chunks = 1;  ///< of every dispatch and combine, overlapped with the experts
};

/// Groups without experts yet.
ZebraShape zebra_shape(const RoleGroups& groups, std::uint32_t microbatches);
/// Places the experts of all groups by even_placement; [layers].
void place_evenly(const MoeModel& model, const std::vector<std::uint32_t>& offload,
                  ZebraShape& shape);

/// Zebra parallelism in the order of HeterMoE's Theorem 1: forward layer by layer, all microbatches
/// of a layer before the next; at the head each microbatch's backward directly follows its forward;
/// backward layer by layer. On an attention GPU the experts of a layer run after the attention of
/// all its microbatches, mirrored in backward. Every group has at least one GPU of each role and as
/// many experts as expert GPUs; of its experts any may be anywhere. Exchanges are listed layer by
/// layer.
Schedule zebra_schedule(const Scenario& scenario, const ZebraShape& shape);

}  // namespace zebroid
