#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "models/scenario.hpp"
#include "schedule/schedule.hpp"

namespace zebroid::testing {

/// A schedule with the scenario that it is for.
struct Case {
  Scenario scenario;
  Schedule schedule;
};

/// Listed by transfer starts, as a plan's schedule is.
Schedule listed(const Schedule& schedule, const Scenario& scenario);
/// Two microbatches; attention on the first GPU kind; every expert GPU gives `offloaded` experts of
/// the last layer away.
Schedule small_zebra(const Scenario& scenario, std::uint32_t groups, std::uint32_t offloaded);
/// One group of all GPUs, one microbatch.
Schedule small_ep(const Scenario& scenario, std::uint32_t chunks);

/// Two pipelines over four GPUs, 0 to 2 and 1 to 3, with half of the layers on each; two
/// microbatches, a sharded optimizer.
Schedule small_pp(const Scenario& scenario);

/// One of each that the planner makes: offloaded experts, dense layers, replicas, chunks, a sharded
/// optimizer, pipelines.
std::vector<Case> small_cases();

/// Two stages of two GPUs and of one, two layers with two experts, two microbatches of four
/// sequences: ranks 0 and 1 run layer 0, rank 2 layer 1, each holds experts of its own.
Case two_stages();

/// Ops as one would write them by hand, separated by spaces:
///   A0.1   attention of layer 0, microbatch 1       D E C   dispatch, expert, combine
///   A'0.1  backward      A*0.1  recompute           E0.1.2  chunk 2
///   S1.0   stage into layer 1                       H0      head of microbatch 0
///   sum1   reduce_shared of layer 1                 esum1   reduce_experts
///   norm   step   gather1
/// "name@2" puts an exchange into slot 2; without it is slot 1. Throws for anything else.
Program ops(const std::string& text, std::uint16_t layers);

}  // namespace zebroid::testing
