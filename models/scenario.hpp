#pragma once

#include <string>
#include <vector>

#include "core/json.hpp"
#include "models/cluster.hpp"
#include "models/cost_model.hpp"
#include "models/moe_model.hpp"
#include "models/training.hpp"

namespace zebroid {

/// What is to be trained, on what, and what that costs: all inputs of a prediction but the
/// schedule.
struct Scenario {
  std::string model_name;
  Json model_config;  ///< the Hugging Face config.json that `model` was read from
  MoeModel model;
  Cluster cluster;
  Training training;
  RoutingRequest routing;
  Routing shares;  ///< made from `routing`
  Calibration calibration;
};

/// Reads {"schema": "zebroid.scenario/1", "model_name", "model", "cluster", "training", "routing",
/// "calibration"}: the resolved form, in which every default is written out. Throws Error(input)
/// listing all faults.
Scenario read_scenario(const JsonDocument& document);
/// The resolved form; read_scenario gives back an equal scenario. The calibration is cut to the
/// cluster's GPU kinds.
Json to_json(const Scenario& scenario);

/// A latency that no exchange of a prediction undercuts: the cluster's, or none where collectives
/// were measured on its GPUs, whose times may leave nothing beside their bytes.
Seconds least_latency(const Scenario& scenario);
/// The cluster's ports at the rates that its calibration says they reach, with least_latency().
Network network_of(const Scenario& scenario);

/// One per GPU kind of the cluster. The scenario outlives them.
std::vector<CostModel> cost_models(const Scenario& scenario);

}  // namespace zebroid
