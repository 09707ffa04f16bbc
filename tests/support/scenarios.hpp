#pragma once

#include <functional>
#include <string>

#include "models/scenario.hpp"
#include "planner/planner.hpp"
#include "schedule/load.hpp"

namespace zebroid::testing {

struct SmallScenario {
  int layers = 2;
  int experts = 4;
  int dense_layers = 0;  ///< the first ones
  std::string cluster = "2xA40,1xV100-16GB";
  std::uint32_t sequence_length = 128;
  std::uint64_t batch = 4;
  std::string routing = "uniform";
};

/// A model's config on a cluster of 100 Gbps nodes, with built-in costs.
struct ScenarioParts {
  std::string name;  ///< of the model
  Json model_config;
  std::string cluster;
  Training training;
  std::string routing;
};
Scenario assemble(const ScenarioParts& parts);

/// A narrow model (hidden 256, top-2) on a cluster of 100 Gbps nodes.
Scenario make_scenario(const SmallScenario& small);

/// The fast engine as the planner's scorer.
Scorer fast_scorer();

/// A load given by functions; for hand-computed cases.
class TableLoad final : public Load {
 public:
  explicit TableLoad(const Scenario& scenario) : network_(scenario.cluster) {}
  explicit TableLoad(Network network) : network_(std::move(network)) {}

  std::function<double(RankId, const Op&)> seconds_of = [](RankId, const Op&) { return 0.0; };
  std::function<double(const Op&, RankId, RankId)> bytes_of = [](const Op&, RankId, RankId) {
    return 0.0;
  };
  double latency_s = 0;
  double share = 0;

  Seconds seconds(RankId rank, const Op& op) const override { return {seconds_of(rank, op)}; }
  Bytes bytes(GroupId /*group*/, const Op& op, RankId from, RankId to) const override {
    return {bytes_of(op, from, to)};
  }
  Seconds latency(GroupId /*group*/, const Op& /*op*/) const override { return {latency_s}; }
  double rows(RankId /*rank*/, const Op& /*op*/) const override { return 0; }
  double sm_share(RankId /*rank*/) const override { return share; }
  const Network& network() const override { return network_; }

 private:
  Network network_;
};

}  // namespace zebroid::testing
