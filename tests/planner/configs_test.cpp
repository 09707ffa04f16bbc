#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/error.hpp"
#include "models/config_dir.hpp"
#include "planner/planner.hpp"
#include "schedule/verify.hpp"
#include "tests/support/scenarios.hpp"

namespace zebroid {
namespace {

namespace fs = std::filesystem;

constexpr std::uint32_t sequence_length = 4096;
constexpr std::uint64_t sequences = 4;

/// Every config.json of a folder, in the order of their names.
std::vector<fs::path> configs_in(const fs::path& folder) {
  std::vector<fs::path> out;
  std::error_code absent;
  for (const auto& entry : fs::directory_iterator(folder, absent)) {
    if (entry.path().extension() == ".json") out.push_back(entry.path());
  }
  std::sort(out.begin(), out.end());
  return out;
}

fs::path shared_configs() { return fs::path(ZEBROID_SHARED_DATA_DIR) / "hf-config"; }

/// Two GPUs of each of two kinds, with memory that nothing fills, one to a node.
Scenario scenario_of(const JsonDocument& config, MoeModel model) {
  Scenario out;
  out.model_name = model.name;
  out.model_config = config.root;
  out.model = std::move(model);
  out.cluster = load_cluster("2xA40,2xV100-16GB", parse_bandwidth("100Gbps"));
  for (GpuSpec& kind : out.cluster.kinds) kind.memory = {1e16};
  out.training.sequence_length = sequence_length;
  out.training.global_batch_sequences = sequences;
  std::vector<bool> layer_has_experts;
  for (const Layer& layer : out.model.layers) layer_has_experts.push_back(layer.has_experts);
  out.shares = make_routing(out.routing, layer_has_experts, out.model.experts, out.model.top_k);
  out.calibration = load_calibration({});
  return out;
}

/// Forward FLOPs of all ranks by kind of work and layer.
using FlopsOf = std::map<std::pair<Work, std::uint32_t>, double>;

FlopsOf of_the_schedule(const Schedule& schedule, const PredictedLoad& load) {
  FlopsOf out;
  for (std::uint32_t r = 0; r < schedule.ranks.size(); ++r) {
    for (const Op& op : schedule.program_of({r})) {
      if (is_exchange(op.work) || op.pass != Pass::forward) continue;
      out[{op.work, op.layer}] += load.flops({r}, op).value;
    }
  }
  return out;
}

/// What `zebroid show` derives its forward FLOPs per token from, for the whole batch.
FlopsOf of_the_model(const MoeModel& model) {
  const double tokens = static_cast<double>(sequences) * sequence_length;
  FlopsOf out;
  for (std::uint32_t l = 0; l < model.layers.size(); ++l) {
    const Flops per_sequence = attention_flops(model, l, 1, sequence_length).total();
    out[{Work::attention, l}] = static_cast<double>(sequences) * per_sequence.value;
    if (!model.layers[l].has_experts) continue;
    out[{Work::expert, l}] = tokens * expert_flops(model, model.top_k).value;
  }
  out[{Work::head, static_cast<std::uint32_t>(model.layers.size() - 1)}] =
      tokens * head_flops(model, 1).value;
  return out;
}

void expect_flops_of_the_model(const Plan& plan, const Scenario& scenario) {
  const FlopsOf got = of_the_schedule(plan.schedule, PredictedLoad(plan.schedule, scenario));
  const FlopsOf expected = of_the_model(scenario.model);
  ASSERT_EQ(got.size(), expected.size());
  for (const auto& [work, flops] : expected) {
    SCOPED_TRACE(std::string(name_of(work.first)) + " of layer " + std::to_string(work.second));
    ASSERT_TRUE(got.contains(work));
    EXPECT_NEAR(got.at(work), flops, 1e-9 * flops);
  }
}

/// Attention ranks hold all shared parameters each, the experts are dealt out.
void expect_parameters_of_the_model(const Plan& plan, const Scenario& scenario) {
  const MoeModel& model = scenario.model;
  double shared = embedding_parameters(model) + head_parameters(model);
  double experts = 0;
  for (std::uint32_t l = 0; l < model.layers.size(); ++l) {
    const LayerParameters layer = layer_parameters(model, l);
    shared += layer.without_experts();
    if (model.layers[l].has_experts) experts += model.experts * layer.expert;
  }
  EXPECT_EQ(shared + experts, total_parameters(model));

  ASSERT_EQ(plan.schedule.replicas.size(), 1U);
  const PredictedLoad load(plan.schedule, scenario);
  double held = 0;
  for (std::uint32_t r = 0; r < plan.schedule.ranks.size(); ++r) {
    const bool owns_sequences = plan.schedule.ranks[r].sequences > 0;
    EXPECT_EQ(load.shared_parameters({r}), owns_sequences ? shared : 0) << "rank " << r;
    held += load.expert_parameters({r});
  }
  EXPECT_EQ(held, experts);
}

void expect_whole_step(const Scenario& scenario, const PlanRequest& request) {
  SCOPED_TRACE(name_of(request.strategy));
  const Plan made = plan(scenario, request, testing::fast_scorer());
  EXPECT_EQ(made.lacks_memory, "");
  const std::vector<Fault> faults = verify(made.schedule);
  EXPECT_TRUE(faults.empty()) << faults.front().message;
  EXPECT_GT(made.timeline.makespan().value, 0);
  expect_flops_of_the_model(made, scenario);
  expect_parameters_of_the_model(made, scenario);
}

/// Nothing when the reader refuses the model; then what it says is in `refusal`.
std::optional<MoeModel> read_or_refuse(const JsonDocument& config, const fs::path& path,
                                       std::string& refusal) {
  try {
    return read_model(config, path.stem().string());
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::input);
    refusal = error.what();
    return std::nullopt;
  }
}

void expect_schedules_with_the_work_of(const fs::path& path, const PlanRequest& request) {
  SCOPED_TRACE(path.filename().string());
  const JsonDocument config = read_json(path);
  std::string refusal;
  auto model = read_or_refuse(config, path, refusal);
  if (!model) return;
  expect_whole_step(scenario_of(config, std::move(*model)), request);
}

const PlanRequest zebra_of_two = {.strategy = Strategy::zebra, .microbatches = 2};
const PlanRequest ep_of_one = {
    .strategy = Strategy::expert_parallel, .microbatches = 1, .chunks = 1};

TEST(Configs, OfBuiltInModelsAreAllAccepted) {
  const std::vector<fs::path> paths = configs_in(config_dir() / "models");
  EXPECT_GE(paths.size(), 28U);
  for (const fs::path& path : paths) {
    std::string refusal;
    EXPECT_TRUE(read_or_refuse(read_json(path), path, refusal)) << refusal;
  }
}

TEST(Configs, OfBuiltInModelsGiveZebraSchedulesWithTheWorkAndParametersThatShowPrints) {
  for (const fs::path& path : configs_in(config_dir() / "models")) {
    expect_schedules_with_the_work_of(path, zebra_of_two);
  }
}

TEST(Configs, OfBuiltInModelsGiveEpSchedulesWithTheWorkAndParametersThatShowPrints) {
  for (const fs::path& path : configs_in(config_dir() / "models")) {
    expect_schedules_with_the_work_of(path, ep_of_one);
  }
}

/// Configs as published on Hugging Face.
class PublishedConfigs : public ::testing::Test {
 protected:
  void SetUp() override {
    paths_ = configs_in(shared_configs());
    if (paths_.empty()) GTEST_SKIP() << "no files in " << shared_configs();
  }
  std::vector<fs::path> paths_;
};

TEST_F(PublishedConfigs, GiveZebraSchedulesWithTheWorkAndParametersThatShowPrints) {
  for (const fs::path& path : paths_) expect_schedules_with_the_work_of(path, zebra_of_two);
}

TEST_F(PublishedConfigs, GiveEpSchedulesWithTheWorkAndParametersThatShowPrints) {
  for (const fs::path& path : paths_) expect_schedules_with_the_work_of(path, ep_of_one);
}

TEST_F(PublishedConfigs, AreRefusedOnlyWithTheNameOfAKeyThatCannotBeModelled) {
  // What keeps a model out: layers of another kind, or no routed experts at all.
  const std::map<std::string, std::vector<std::string>> refused = {
      {"nvidia--NVIDIA-Nemotron-3-Nano-30B-A3B-BF16_config",
       {"/hybrid_override_pattern: not modelled", "/mamba_num_heads: not modelled"}},
      {"meta-llama--Meta-Llama-3.1-8B_config", {"this model is dense", "num_local_experts"}},
  };
  for (const fs::path& path : paths_) {
    SCOPED_TRACE(path.filename().string());
    std::string refusal;
    const bool accepted = read_or_refuse(read_json(path), path, refusal).has_value();
    const auto expected = refused.find(path.stem().string());
    EXPECT_EQ(accepted, expected == refused.end()) << refusal;
    if (accepted || expected == refused.end()) continue;
    for (const std::string& part : expected->second) {
      EXPECT_THAT(refusal, ::testing::HasSubstr(part));
    }
  }
}

}  // namespace
}  // namespace zebroid
