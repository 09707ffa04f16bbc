#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <string>
#include <vector>

#include "core/error.hpp"
#include "models/config_dir.hpp"
#include "models/moe_model.hpp"

namespace zebroid {
namespace {

// ---- published sizes ----

/// What model cards count as active differs.
enum class Counted { everything, no_embedding, neither_embedding_nor_head, layers_only };

/// Billions as printed, 0 where nothing was, and the value of the last printed digit.
struct Published {
  const char* name;
  double total;
  double total_digit;
  double active;
  double active_digit;
  Counted counted = Counted::everything;
};

double billions_left_out(const MoeModel& model, Counted counted) {
  const double embedding = embedding_parameters(model) / 1e9;
  const double head = head_parameters(model) / 1e9;
  switch (counted) {
    case Counted::everything:
      return 0;
    case Counted::no_embedding:
      return embedding;
    case Counted::neither_embedding_nor_head:
    case Counted::layers_only:
      return embedding + head;
  }
  return 0;
}

void expect_published(const MoeModel& model, const Published& published) {
  const double slack = 0.5 + 1e-9;
  const double total_left_out =
      published.counted == Counted::layers_only ? billions_left_out(model, published.counted) : 0;
  EXPECT_NEAR(total_parameters(model) / 1e9 - total_left_out, published.total,
              slack * published.total_digit);
  if (published.active == 0) return;
  EXPECT_NEAR(active_parameters(model) / 1e9 - billions_left_out(model, published.counted),
              published.active, slack * published.active_digit);
}

MoeModel read_file_of(const std::filesystem::path& path) {
  return read_model(read_json(path), path.stem().string());
}

/// HeterMoE's table of models prints one digit after the point, counts neither embedding nor head,
/// and has no active sizes. The others are the model cards and papers of their makers.
constexpr Published built_in[] = {
    {"mixtral-w1", 2.2, 0.1, 0, 0, Counted::layers_only},
    {"mixtral-w2", 4.3, 0.1, 0, 0, Counted::layers_only},
    {"mixtral-d1", 2.1, 0.1, 0, 0, Counted::layers_only},
    {"mixtral-d2", 1.2, 0.1, 0, 0, Counted::layers_only},
    {"mixtral-d3", 3.5, 0.1, 0, 0, Counted::layers_only},
    {"mixtral-8x7b", 46.7, 0.1, 12.9, 0.1},
    {"mixtral-8x22b", 140.6, 0.1, 39, 1},  // 141 in the announcement, rounded up
    {"qwen1.5-moe-a2.7b", 14.3, 0.1, 2.7, 0.1},
    {"qwen2-57b-a14b", 57.4, 0.1, 14, 1},
    {"qwen3-30b-a3b", 30.5, 0.1, 3.3, 0.11},  // 3.353, printed as 3.3
    {"qwen3-235b-a22b", 235, 1, 22, 1},
    {"qwen3-coder-480b-a35b", 480, 1, 35, 1},
    {"deepseek-v2-lite", 15.7, 0.1, 2.4, 0.11, Counted::no_embedding},  // 2.454, printed as 2.4
    {"deepseek-v2", 236, 1, 21, 1},
    {"deepseek-v3", 671, 1, 37, 1, Counted::no_embedding},
    {"kimi-k2", 1000, 100, 32, 1, Counted::no_embedding},
    {"glm-5", 744, 1, 40, 1, Counted::neither_embedding_nor_head},
    {"olmoe-1b-7b", 6.9, 0.1, 1.3, 0.1},
    {"gpt-oss-20b", 20.9, 0.1, 3.6, 0.1, Counted::no_embedding},
    {"gpt-oss-120b", 116.8, 0.1, 5.1, 0.1, Counted::no_embedding},
    {"dbrx", 132, 1, 36, 1},
    {"phi-3.5-moe", 41.9, 0.1, 6.6, 0.1},
    {"llama-4-scout", 107.8, 0.1, 17, 1},  // 109 with the vision tower, which is left out
    {"llama-4-maverick", 400, 10, 17, 1},
    {"minimax-m2", 230, 10, 10, 1, Counted::no_embedding},
    {"mimo-v2-flash", 309, 1, 15, 1},
    {"granite-3.1-3b-a800m", 3.3, 0.1, 0.8, 0.1, Counted::no_embedding},
    {"hunyuan-a13b", 80, 1, 13, 1},
};

class BuiltInModel : public testing::TestWithParam<Published> {};

TEST_P(BuiltInModel, HasTheSizeThatWasPublished) {
  const auto path = config_dir() / "models" / (std::string(GetParam().name) + ".json");
  expect_published(read_file_of(path), GetParam());
}

std::string test_name(std::string text) {
  for (char& c : text) {
    if (std::isalnum(static_cast<unsigned char>(c)) == 0) c = '_';
  }
  return text;
}

std::string name_of(const testing::TestParamInfo<Published>& info) {
  return test_name(info.param.name);
}

INSTANTIATE_TEST_SUITE_P(All, BuiltInModel, testing::ValuesIn(built_in), name_of);

TEST(BuiltInModels, AreAllCompared) {
  for (const auto& entry : std::filesystem::directory_iterator(config_dir() / "models")) {
    const std::string name = entry.path().stem().string();
    EXPECT_TRUE(std::any_of(std::begin(built_in), std::end(built_in), [&name](const Published& it) {
      return it.name == name;
    })) << name;
  }
}

/// Files of model makers, not in the repository. Sizes from their model cards and papers.
constexpr Published real_files[] = {
    {"MiniMaxAI--MiniMax-M2.5_config", 230, 10, 10, 1, Counted::no_embedding},
    {"Qwen--Qwen3-30B-A3B_config", 30.5, 0.1, 3.3, 0.11},
    {"Qwen--Qwen3-VL-30B-A3B-Instruct_config", 30.5, 0.1, 3.3, 0.11},
    {"XiaomiMiMo--MiMo-V2-Flash_config", 309, 1, 15, 1},
    {"deepseek-ai--DeepSeek-V3_config", 671, 1, 37, 1, Counted::no_embedding},
    {"meta-llama--Llama-4-Scout-17B-16E-Instruct_config", 107.8, 0.1, 17, 1},
    {"mistralai--Mixtral-8x7B-v0.1_config", 46.7, 0.1, 12.9, 0.1},
    {"moonshotai--Kimi-K2-Instruct_config", 1000, 100, 32, 1, Counted::no_embedding},
    {"openai--gpt-oss-20b_config", 20.9, 0.1, 3.6, 0.1, Counted::no_embedding},
    {"zai-org--GLM-5_config", 744, 1, 40, 1, Counted::neither_embedding_nor_head},
};

const std::filesystem::path real_folder =
    std::filesystem::path(ZEBROID_SHARED_DATA_DIR) / "hf-config";

class RealFile : public testing::TestWithParam<Published> {};

TEST_P(RealFile, HasTheSizeThatWasPublished) {
  if (!std::filesystem::exists(real_folder)) GTEST_SKIP() << real_folder << " is absent";
  expect_published(read_file_of(real_folder / (std::string(GetParam().name) + ".json")),
                   GetParam());
}

INSTANTIATE_TEST_SUITE_P(All, RealFile, testing::ValuesIn(real_files), name_of);

const auto case_name = [](const auto& test) { return test.param.name; };

// ---- a small config to change ----

Json tiny() {
  return Json::parse(R"({
    "model_type": "mixtral", "num_hidden_layers": 4, "hidden_size": 64, "intermediate_size": 128,
    "num_attention_heads": 4, "num_key_value_heads": 2, "num_local_experts": 8,
    "num_experts_per_tok": 2, "vocab_size": 1000, "hidden_act": "silu",
    "tie_word_embeddings": false})");
}

/// tiny() with these keys changed or added; null is as good as absent.
Json tiny_with(const char* changes) {
  Json config = tiny();
  config.update(Json::parse(changes));
  return config;
}

MoeModel read(const Json& config) {
  return read_model(parse_json(config.dump(2), "config.json"), "model");
}

/// The message of the refusal, "" when there is none.
std::string refusal(const Json& config) {
  try {
    read(config);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::input);
    return error.what();
  }
  return "";
}

void expect_refused(const Json& config, const std::string& because) {
  EXPECT_NE(refusal(config).find(because), std::string::npos)
      << "wanted: " << because << "\ngot: " << refusal(config);
}

bool has_note(const MoeModel& model, const std::string& part) {
  return std::any_of(model.notes.begin(), model.notes.end(), [&part](const std::string& note) {
    return note.find(part) != std::string::npos;
  });
}

std::vector<bool> moe_layers_of(const MoeModel& model) {
  std::vector<bool> out(model.layers.size());
  std::transform(model.layers.begin(), model.layers.end(), out.begin(),
                 [](const Layer& layer) { return layer.has_experts; });
  return out;
}

std::vector<std::uint32_t> windows_of(const MoeModel& model) {
  std::vector<std::uint32_t> out(model.layers.size());
  std::transform(model.layers.begin(), model.layers.end(), out.begin(),
                 [](const Layer& layer) { return layer.attention.window; });
  return out;
}

// ---- what is read ----

TEST(HfConfig, ReadsAPlainModel) {
  const MoeModel model = read(tiny());
  EXPECT_EQ(model.name, "model");
  EXPECT_EQ(model.model_type, "mixtral");
  EXPECT_EQ(model.hidden, 64U);
  EXPECT_EQ(model.vocabulary, 1000U);
  EXPECT_EQ(model.experts, 8U);
  EXPECT_EQ(model.top_k, 2U);
  EXPECT_EQ(model.expert_ffn, 128U);
  EXPECT_FALSE(model.tied_embeddings);
  ASSERT_EQ(model.layers.size(), 4U);
  EXPECT_TRUE(model.layers[3].has_experts);
  EXPECT_EQ(model.layers[3].attention,
            (Attention{.heads = 4, .kv_heads = 2, .head_dim = 16, .value_dim = 16}));
}

TEST(HfConfig, TakesHeadDimFromItsKeyWhenThereIsOne) {
  EXPECT_EQ(read(tiny_with(R"({"head_dim": 128})")).layers[0].attention.head_dim, 128U);
}

TEST(HfConfig, HasAKeyValueHeadPerQueryHeadWithoutAKey) {
  const MoeModel model = read(tiny_with(R"({"num_key_value_heads": null})"));
  EXPECT_EQ(model.layers[0].attention.kv_heads, 4U);
  EXPECT_TRUE(has_note(model, "key-value heads"));
}

TEST(HfConfig, FindsTheLanguageModelOfAMultimodalOne) {
  Json config = Json::parse(R"({"model_type": "some_vl", "vision_config": {"hidden_size": 7}})");
  config["text_config"] = tiny();
  const MoeModel model = read(config);
  EXPECT_EQ(model.hidden, 64U);
  EXPECT_EQ(model.model_type, "mixtral");
  EXPECT_TRUE(has_note(model, "text_config"));
  EXPECT_TRUE(has_note(model, "vision_config"));
}

TEST(HfConfig, FindsALanguageModelNestedTwice) {
  Json config;
  config["thinker_config"]["text_config"] = tiny();
  config["talker_config"]["text_config"]["num_experts"] = 4;
  EXPECT_EQ(read(config).experts, 8U);
}

TEST(HfConfig, PrefersTheNestedLanguageModelToABareHiddenSizeOutside) {
  Json config = Json::parse(R"({"hidden_size": 7})");
  config["text_config"] = tiny();
  EXPECT_EQ(read(config).hidden, 64U);
}

TEST(HfConfig, ReportsListsOfManyFaultsQuickly) {
  Json config = tiny();
  config["moe_layer_freq"] = Json::array();
  for (int i = 0; i < 100'000; ++i) config["moe_layer_freq"].push_back(7);
  expect_refused(config, "/moe_layer_freq/0");
}

TEST(HfConfig, TakesTyingFromOutsideTheNestedLanguageModel) {
  Json config = Json::parse(R"({"tie_word_embeddings": true})");
  config["text_config"] = tiny_with(R"({"tie_word_embeddings": null})");
  EXPECT_TRUE(read(config).tied_embeddings);
}

TEST(HfConfig, PrefersTheExpertsOwnWidth) {
  const MoeModel model =
      read(tiny_with(R"({"moe_intermediate_size": 32, "first_k_dense_replace": 1})"));
  EXPECT_EQ(model.expert_ffn, 32U);
  EXPECT_EQ(model.layers[0].dense_ffn, 128U);
  EXPECT_EQ(model.layers[1].dense_ffn, 0U);
}

TEST(HfConfig, AcceptsAnArrayThatRepeatsOneValue) {
  const MoeModel model = read(tiny_with(
      R"({"num_experts_per_tok": null, "moe_topk": [3, 3, 3, 3],
          "num_shared_expert": [1, 1, 1, 1]})"));
  EXPECT_EQ(model.top_k, 3U);
  EXPECT_EQ(model.layers[0].shared_ffn, 128U);
}

TEST(HfConfig, ReadsErnie) {
  Json config = tiny_with(R"({
    "model_type": "ernie4_5_moe", "num_local_experts": null, "num_experts_per_tok": null,
    "moe_num_experts": 8, "moe_k": 6, "moe_intermediate_size": 32, "moe_num_shared_experts": 2,
    "moe_layer_start_index": 1, "moe_layer_end_index": -1, "moe_layer_interval": 1,
    "moe_gate": "topk", "moe_capacity": [64, 64, 64], "moe_use_aux_free": true})");
  config.erase("tie_word_embeddings");
  const MoeModel model = read(config);
  EXPECT_EQ(moe_layers_of(model), (std::vector<bool>{false, true, true, true}));
  EXPECT_EQ(model.layers[1].shared_ffn, 64U);
  EXPECT_EQ(model.top_k, 6U);
  EXPECT_TRUE(model.tied_embeddings);
}

TEST(HfConfig, ReadsTheNestedObjectsOfDbrx) {
  const MoeModel model = read(Json::parse(R"({
    "model_type": "dbrx", "n_layers": 2, "d_model": 64, "n_heads": 4, "vocab_size": 1000,
    "attn_config": {"kv_n_heads": 2, "clip_qkv": 8, "model_type": ""},
    "ffn_config": {"ffn_hidden_size": 96, "moe_num_experts": 16, "moe_top_k": 4,
                   "moe_jitter_eps": 0.01, "moe_loss_weight": 0.05, "ffn_act_fn": {"name": "silu"},
                   "moe_normalize_expert_weights": 1, "model_type": ""}})"));
  EXPECT_EQ(model.experts, 16U);
  EXPECT_EQ(model.top_k, 4U);
  EXPECT_EQ(model.expert_ffn, 96U);
  EXPECT_EQ(model.layers[0].attention.kv_heads, 2U);
}

TEST(HfConfig, KnowsTheBiasesAndTheGateOfQwen2) {
  const MoeModel model =
      read(tiny_with(R"({"model_type": "qwen2_moe", "shared_expert_intermediate_size": 48})"));
  EXPECT_TRUE(model.layers[0].attention.qkv_bias);
  EXPECT_FALSE(model.layers[0].attention.output_bias);
  EXPECT_TRUE(model.shared_expert_gate);
  EXPECT_EQ(model.layers[0].shared_ffn, 48U);
}

TEST(HfConfig, KnowsTheBiasesAndSinksOfGptOss) {
  const MoeModel model =
      read(tiny_with(R"({"model_type": "gpt_oss", "attention_bias": true, "sliding_window": 5})"));
  EXPECT_TRUE(model.ffn_bias);
  EXPECT_TRUE(model.router_bias);
  EXPECT_TRUE(model.layers[1].attention.sinks);
  EXPECT_TRUE(model.layers[1].attention.output_bias);
  EXPECT_EQ(windows_of(model), (std::vector<std::uint32_t>{5, 0, 5, 0}));
}

TEST(HfConfig, KnowsWhichModelsNormaliseQueriesAndKeys) {
  const auto norm = [](const char* changes) {
    return read(tiny_with(changes)).layers[0].attention.query_key_norm;
  };
  EXPECT_EQ(norm(R"({"model_type": "qwen3_moe"})"), QueryKeyNorm::per_head);
  EXPECT_EQ(norm(R"({"model_type": "olmoe"})"), QueryKeyNorm::per_layer);
  EXPECT_EQ(norm(R"({"use_qk_norm": true})"), QueryKeyNorm::per_head);
  EXPECT_EQ(norm(R"({"use_qk_norm": true, "qk_norm_type": "per_layer"})"), QueryKeyNorm::per_layer);
  EXPECT_EQ(norm(R"({"model_type": "llama4_text", "use_qk_norm": true})"), QueryKeyNorm::none);
}

TEST(HfConfig, ReadsLatentAttentionWithAndWithoutAQueryRank) {
  const char* const latent = R"({"kv_lora_rank": 16, "q_lora_rank": 24, "qk_nope_head_dim": 8,
                                 "qk_rope_head_dim": 4, "v_head_dim": 6, "head_dim": 99})";
  Json config = tiny_with(latent);
  const Attention attention = read(config).layers[0].attention;
  ASSERT_TRUE(attention.latent);
  EXPECT_EQ(attention.head_dim, 12U);
  EXPECT_EQ(attention.value_dim, 6U);
  EXPECT_EQ(attention.kv_heads, 4U);
  EXPECT_EQ(attention.latent->query_rank, 24U);

  config["q_lora_rank"] = nullptr;
  EXPECT_EQ(read(config).layers[0].attention.latent->query_rank, 0U);
}

TEST(HfConfig, ReadsTheIndexerOfSparseAttention) {
  const auto indexer =
      read(tiny_with(R"({"index_topk": 32, "index_n_heads": 2, "index_head_dim": 8})"))
          .layers[0]
          .attention.indexer;
  EXPECT_EQ(indexer, (SparseIndexer{.heads = 2, .head_dim = 8, .top_k = 32}));
}

TEST(HfConfig, GivesLlama4ASharedExpertAndChunks) {
  const MoeModel model = read(tiny_with(
      R"({"model_type": "llama4_text", "attention_chunk_size": 32, "intermediate_size_mlp": 256,
          "interleave_moe_layer_step": 2, "no_rope_layers": []})"));
  EXPECT_EQ(windows_of(model), (std::vector<std::uint32_t>{32, 32, 32, 0}));
  EXPECT_TRUE(model.layers[0].attention.chunked);
  EXPECT_EQ(moe_layers_of(model), (std::vector<bool>{false, true, false, true}));
  EXPECT_EQ(model.layers[0].dense_ffn, 256U);
  EXPECT_EQ(model.layers[1].shared_ffn, 128U);
}

TEST(HfConfig, FollowsTheListsOfLlama4) {
  const MoeModel model = read(tiny_with(
      R"({"model_type": "llama4_text", "attention_chunk_size": 32, "moe_layers": [1, 3],
          "no_rope_layers": [0, 1, 1, 0]})"));
  EXPECT_EQ(windows_of(model), (std::vector<std::uint32_t>{0, 32, 32, 0}));
  EXPECT_EQ(moe_layers_of(model), (std::vector<bool>{false, true, false, true}));
}

TEST(HfConfig, GivesMiMoTwoShapesOfAttention) {
  const MoeModel model = read(tiny_with(
      R"({"hybrid_layer_pattern": [0, 1, 1, 0], "sliding_window": 16, "attention_chunk_size": 16,
          "v_head_dim": 8, "swa_num_key_value_heads": 4, "swa_head_dim": 32, "swa_v_head_dim": 4,
          "add_swa_attention_sink_bias": true, "moe_layer_freq": [0, 1, 1, 1]})"));
  EXPECT_EQ(model.layers[0].attention,
            (Attention{.heads = 4, .kv_heads = 2, .head_dim = 16, .value_dim = 8}));
  EXPECT_EQ(
      model.layers[1].attention,
      (Attention{
          .heads = 4, .kv_heads = 4, .head_dim = 32, .value_dim = 4, .window = 16, .sinks = true}));
  EXPECT_EQ(moe_layers_of(model), (std::vector<bool>{false, true, true, true}));
}

TEST(HfConfig, NotesWhatItLeavesOut) {
  const MoeModel model = read(tiny_with(
      R"({"num_nextn_predict_layers": 1, "quantization_config": {"quant_method": "fp8"}})"));
  EXPECT_TRUE(has_note(model, "num_nextn_predict_layers"));
  EXPECT_TRUE(has_note(model, "quantization_config"));
  EXPECT_TRUE(has_note(model, "intermediate_size"));
}

TEST(HfConfig, NotesAModelTypeItDoesNotKnow) {
  EXPECT_TRUE(has_note(read(tiny_with(R"({"model_type": "mine"})")), "'mine'"));
  EXPECT_FALSE(has_note(read(tiny()), "mixtral"));
}

TEST(HfConfig, OverlooksKeysThatAreSwitchedOffOrChangeNothing) {
  EXPECT_EQ(refusal(tiny_with(R"({
    "use_mamba": false, "conv_kernel": 0, "block_configs": [], "pruned_heads": {},
    "chunk_size_feed_forward": 0, "shared_intermediate_size": 0, "router_aux_loss_coef": 0.02,
    "moe_router_enable_expert_bias": true, "scoring_func": "sigmoid", "norm_topk_prob": true,
    "n_group": 8, "topk_group": 4, "topk_method": "noaux_tc", "routed_scaling_factor": 2.5,
    "attention_dropout": 0.1, "attn_implementation": "flash_attention_2", "expert_dtype": "fp4",
    "rope_scaling": {"type": "yarn"}, "some_future_key": 7})")),
            "");
}

struct Rule {
  const char* name;
  const char* changes;
  std::vector<bool> has_experts;
};

class LayerRule : public testing::TestWithParam<Rule> {};

TEST_P(LayerRule, DecidesWhichLayersHaveExperts) {
  EXPECT_EQ(moe_layers_of(read(tiny_with(GetParam().changes))), GetParam().has_experts);
}

const Rule rules[] = {
    {"FirstKDense", R"({"first_k_dense_replace": 3})", {false, false, false, true}},
    {"NumDenseLayers", R"({"num_dense_layers": 1})", {false, true, true, true}},
    {"Frequency", R"({"moe_layer_freq": 2})", {true, false, true, false}},
    {"FrequencyAfterDense",
     R"({"moe_layer_freq": 2, "first_k_dense_replace": 1})",
     {false, false, true, false}},
    {"FrequencyList", R"({"moe_layer_freq": [1, 0, 0, 1]})", {true, false, false, true}},
    {"SparseStep", R"({"decoder_sparse_step": 2})", {false, true, false, true}},
    {"MlpOnly", R"({"mlp_only_layers": [0, 2]})", {false, true, false, true}},
    {"Interleaved", R"({"interleave_moe_layer_step": 4})", {false, false, false, true}},
    {"StartAndEnd",
     R"({"moe_layer_start_index": 1, "moe_layer_end_index": 2})",
     {false, true, true, false}},
    {"Types",
     R"({"mlp_layer_types": ["dense", "sparse", "sparse", "dense"]})",
     {false, true, true, false}},
    {"NullsAndEmptyLists",
     R"({"first_k_dense_replace": null, "mlp_only_layers": [], "moe_layers": []})",
     {true, true, true, true}},
};

INSTANTIATE_TEST_SUITE_P(All, LayerRule, testing::ValuesIn(rules), case_name);

struct WindowCase {
  const char* name;
  const char* changes;
  std::vector<std::uint32_t> windows;
};

class WindowRule : public testing::TestWithParam<WindowCase> {};

TEST_P(WindowRule, DecidesHowFarBackLayersSee) {
  EXPECT_EQ(windows_of(read(tiny_with(GetParam().changes))), GetParam().windows);
}

const WindowCase window_cases[] = {
    {"Everywhere", R"({"sliding_window": 9})", {9, 9, 9, 9}},
    {"SwitchedOff", R"({"sliding_window": 9, "use_sliding_window": false})", {0, 0, 0, 0}},
    {"FromALayerOn",
     R"({"sliding_window": 9, "use_sliding_window": true, "max_window_layers": 3})",
     {0, 0, 0, 9}},
    {"ByType",
     R"({"sliding_window": 9, "layer_types": ["full_attention", "sliding_attention",
         "full_attention", "sliding_attention"]})",
     {0, 9, 0, 9}},
    {"AllFullByType",
     R"({"sliding_window": 9, "layer_types": ["full_attention", "full_attention",
         "full_attention", "full_attention"]})",
     {0, 0, 0, 0}},
};

INSTANTIATE_TEST_SUITE_P(All, WindowRule, testing::ValuesIn(window_cases), case_name);

TEST(HfConfig, TakesAnExplicitWidthOfSharedExpertsBeforeTheirNumber) {
  const auto shared = [](const char* changes) {
    return read(tiny_with(changes)).layers[0].shared_ffn;
  };
  EXPECT_EQ(shared(R"({"n_shared_experts": 3})"), 384U);
  EXPECT_EQ(shared(R"({"n_shared_experts": 0})"), 0U);
  EXPECT_EQ(shared(R"({"shared_expert_intermediate_size": 0})"), 0U);
  EXPECT_EQ(shared(R"({"shared_expert_intermediate_size": 40})"), 40U);
  EXPECT_EQ(shared(R"({"moe_shared_expert_intermediate_size": 40, "n_shared_experts": 1})"), 40U);
  EXPECT_EQ(shared(R"({"share_expert_dim": 256, "n_shared_experts": 2})"), 256U);
}

// ---- what is refused ----

struct Refused {
  const char* name;
  const char* changes;
  const char* because;
};

class RefusedConfig : public testing::TestWithParam<Refused> {};

TEST_P(RefusedConfig, IsRefusedByName) {
  expect_refused(tiny_with(GetParam().changes), GetParam().because);
}

constexpr Refused architectures[] = {
    {"NemotronH", R"({"hybrid_override_pattern": "MEM*"})", "/hybrid_override_pattern"},
    {"KimiK3", R"({"routed_expert_hidden_size": 32})", "/routed_expert_hidden_size"},
    {"NemotronSuper", R"({"moe_latent_size": 32})", "/moe_latent_size"},
    {"Qwen3Next", R"({"linear_num_key_heads": 16})", "/linear_num_key_heads"},
    {"Qwen3NextLayers",
     R"({"layer_types": ["linear_attention", "full_attention", "full_attention",
         "full_attention"]})",
     "/layer_types/0: \"linear_attention\""},
    {"Qwen35", R"({"attn_output_gate": true})", "/attn_output_gate"},
    {"KimiLinear", R"({"linear_attn_config": {"kda_layers": [1]}})", "/linear_attn_config"},
    {"Jamba", R"({"attn_layer_offset": 4, "mamba_d_state": 16})", "/attn_layer_offset"},
    {"Lfm2", R"({"conv_L_cache": 3})", "/conv_L_cache"},
    {"Lfm2Layers",
     R"({"layer_types": ["conv", "full_attention", "full_attention", "full_attention"]})",
     "/layer_types/0: \"conv\""},
    {"Gemma4", R"({"enable_moe_block": true})", "/enable_moe_block"},
    {"DeepSeekV4", R"({"compress_ratios": [0, 4], "o_lora_rank": 8})", "/compress_ratios"},
    {"DeepSeekV4Output", R"({"o_lora_rank": 8})", "/o_lora_rank"},
    {"DeepSeekV4Hash", R"({"num_hash_layers": 3})", "/num_hash_layers"},
    {"DeepSeekV4Residual", R"({"hc_mult": 4})", "/hc_mult"},
    {"QueryRankWithoutLatent", R"({"q_lora_rank": 8})", "/q_lora_rank"},
    {"Arctic", R"({"parallel_attn_mlp_res": true})", "/parallel_attn_mlp_res"},
    {"LongCat", R"({"zero_expert_num": 4})", "/zero_expert_num"},
    {"Laguna", R"({"num_attention_heads_per_layer": [4, 8]})", "/num_attention_heads_per_layer"},
    {"LagunaGate", R"({"gating": true})", "/gating"},
    {"Step", R"({"attention_other_setting": {"num_attention_heads": 6}})",
     "/attention_other_setting"},
    {"MiniMaxText", R"({"attn_type_list": [0, 0, 0, 1]})", "/attn_type_list"},
    {"HunyuanLarge", R"({"use_cla": true, "cla_share_factor": 2})", "/use_cla"},
    {"Grok2", R"({"residual_moe": true})", "/residual_moe"},
    {"SlidingShapeWithoutSlidingLayers", R"({"swa_head_dim": 8})", "/swa_head_dim"},
    {"MoreIndexerKeys", R"({"index_topk_freq": 4})", "/index_topk_freq"},
    {"UnknownActivation", R"({"hidden_act": "relu"})", "/hidden_act: activation \"relu\""},
    {"Chunks", R"({"attention_chunk_size": 64})", "/attention_chunk_size"},
    {"InADbrxObject", R"({"ffn_config": {"moe_new_thing": 3}})", "/ffn_config/moe_new_thing"},
};

INSTANTIATE_TEST_SUITE_P(Architectures, RefusedConfig, testing::ValuesIn(architectures), case_name);

constexpr Refused bad_values[] = {
    {"ZeroLayers", R"({"num_hidden_layers": 0})", "/num_hidden_layers: expected an integer >= 1"},
    {"TooManyLayers", R"({"num_hidden_layers": 10001})", "expected an integer <= 10000"},
    {"HugeLayers", R"({"num_hidden_layers": 18446744073709551615})", "/num_hidden_layers"},
    {"NegativeHidden", R"({"hidden_size": -64})", "/hidden_size: expected an integer >= 1"},
    {"FractionalHidden", R"({"hidden_size": 64.5})", "/hidden_size"},
    {"TextHidden", R"({"hidden_size": "64"})", "/hidden_size"},
    {"HugeHidden", R"({"hidden_size": 1048577})", "/hidden_size"},
    {"ZeroVocabulary", R"({"vocab_size": 0})", "/vocab_size"},
    {"HugeVocabulary", R"({"vocab_size": 16777217})", "/vocab_size"},
    {"NegativeExperts", R"({"num_local_experts": -8})", "/num_local_experts"},
    {"FractionalExperts", R"({"num_local_experts": 8.5})", "/num_local_experts"},
    {"TooManyExperts", R"({"num_local_experts": 100001})", "/num_local_experts"},
    {"ZeroTopK", R"({"num_experts_per_tok": 0})", "/num_experts_per_tok"},
    {"TopKAboveExperts", R"({"num_experts_per_tok": 9})",
     "/num_experts_per_tok: expected an "
     "integer <= 8"},
    {"ZeroHeads", R"({"num_attention_heads": 0})", "/num_attention_heads"},
    {"UnevenHeads", R"({"num_key_value_heads": 3})", "/num_key_value_heads: 4 query heads"},
    {"UnevenHidden", R"({"hidden_size": 66})", "\"head_dim\" is missing"},
    {"ZeroHeadDim", R"({"head_dim": 0})", "/head_dim"},
    {"ZeroExpertWidth", R"({"moe_intermediate_size": 0})", "/moe_intermediate_size"},
    {"HugeExpertWidth", R"({"intermediate_size": 4194305})", "/intermediate_size"},
    {"NoWidth", R"({"intermediate_size": null})", "moe_intermediate_size"},
    {"NoHidden", R"({"hidden_size": null})", "none of the keys hidden_size, d_model"},
    {"NoVocabulary", R"({"vocab_size": null})", "key \"vocab_size\" is missing"},
    {"NoTopK", R"({"num_experts_per_tok": null})", "none of the keys num_experts_per_tok"},
    {"NegativeShared", R"({"n_shared_experts": -1})", "/n_shared_experts"},
    {"TooManyShared", R"({"n_shared_experts": 1001})", "/n_shared_experts"},
    {"UnclearShared", R"({"n_shared_experts": 2, "shared_expert_intermediate_size": 128})",
     "/shared_expert_intermediate_size: cannot tell"},
    {"Contradiction", R"({"experts_per_token": 4})", "/experts_per_token: 4 contradicts"},
    {"DifferentTopK", R"({"num_experts_per_tok": [1, 2]})", "/num_experts_per_tok: expected one"},
    {"EmptyTopK", R"({"num_experts_per_tok": []})", "/num_experts_per_tok"},
    {"TyingAsText", R"({"tie_word_embeddings": "no"})", "/tie_word_embeddings"},
    {"BiasAsNumber", R"({"attention_bias": 1})", "/attention_bias"},
    {"ActivationAsNumber", R"({"hidden_act": 5})", "/hidden_act"},
    {"AllDense", R"({"first_k_dense_replace": 4})", "no layer has experts"},
    {"DenseBeyondTheEnd", R"({"first_k_dense_replace": 5})", "/first_k_dense_replace"},
    {"ZeroFrequency", R"({"moe_layer_freq": 0})", "/moe_layer_freq"},
    {"ShortFrequencyList", R"({"moe_layer_freq": [1, 1]})", "/moe_layer_freq: expected an element"},
    {"FrequencyListWithATwo", R"({"moe_layer_freq": [1, 1, 2, 1]})", "/moe_layer_freq/2"},
    {"ZeroStep", R"({"interleave_moe_layer_step": 0})", "/interleave_moe_layer_step"},
    {"DenseLayerBeyondTheEnd", R"({"mlp_only_layers": [4]})", "/mlp_only_layers/0"},
    {"NegativeLayer", R"({"moe_layers": [-1]})", "/moe_layers/0"},
    {"RulesThatDisagree", R"({"moe_layers": [0, 1], "decoder_sparse_step": 2})",
     "/moe_layers: lists other layers"},
    {"UnknownMlpType", R"({"mlp_layer_types": ["sparse", "sprase", "sparse", "sparse"]})",
     "did you mean 'sparse'"},
    {"ZeroWindow", R"({"sliding_window": 0})", "/sliding_window"},
    {"NegativeWindow", R"({"sliding_window": -1})", "/sliding_window"},
    {"TypesWithoutAWindow",
     R"({"layer_types": ["full_attention", "sliding_attention", "full_attention",
         "full_attention"]})",
     "none of the keys sliding_window"},
    {"ShortTypes", R"({"layer_types": ["full_attention"]})", "/layer_types: expected an element"},
    {"TypesAgainstTheSwitch",
     R"({"use_sliding_window": false, "sliding_window": 9, "layer_types": ["full_attention",
         "sliding_attention", "full_attention", "full_attention"]})",
     "/layer_types: lists layers with a sliding window"},
    {"LatentWithoutParts", R"({"kv_lora_rank": 16})", "\"qk_rope_head_dim\" is missing"},
    {"LatentHeadDimThatDoesNotAddUp",
     R"({"kv_lora_rank": 16, "qk_nope_head_dim": 8, "qk_rope_head_dim": 4, "v_head_dim": 6,
         "qk_head_dim": 13})",
     "/qk_head_dim: expected 12"},
    {"IndexerWithoutParts", R"({"index_topk": 32})", "\"index_n_heads\" is missing"},
};

INSTANTIATE_TEST_SUITE_P(Values, RefusedConfig, testing::ValuesIn(bad_values), case_name);

TEST(HfConfig, ReportsAllFaultsAtOnceWithTheirLines) {
  const std::string message = refusal(
      tiny_with(R"({"hidden_size": 0, "vocab_size": "many", "hybrid_override_pattern": "M"})"));
  EXPECT_NE(message.find("config.json:4: /hidden_size"), std::string::npos) << message;
  EXPECT_NE(message.find("/vocab_size: expected an integer >= 1, got \"many\""), std::string::npos)
      << message;
  EXPECT_NE(message.find("/hybrid_override_pattern"), std::string::npos) << message;
}

TEST(HfConfig, TurnsADenseModelAwayInOneSentence) {
  Json config = tiny();
  config.erase("num_local_experts");
  config.erase("num_experts_per_tok");
  config["hidden_size"] = 0;
  const std::string message = refusal(config);
  EXPECT_NE(message.find("config.json: this model is dense"), std::string::npos) << message;
  EXPECT_NE(message.find("num_local_experts, n_routed_experts, num_experts"), std::string::npos);
  EXPECT_EQ(message.find('\n'), std::string::npos) << message;
  expect_refused(tiny_with(R"({"num_local_experts": 0})"), "dense");
  expect_refused(tiny_with(R"({"num_local_experts": 1})"), "dense");
}

TEST(HfConfig, NamesTheKeyThatTellsOfExpertsWithoutTheirNumber) {
  expect_refused(tiny_with(R"({"num_local_experts": null})"), "\"num_experts_per_tok\"");
}

TEST(HfConfig, RefusesAnythingButAnObject) {
  expect_refused(Json::parse("[1]"), "expected an object");
  expect_refused(Json::parse("3"), "expected an object");
  expect_refused(Json::parse("{}"), "dense");
}

TEST(HfConfig, RefusesContradictingTyingOfANestedModel) {
  Json config = Json::parse(R"({"tie_word_embeddings": true})");
  config["text_config"] = tiny();
  expect_refused(config, "contradicts");
}

TEST(HfConfig, SurvivesAnyKindOfValueUnderAnyKey) {
  const Json values = Json::parse(
      R"([null, true, false, -1, 0, 1, 3, 1e300, 0.5, 18446744073709551615, "", "x", [], [0],
          [1, 1, 1, 1], ["full_attention"], {}, {"a": 1}])");
  const Json everything = tiny_with(R"({
    "moe_intermediate_size": 32, "n_shared_experts": 1, "first_k_dense_replace": 1, "head_dim": 16,
    "moe_layer_freq": [0, 1, 1, 1], "mlp_only_layers": [0], "layer_types": ["full_attention",
    "sliding_attention", "full_attention", "full_attention"], "sliding_window": 9,
    "use_sliding_window": true, "max_window_layers": 2, "kv_lora_rank": 4, "qk_nope_head_dim": 4,
    "qk_rope_head_dim": 4, "v_head_dim": 4, "q_lora_rank": 4, "index_topk": 4, "index_n_heads": 1,
    "index_head_dim": 4, "moe_layer_start_index": 1, "moe_layer_end_index": 3, "moe_layers":
    [1, 2, 3], "mlp_layer_types": ["dense", "sparse", "sparse", "sparse"], "attention_bias": true,
    "swa_head_dim": 8, "swa_num_key_value_heads": 2, "shared_expert_intermediate_size": 32})");
  ASSERT_EQ(refusal(everything), "");
  for (const auto& [key, original] : everything.items()) {
    for (const Json& value : values) {
      Json config = everything;
      config[key] = value;
      EXPECT_NO_FATAL_FAILURE(refusal(config)) << key << " = " << value;
    }
  }
}

TEST(RealFiles, RefuseADenseModelAndOneOfMambaLayers) {
  if (!std::filesystem::exists(real_folder)) GTEST_SKIP() << real_folder << " is absent";
  const auto refused = [](const char* file) {
    return refusal(read_json(real_folder / (std::string(file) + ".json")).root);
  };
  EXPECT_NE(refused("meta-llama--Meta-Llama-3.1-8B_config").find("this model is dense"),
            std::string::npos);
  const std::string nemotron = refused("nvidia--NVIDIA-Nemotron-3-Nano-30B-A3B-BF16_config");
  EXPECT_NE(nemotron.find("/hybrid_override_pattern"), std::string::npos);
  EXPECT_NE(nemotron.find("/mamba_num_heads"), std::string::npos);
}

TEST(RealFiles, SayTheSameAsTheBuiltInModels) {
  if (!std::filesystem::exists(real_folder)) GTEST_SKIP() << real_folder << " is absent";
  const auto layers_of_both = [](const char* file, const char* name) {
    const auto built = config_dir() / "models" / (std::string(name) + ".json");
    const auto real = real_folder / (std::string(file) + "_config.json");
    EXPECT_EQ(read_file_of(real).layers, read_file_of(built).layers) << name;
    EXPECT_EQ(total_parameters(read_file_of(real)), total_parameters(read_file_of(built))) << name;
  };
  layers_of_both("MiniMaxAI--MiniMax-M2.5", "minimax-m2");
  layers_of_both("Qwen--Qwen3-30B-A3B", "qwen3-30b-a3b");
  layers_of_both("XiaomiMiMo--MiMo-V2-Flash", "mimo-v2-flash");
  layers_of_both("deepseek-ai--DeepSeek-V3", "deepseek-v3");
  layers_of_both("meta-llama--Llama-4-Scout-17B-16E-Instruct", "llama-4-scout");
  layers_of_both("mistralai--Mixtral-8x7B-v0.1", "mixtral-8x7b");
  layers_of_both("moonshotai--Kimi-K2-Instruct", "kimi-k2");
  layers_of_both("openai--gpt-oss-20b", "gpt-oss-20b");
  layers_of_both("zai-org--GLM-5", "glm-5");
}

}  // namespace
}  // namespace zebroid
