#pragma once

#include <cstdint>
#include <ostream>
#include <string>
#include <vector>

#include "backend/host/text.hpp"
#include "models/training.hpp"
#include "tests/support/schedules.hpp"

namespace zebroid::testing {

/// A model so narrow that a step of it takes milliseconds.
struct TinyScenario {
  int layers = 3;
  int experts = 8;
  int top_k = 2;
  std::vector<int> dense_layers;
  int shared_ffn = 0;
  std::string cluster = "2xA40,2xV100-16GB";
  std::uint64_t batch = 8;
  std::uint32_t sequence_length = 8;
  std::string routing = "lognormal:0.5";
  Recompute recompute = Recompute::automatic;
};
Scenario tiny_scenario(const TinyScenario& tiny);

/// Everything that a schedule of one of these strategies is made from.
struct TrainingCase {
  enum class Strategy { zebra, ep, dist_ep, pp, zebra_in_stages };
  Strategy strategy = Strategy::zebra;
  std::uint32_t attention = 2;  ///< GPUs, of kind A40
  std::uint32_t experts = 2;    ///< GPUs, of kind V100-16GB
  std::uint32_t offload = 0;    ///< experts that each expert GPU gives away in odd layers
  std::uint32_t microbatches = 2;
  std::uint32_t chunks = 1;
  std::uint32_t groups = 1;  ///< replicas; pipelines for pp
  bool shards = false;       ///< the optimizer
  Recompute recompute = Recompute::automatic;
  std::uint32_t dense_layers = 0;  ///< the first ones
  bool last_first = false;         ///< zebra_in_stages: backward from the last microbatch on
  std::string routing = "lognormal:0.5";

  std::string name() const;
  friend void PrintTo(const TrainingCase& c, std::ostream* out) { *out << c.name(); }
};
/// The schedule, listed as a plan's is. pp: one GPU of either kind after the other;
/// zebra_in_stages: one replica of two stages, with half of the GPUs of each kind each. batch:
/// sequences; 0 = some that microbatches and owners do not divide.
Case make_case(const TrainingCase& wanted, std::uint32_t batch = 0);

/// Every strategy with every recomputation, groups, chunks, dense layers, sharded optimizers.
std::vector<TrainingCase> training_cases();
/// About 40 in which every two values of any two fields meet, where that makes sense.
std::vector<TrainingCase> pairwise_cases();

/// Bytes to learn.
Text some_text();

}  // namespace zebroid::testing
