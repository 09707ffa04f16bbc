#pragma once

#include <cstdint>
#include <vector>

#include "planner/planner.hpp"

namespace zebroid {

/// A training run by itself: some GPUs of a cluster with their share of the batch.
struct Job {
  Strategy strategy = Strategy::zebra;
  Scenario scenario;
  Plan plan;
};

/// The same training on the GPUs of some kinds alone, with `batch` sequences.
Scenario on_kinds(const Scenario& scenario, const std::vector<std::uint32_t>& kinds,
                  std::uint64_t batch);

/// What each GPU kind gets when the batch is shared out in proportion to GPUs; kinds without GPUs
/// are left out. Throws Error(input) when some GPU would get nothing.
struct KindShare {
  std::uint32_t kind = 0;
  std::uint32_t gpus = 0;
  std::uint64_t sequences = 0;
};
std::vector<KindShare> shares_of_kinds(const Scenario& scenario);

/// What a strategy makes of a scenario: one job on all GPUs; for ep-ideal one of expert parallelism
/// for each GPU kind, each with its own copy of the model. Throws as plan() does.
std::vector<Job> plan_jobs(const Scenario& scenario, const PlanRequest& request,
                           const Scorer& score);

}  // namespace zebroid
