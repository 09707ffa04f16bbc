#pragma once

#include <cstddef>
#include <string>

#include "planner/pipeline.hpp"
#include "planner/zebra.hpp"
#include "tests/support/random_load.hpp"
#include "tests/support/schedules.hpp"

namespace zebroid::testing {

// For rapidcheck properties; they draw from its current test case.

enum class Nodes { of_one, of_several };  ///< GPUs

/// "2x1xA40,1x2xV100-16GB,...": one or two nodes of each of `kinds` GPU kinds.
std::string random_cluster(std::size_t kinds, Nodes nodes);
/// Evenly with any offload, or each expert anywhere in its group.
void place_randomly(const MoeModel& model, ZebraShape& shape);
/// GPUs of two or three kinds, the first of which do attention, in one or two groups; up to 4
/// layers and microbatches and 3 chunks, placed randomly.
Case random_zebra(Nodes nodes = Nodes::of_several);
/// GPUs of one to three kinds in up to 3 groups; up to 3 chunks, with and without a sharded
/// optimizer.
Case random_ep(Nodes nodes = Nodes::of_several);
/// Pipelines of any GPUs in any order, layers and sequences split at random, up to 4 microbatches;
/// with and without a sharded optimizer and recomputation. The batch has at least 4 sequences for
/// each GPU.
PipelineShape random_pipelines(const Scenario& scenario);
Case random_pp(Nodes nodes = Nodes::of_several);
Case random_case(Nodes nodes = Nodes::of_several);  ///< any of these

RandomLoad random_load(const Case& c);

}  // namespace zebroid::testing
