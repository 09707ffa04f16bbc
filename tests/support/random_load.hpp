#pragma once

#include <cstdint>

#include "models/scenario.hpp"
#include "schedule/load.hpp"

namespace zebroid::testing {

/// Costs and messages drawn from a seed: different on every rank, layer and microbatch, but the
/// same for the same question.
class RandomLoad final : public Load {
 public:
  /// seconds of about 1 and messages of about `message_s` seconds of a 12.5 GB/s port; some of both
  /// are zero.
  RandomLoad(const Schedule& schedule, const Scenario& scenario, std::uint64_t seed,
             double message_s);

  Seconds seconds(RankId rank, const Op& op) const override;
  Bytes bytes(GroupId group, const Op& op, RankId from, RankId to) const override;
  Seconds latency(GroupId group, const Op& op) const override;
  double rows(RankId /*rank*/, const Op& /*op*/) const override { return 0; }
  double sm_share(RankId /*rank*/) const override { return 0; }
  const Network& network() const override { return network_; }

  double scale = 1;  ///< of all times and sizes

 private:
  /// Uniform in [0, 1) from the seed and these numbers.
  double draw(std::uint64_t a, std::uint64_t b, const Op& op) const;

  const Schedule& schedule_;
  std::uint64_t seed_;
  double message_s_;
  Network network_;
};

}  // namespace zebroid::testing
