#include "tests/support/scenarios.hpp"

#include <algorithm>

#include "sim/simulate.hpp"

namespace zebroid::testing {

Scenario assemble(const ScenarioParts& parts) {
  Scenario out;
  out.model_name = parts.name;
  out.model_config = parts.model_config;
  out.model = read_model({parts.name, "", out.model_config}, parts.name);
  out.cluster = load_cluster(parts.cluster, parse_bandwidth("100Gbps"));
  out.training = parts.training;
  out.routing.spec = parts.routing;
  std::vector<bool> layer_has_experts;
  for (const Layer& layer : out.model.layers) layer_has_experts.push_back(layer.has_experts);
  out.shares = make_routing(out.routing, layer_has_experts, out.model.experts, out.model.top_k);
  out.calibration = load_calibration({});
  return out;
}

Scenario make_scenario(const SmallScenario& small) {
  const Json config = {{"model_type", "deepseek_v3"},
                       {"num_hidden_layers", small.layers},
                       {"hidden_size", 256},
                       {"vocab_size", 1000},
                       {"num_attention_heads", 4},
                       {"num_key_value_heads", 2},
                       {"head_dim", 64},
                       {"n_routed_experts", small.experts},
                       {"num_experts_per_tok", 2},
                       {"moe_intermediate_size", 512},
                       {"intermediate_size", 1024},
                       {"first_k_dense_replace", small.dense_layers},
                       {"n_shared_experts", 0},
                       {"tie_word_embeddings", false}};
  return assemble(
      {"small",
       config,
       small.cluster,
       {.sequence_length = small.sequence_length, .global_batch_sequences = small.batch},
       small.routing});
}

Scorer fast_scorer() {
  return [](const Schedule& schedule, const Load& load, const RunRules& rules) {
    return simulate(schedule, load,
                    {.launch_rule = rules.launch_rule,
                     .compute_in_order = rules.compute_in_order,
                     .verified = true});
  };
}

}  // namespace zebroid::testing
