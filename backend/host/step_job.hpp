#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "backend/host/optimizer.hpp"
#include "backend/host/tensors.hpp"
#include "backend/host/text.hpp"
#include "models/scenario.hpp"
#include "schedule/exchanges.hpp"
#include "schedule/schedule.hpp"
#include "schedule/step_layout.hpp"

namespace zebroid {

/// Throws Error(input) naming the first part of a model that the host does not know how to compute.
void refuse_unknown_parts(const MoeModel& model);

/// What a training run is, for all who take part and for the reference. Schedule and scenario
/// outlive it.
struct StepJob {
  /// The schedule is free of faults. Throws Error(input) for a model that the host does not know
  /// how to compute, naming what.
  StepJob(const Schedule& schedule, const Scenario& scenario, Text text, std::uint64_t seed);

  const Schedule& schedule;
  const MoeModel& model;
  StepLayout layout;
  Exchanges exchanges;
  Text text;
  AdamW adamw;
  std::uint64_t seed = 0;
  std::size_t length = 0;             ///< tokens of a sequence
  std::uint64_t batch = 0;            ///< sequences of a step
  std::vector<SharedTensors> shared;  ///< [layers]
  ExpertTensors expert;
  std::vector<std::vector<double>> bias;  ///< [layers][experts] of the choice of experts

  double tokens_in_batch() const {
    return static_cast<double>(batch) * static_cast<double>(length);
  }
  /// The number, for initialise(), of a layer's shared parameters or of one of its experts.
  std::uint64_t place_of(std::uint32_t layer) const { return layer * (model.experts + 1ULL); }
  std::uint64_t place_of(std::uint32_t layer, std::uint32_t e) const {
    return place_of(layer) + 1 + e;
  }
  /// Ids and targets of sequences of a replica's microbatch.
  Text::Tokens tokens(std::uint64_t step, std::uint32_t replica, std::uint32_t microbatch,
                      Interval sequences) const;

 private:
  std::vector<std::vector<std::uint64_t>> first_sequence_;  // [replicas][microbatches] in a batch
};

/// Cut `place` of `count` of an array; what a member of a group sums or keeps.
Interval part_of(std::uint64_t size, std::size_t place, std::size_t count);

/// The squared norm of all gradients is the exact sum (core/exact_sum.hpp) of parts that one rank
/// each computes: so its bits do not depend on who holds what. A part is a layer's shared
/// parameters or one expert, cut where a sharded optimizer cuts it: elements [begin, end) of its
/// gradient.
class NormParts {
 public:
  explicit NormParts(const StepJob& job);

  /// Those that a rank computes.
  std::vector<Interval> shared(RankId rank, std::uint32_t layer) const;
  std::vector<Interval> expert(RankId rank, std::uint32_t layer, std::uint32_t e) const;
  /// All parts of one array, whoever computes them.
  std::vector<Interval> all_shared(std::uint32_t layer) const;
  std::vector<Interval> all_expert(std::uint32_t layer, std::uint32_t e) const;

 private:
  using Owners = std::vector<RankId>;  // one for each part

  const StepJob& job_;
  std::vector<Owners> shared_;                // [layers]
  std::vector<std::vector<Owners>> experts_;  // [layers][experts]
};

}  // namespace zebroid
