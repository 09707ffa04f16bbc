#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <vector>

#include "backend/host/blocks.hpp"
#include "backend/host/step_job.hpp"

namespace zebroid {

/// The same training on one rank, without streams, exchanges or recomputation: microbatch after
/// microbatch, replica after replica, layer after layer. Gradients of a layer's shared parameters
/// are kept apart for each rank of the schedule, and summed as its sums do; those of experts apart
/// for each replica. So every sum has the order that the schedule promises. What it shares with
/// those who run the schedule is the job (who holds what, cuts of sums and norms) and the
/// mathematics of single ops.
template <class Real>
class Reference {
 public:
  /// Starts from the job's seed. Both outlive this. poll: called for each layer; may throw.
  Reference(
      const StepJob& job, const NormParts& norm, std::function<void()> poll = [] {});

  struct Step {
    double loss = 0;  ///< mean over all tokens
    double gradient_norm = 0;
  };
  Step run();  ///< the next step

  /// Gradients of the last step, summed over all ranks and not yet clipped.
  const std::vector<Real>& shared_gradient(std::uint32_t layer) const;
  const std::vector<Real>& expert_gradient(std::uint32_t layer, std::uint32_t e) const {
    return expert_gradients_[0][layer][e];
  }
  /// Parameters, as they are now; tests change them.
  std::vector<Real>& shared_values(std::uint32_t layer) { return shared_[layer].values; }
  std::vector<Real>& expert_values(std::uint32_t layer, std::uint32_t e) {
    return experts_[layer][e].values;
  }
  const std::vector<Real>& shared_values(std::uint32_t layer) const {
    return shared_[layer].values;
  }
  const std::vector<Real>& expert_values(std::uint32_t layer, std::uint32_t e) const {
    return experts_[layer][e].values;
  }

 private:
  struct Parameters {
    std::vector<Real> values;
    std::vector<Real> moments;  ///< [2, values]
  };
  /// A rank's part of a layer: some sequences of the microbatch.
  struct Shard {
    RankId rank;
    Tokens tokens;
    std::size_t first = 0;  ///< token in the microbatch
    std::vector<Real> values;
    std::vector<std::int32_t> expert;  ///< [tokens, top_k]
    std::vector<Real> weight;          ///< [tokens, top_k]
  };
  /// The rows of one expert in one chunk.
  struct Batch {
    std::vector<std::size_t> copies;  ///< token in the microbatch * top_k + choice
    std::vector<Real> x, weight, internals;
  };
  struct LayerRun {
    std::vector<Real> x;  ///< [tokens, hidden] input
    std::vector<Shard> shards;
    std::vector<std::vector<Batch>> experts;  ///< [chunks][experts]
  };
  /// One microbatch of one replica.
  struct Run {
    std::uint32_t replica = 0, microbatch = 0;
    std::size_t tokens = 0;
    std::vector<LayerRun> layers;
  };

  Parameters start(const std::vector<Tensor>& tensors, std::uint64_t place) const;
  std::vector<Shard> shards(const Run& run, std::uint32_t layer) const;
  Text::Tokens text(const Run& run, std::uint32_t layer, RankId rank) const;
  double forward_and_backward(std::uint32_t replica, std::uint32_t microbatch);
  std::vector<Real> forward(Run& run, std::uint32_t layer);
  void run_experts(Run& run, std::uint32_t layer, std::vector<Real>& y);
  void backward(Run& run, std::uint32_t layer, std::vector<Real>& dy);
  void back_through_experts(Run& run, std::uint32_t layer, const std::vector<Real>& dy,
                            std::vector<Real>& dx, std::vector<Real>& dweight);
  double head(Run& run, const std::vector<Real>& x, std::vector<Real>& dx);
  void sum_gradients();
  void sum_shared(const Exchange& exchange);
  double norm() const;
  void update(double norm);
  std::vector<Real>& gradient_of(RankId rank, std::uint32_t layer) {
    return shared_gradients_[layer].at(rank);
  }

  const StepJob& job_;
  const NormParts& norm_;
  std::function<void()> poll_;
  std::uint64_t step_ = 0;
  std::vector<Parameters> shared_;                                     // [layers]
  std::vector<std::vector<Parameters>> experts_;                       // [layers][experts]
  std::vector<std::vector<Real>> bias_;                                // [layers][experts]
  std::vector<std::map<RankId, std::vector<Real>>> shared_gradients_;  // [layers]
  std::vector<std::vector<std::vector<std::vector<Real>>>>
      expert_gradients_;  // [replicas][layers][experts]
  std::vector<Real> scratch_;
};

}  // namespace zebroid
