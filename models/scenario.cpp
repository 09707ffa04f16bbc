#include "models/scenario.hpp"

#include <algorithm>

namespace zebroid {
Scenario read_scenario(const JsonDocument& document) {
  Faults faults;
  const JsonView root(document, faults);
  root.only_keys(
      {"schema", "model_name", "model", "cluster", "training", "routing", "calibration"});
  root.at("schema").name_of("schema", {"zebroid.scenario/1"});
  Scenario out;
  out.model_name = root.at("model_name").text();
  out.model_config = root.at("model").json();
  out.training = read_training(root.at("training"));
  out.routing = read_routing(root.at("routing"));
  out.cluster = read_cluster(root.at("cluster"));
  out.calibration = read_calibration(root.at("calibration"));
  faults.throw_if_any();
  out.model = read_model({document.name + ": /model", "", out.model_config}, out.model_name);
  std::vector<bool> layer_has_experts;
  for (const Layer& layer : out.model.layers) layer_has_experts.push_back(layer.has_experts);
  out.shares = make_routing(out.routing, layer_has_experts, out.model.experts, out.model.top_k);
  return out;
}

Json to_json(const Scenario& scenario) {
  Json out;
  out["schema"] = "zebroid.scenario/1";
  out["model_name"] = scenario.model_name;
  out["model"] = scenario.model_config;
  out["cluster"] = to_json(scenario.cluster);
  out["training"] = to_json(scenario.training);
  out["routing"] = to_json(scenario.routing);
  out["calibration"] = to_json(scenario.calibration, scenario.cluster.kinds);
  return out;
}

Seconds least_latency(const Scenario& scenario) {
  const auto names = names_of(scenario.calibration, scenario.cluster.kinds);
  const bool measured = std::any_of(names.begin(), names.end(), [&](const std::string& name) {
    return !scenario.calibration.gpus.at(name).collectives.empty();
  });
  return measured ? Seconds{} : scenario.cluster.latency;
}

Network network_of(const Scenario& scenario) {
  return {scenario.cluster, scenario.calibration.links, least_latency(scenario)};
}

std::vector<CostModel> cost_models(const Scenario& scenario) {
  std::vector<CostModel> out;
  for (const GpuSpec& gpu : scenario.cluster.kinds) {
    out.emplace_back(scenario.model, gpu, scenario.calibration);
  }
  return out;
}

}  // namespace zebroid
