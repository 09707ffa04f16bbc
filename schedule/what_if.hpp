#pragma once

#include <optional>
#include <string>
#include <vector>

#include "schedule/load.hpp"

namespace zebroid {

/// A rank that computes, or a port that carries bytes, at `factor` times its rate; factor from
/// 0.001 to 1.
struct Slowdown {
  std::optional<RankId> rank;
  std::string port;  ///< when there is no rank
  double factor = 1;

  friend bool operator==(const Slowdown&, const Slowdown&) = default;
};

/// "rank=3:0.8" or "port=node0 nic out:0.5". Throws Error(input).
Slowdown parse_slowdown(const std::string& text);
std::string name_of(const Slowdown& slowdown);  ///< as it is written

/// A load under which some ranks or ports are slow: what a schedule that was planned without them
/// costs with them. Several of one rank or port multiply.
class WhatIf final : public Load {
 public:
  /// `load` and `schedule` outlive it. Throws Error(input) for a rank or port that there is not.
  WhatIf(const Load& load, const Schedule& schedule, const std::vector<Slowdown>& slowdowns);

  Seconds seconds(RankId rank, const Op& op) const override {
    return load_.seconds(rank, op) / factors_[rank.value];
  }
  Bytes bytes(GroupId group, const Op& op, RankId from, RankId to) const override {
    return load_.bytes(group, op, from, to);
  }
  Seconds latency(GroupId group, const Op& op) const override { return load_.latency(group, op); }
  double rows(RankId rank, const Op& op) const override { return load_.rows(rank, op); }
  double sm_share(RankId rank) const override { return load_.sm_share(rank); }
  RankId like(RankId rank) const override { return like_[rank.value]; }
  Op like(const Op& op) const override { return load_.like(op); }
  Messages messages(GroupId group, const std::vector<RankId>& members,
                    const Op& op) const override {
    return load_.messages(group, members, op);
  }
  const Network& network() const override { return network_; }

 private:
  const Load& load_;
  Network network_;
  std::vector<double> factors_;  // [ranks]
  std::vector<RankId> like_;     // [ranks]
};

}  // namespace zebroid
