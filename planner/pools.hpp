#pragma once

#include <cstdint>
#include <vector>

#include "models/scenario.hpp"

namespace zebroid {

/// GPUs that work together on one copy of the model, by id.
using GpuList = std::vector<GpuId>;

/// GPUs of the given kinds, ascending.
GpuList gpus_of_kinds(const Cluster& cluster, const std::vector<std::uint32_t>& kinds);

/// Cuts `gpus` into `groups` lists; every kind is cut into contiguous runs, as equal as possible,
/// so that each list gets its part of each kind and neighbours stay together. Lists are ascending;
/// none is empty when groups <= gpus.
std::vector<GpuList> cut_into_groups(const Cluster& cluster, const GpuList& gpus,
                                     std::uint32_t groups);

/// Sequences of each of `owners` GPUs: the batch as equally as possible. Throws Error(input) when
/// some would get fewer than `microbatches`, because a sequence is never split and no microbatch is
/// empty.
std::vector<std::uint32_t> split_batch(std::uint64_t batch, std::uint32_t owners,
                                       std::uint32_t microbatches);

/// Numbers of microbatches worth trying when a GPU owns `sequences` sequences: all small ones, then
/// ever fewer.
std::vector<std::uint32_t> microbatch_candidates(std::uint32_t sequences);

}  // namespace zebroid
