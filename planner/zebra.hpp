#pragma once

#include <cstdint>
#include <vector>

#include "models/scenario.hpp"
#include "planner/pools.hpp"
#include "schedule/schedule.hpp"

namespace zebroid {

/// One zebra group: attention GPUs own the sequences, expert GPUs the experts.
struct ZebraGroup {
  GpuList attention;
  GpuList experts;
};

struct ZebraShape {
  std::vector<ZebraGroup> groups;
  std::uint32_t microbatches = 1;
  std::vector<std::uint32_t>
      offload;  ///< [layers] experts that every expert GPU gives to the attention GPUs of its group
};

/// Which GPU of a group holds each expert of its `moe_layer`-th layer with experts: below
/// `expert_gpus` an expert GPU, from there on an attention GPU, both in ascending order. Every
/// expert GPU gives away `offload` experts, or all that it has.
std::vector<std::uint32_t> zebra_holders(std::uint32_t experts, std::uint32_t expert_gpus,
                                         std::uint32_t attention_gpus, std::uint32_t moe_layer,
                                         std::uint32_t offload);

/// Zebra parallelism in the order of HeterMoE's Theorem 1: forward layer by layer, all microbatches
/// of a layer before the next; at the head each microbatch's backward directly follows its forward;
/// backward layer by layer. On an attention GPU the experts of a layer run after the attention of
/// all its microbatches, mirrored in backward. Every group has at least one GPU of each role and as
/// many experts as expert GPUs. Exchanges are listed layer by layer.
Schedule zebra_schedule(const Scenario& scenario, const ZebraShape& shape);

}  // namespace zebroid
