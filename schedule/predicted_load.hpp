#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "models/scenario.hpp"
#include "schedule/amounts.hpp"
#include "schedule/exchange_times.hpp"
#include "schedule/load.hpp"
#include "schedule/step_layout.hpp"

namespace zebroid {

/// What `tokens` of one owner make a dispatch or combine carry between it and a holder of experts
/// that get `share` of the layer's routed copies.
Bytes routed_bytes(const MoeModel& model, const Op& op, double tokens, double share);

/// The load that costs and routing predict for one schedule. Tokens, rows and bytes follow from the
/// model, the placement and the routing of the scenario; times from its calibration. The schedule
/// (free of faults) and the scenario outlive it.
class PredictedLoad final : public Load, public Amounts {
 public:
  PredictedLoad(const Schedule& schedule, const Scenario& scenario);
  ~PredictedLoad() override = default;

  Seconds seconds(RankId rank, const Op& op) const override { return cost(rank, op).total(); }
  Bytes bytes(GroupId group, const Op& op, RankId from, RankId to) const override;
  /// What a measured collective takes beyond its bytes on the ports, else the cluster's latency.
  Seconds latency(GroupId group, const Op& op) const override;
  double rows(RankId rank, const Op& op) const override;
  double sm_share(RankId rank) const override;
  RankId like(RankId rank) const override { return rank_like_[rank.value]; }
  Op like(const Op& op) const override;
  Messages messages(GroupId group, const std::vector<RankId>& members, const Op& op) const override;
  const Network& network() const override { return network_; }

  /// seconds() split by what it rests on.
  Cost cost(RankId rank, const Op& op) const;
  /// The kernels of a compute op, whose times add up to cost(); nothing for an exchange.
  std::vector<KernelCall> kernels(RankId rank, const Op& op) const;
  const KernelTimes& times(RankId rank) const { return costs(rank).times(); }
  /// Of an exchange with bytes: of the collective that its latency is from, else the worst of the
  /// ports that it crosses.
  Evidence evidence(GroupId group, const Op& op) const;
  /// The collective of nccl-tests that an exchange is timed as, if any.
  std::optional<MeasuredOp> collective_of(GroupId group, const Op& op) const;
  /// Multiply-adds of an op, times two; recomputation as forward, backward as two forwards (its
  /// core as 2.5).
  Flops flops(RankId rank, const Op& op) const;
  /// Tokens of the op's microbatch (and chunk, for dispatch, expert and combine) that the rank
  /// owns.
  double tokens(RankId rank, const Op& op) const override;
  /// Parameters that the rank holds: shared ones of the layers whose attention it runs, and
  /// experts.
  double shared_parameters(RankId rank) const { return shared_[rank.value]; }
  double expert_parameters(RankId rank) const { return experts_[rank.value]; }
  /// Parameters whose optimizer states the rank keeps: fewer than it holds with a sharded
  /// optimizer. A group that gathers a layer shares its states, those of its experts too where all
  /// members hold the same.
  double optimizer_parameters(RankId rank) const { return optimizer_[rank.value]; }

 private:
  struct Held {        ///< what a rank holds of one layer
    double share = 0;  ///< of the layer's routed copies
    std::uint32_t experts = 0;
    std::uint32_t experts_with_rows = 0;
  };

  void place_experts();
  void count_parameters();
  void find_like_layers();
  void find_like_microbatches();
  void find_like_ranks();
  bool alike(std::uint32_t layer, std::uint32_t other) const;
  bool alike(RankId rank, RankId other) const;
  double held_expert_parameters(RankId rank, std::uint32_t layer) const;
  Bytes ring_bytes(GroupId group, Bytes all, RankId from, RankId to) const;
  Bytes sum_bytes(GroupId group, const Op& op, RankId from, RankId to) const;
  Bytes expert_sum_bytes(GroupId group, const Op& op, RankId from, RankId to) const;
  Bytes stage_bytes(const Op& op, RankId from, RankId to) const;
  std::optional<ExchangeTimes::Answer> measured(GroupId group, const Op& op) const;
  const Held& held(RankId rank, std::uint32_t layer) const { return held_[rank.value][layer]; }
  const CostModel& costs(RankId rank) const { return costs_[kind_[rank.value]]; }

  const Schedule& schedule_;
  const Scenario& scenario_;
  StepLayout layout_;
  Network network_;
  ExchangeTimes exchange_times_;
  std::vector<CostModel> costs_;
  std::vector<std::uint32_t> kind_;      // [ranks]
  std::vector<std::vector<Held>> held_;  // [ranks][layers]
  std::vector<double> shared_;           // [ranks] parameters
  std::vector<double> experts_;          // [ranks] parameters
  std::vector<double> optimizer_;        // [ranks] parameters
  // The first layer, microbatch and chunk, replica, rank that are alike.
  std::vector<std::uint16_t> layer_like_;  // for what experts do and get
  std::vector<std::uint16_t> inner_like_;  // for the rest: the ends are like no other
  std::vector<std::uint16_t> microbatch_like_;
  std::vector<std::uint16_t> chunk_like_;
  std::vector<std::uint32_t> source_like_;  // [replicas] by where its sequences are
  std::vector<RankId> rank_like_;
};

}  // namespace zebroid
