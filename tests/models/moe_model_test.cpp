#include "models/moe_model.hpp"

#include <gtest/gtest.h>

#include <algorithm>

#include "core/error.hpp"

namespace zebroid {
namespace {

/// Small enough to count by hand.
MoeModel tiny() {
  MoeModel model;
  model.hidden = 8;
  model.vocabulary = 100;
  model.experts = 4;
  model.top_k = 2;
  model.expert_ffn = 16;
  Layer layer;
  layer.attention = {.heads = 4, .kv_heads = 2, .head_dim = 3, .value_dim = 3};
  layer.has_experts = true;
  Layer dense = layer;
  dense.has_experts = false;
  dense.dense_ffn = 20;
  model.layers = {dense, layer};
  return model;
}

double pairs_one_by_one(const Attention& attention, int length) {
  double pairs = 0;
  for (int query = 0; query < length; ++query) {
    for (int key = 0; key <= query; ++key) {
      const int window = static_cast<int>(attention.window);
      const bool seen = window == 0         ? true
                        : attention.chunked ? query / window == key / window
                                            : query - key < window;
      pairs += seen ? 1 : 0;
    }
  }
  return pairs;
}

TEST(MoeModel, CountsTheParametersOfEveryModule) {
  const MoeModel model = tiny();
  const LayerParameters dense = layer_parameters(model, 0);
  const LayerParameters sparse = layer_parameters(model, 1);

  // q 8 x 12, k and v 8 x 6 each, output 12 x 8, two norms of 8
  EXPECT_EQ(sparse.attention, 96 + 96 + 96 + 16);
  EXPECT_EQ(dense.attention, sparse.attention);
  EXPECT_EQ(dense.dense, 3 * 8 * 20);
  EXPECT_EQ(dense.router, 0);
  EXPECT_EQ(dense.expert, 0);
  EXPECT_EQ(sparse.router, 8 * 4);
  EXPECT_EQ(sparse.expert, 3 * 8 * 16);
  EXPECT_EQ(sparse.dense, 0);
  EXPECT_EQ(sparse.shared, 0);
}

TEST(MoeModel, AddsUpTotalAndActiveParameters) {
  const MoeModel model = tiny();
  const double all_but_experts = 800 + (800 + 8) + (304 + 480) + (304 + 32);
  EXPECT_EQ(total_parameters(model), all_but_experts + 4 * 384);
  EXPECT_EQ(active_parameters(model), all_but_experts + 2 * 384);
  EXPECT_EQ(model.moe_layers(), 1U);
}

TEST(MoeModel, CountsATiedHeadOnce) {
  MoeModel model = tiny();
  model.tied_embeddings = true;
  EXPECT_EQ(embedding_parameters(model), 800);
  EXPECT_EQ(head_parameters(model), 8);
}

TEST(MoeModel, HasTwoMatricesPerFfnWithoutAGate) {
  MoeModel model = tiny();
  model.gated = false;
  EXPECT_EQ(layer_parameters(model, 1).expert, 2 * 8 * 16);
  EXPECT_EQ(layer_parameters(model, 0).dense, 2 * 8 * 20);
}

TEST(MoeModel, CountsBiasesSinksAndNorms) {
  MoeModel model = tiny();
  Attention& attention = model.layers[1].attention;
  attention.qkv_bias = true;
  attention.output_bias = true;
  attention.sinks = true;
  attention.query_key_norm = QueryKeyNorm::per_head;
  model.ffn_bias = true;
  model.router_bias = true;
  const LayerParameters with = layer_parameters(model, 1);
  EXPECT_EQ(with.attention, 304 + (12 + 6 + 6) + 8 + 4 + 2 * 3);
  EXPECT_EQ(with.expert, 3 * 8 * 16 + 2 * 16 + 8);
  EXPECT_EQ(with.router, 8 * 4 + 4);

  attention.query_key_norm = QueryKeyNorm::per_layer;
  EXPECT_EQ(layer_parameters(model, 1).attention, 304 + 24 + 8 + 4 + (4 + 2) * 3);
}

TEST(MoeModel, CountsSharedExpertsAndTheirGate) {
  MoeModel model = tiny();
  model.layers[1].shared_ffn = 10;
  EXPECT_EQ(layer_parameters(model, 1).shared, 3 * 8 * 10);
  model.shared_expert_gate = true;
  EXPECT_EQ(layer_parameters(model, 1).shared, 3 * 8 * 10 + 8);
  EXPECT_EQ(layer_parameters(model, 0).shared, 0);
}

TEST(MoeModel, CountsLatentAttentionWithItsIndexer) {
  MoeModel model = tiny();
  Attention& attention = model.layers[1].attention;
  attention = {.heads = 4, .kv_heads = 4, .head_dim = 5, .value_dim = 3};
  attention.latent = LatentAttention{.query_rank = 6, .latent_rank = 7, .rope_dim = 2};
  // down 8 x 6, up 6 x 20, down 8 x (7 + 2), up 7 x 4 (3 + 3), output 12 x 8; norms 8 + 8 + 6 + 7
  const double plain = 48 + 120 + 72 + 168 + 96 + 29;
  EXPECT_EQ(layer_parameters(model, 1).attention, plain);

  attention.indexer = SparseIndexer{.heads = 2, .head_dim = 3, .top_k = 10};
  // queries 6 x 6, keys 8 x 3, weights 8 x 2, norm with bias 2 x 3
  EXPECT_EQ(layer_parameters(model, 1).attention, plain + 36 + 24 + 16 + 6);

  attention.indexer.reset();
  attention.latent->query_rank = 0;  // queries straight from the hidden state: 8 x 20
  EXPECT_EQ(layer_parameters(model, 1).attention, 160 + 72 + 168 + 96 + 23);
}

TEST(MoeModel, CountsTheFlopsOfALayerWithExperts) {
  MoeModel model = tiny();
  model.layers[1].shared_ffn = 10;
  model.shared_expert_gate = true;
  const ForwardFlops flops = attention_flops(model, 1, 2, 5);  // 10 tokens, 2 x 15 pairs
  EXPECT_EQ(flops.projections.value, 2 * 10 * 288);
  EXPECT_EQ(flops.core.value, 30 * 4 * (2 * 3 + 2 * 3));
  EXPECT_EQ(flops.router.value, 2 * 10 * 8 * 4);
  EXPECT_EQ(flops.dense.value, 2 * 10 * (3 * 8 * 10 + 8));
  EXPECT_EQ(flops.total().value, 5760 + 1440 + 640 + 4960);
  EXPECT_EQ(expert_flops(model, 7).value, 2 * 7 * 384);
  EXPECT_EQ(head_flops(model, 10).value, 2 * 10 * 800);
}

TEST(MoeModel, CountsTheFlopsOfADenseLayer) {
  const ForwardFlops flops = attention_flops(tiny(), 0, 1, 5);
  EXPECT_EQ(flops.router.value, 0);
  EXPECT_EQ(flops.dense.value, 2 * 5 * 480);
}

TEST(MoeModel, ExpandsLatentAttentionForTraining) {
  MoeModel model = tiny();
  Attention& attention = model.layers[1].attention;
  attention = {.heads = 4, .kv_heads = 4, .head_dim = 5, .value_dim = 3};
  attention.latent = LatentAttention{.query_rank = 6, .latent_rank = 7, .rope_dim = 2};
  const ForwardFlops flops = attention_flops(model, 1, 1, 5);
  EXPECT_EQ(flops.projections.value, 2 * 5 * (48 + 120 + 72 + 168 + 96));
  EXPECT_EQ(flops.core.value, 15 * 4 * (2 * 5 + 2 * 3));
}

TEST(MoeModel, AttendsToTheTokensTheIndexerPicks) {
  MoeModel model = tiny();
  model.layers[1].attention.indexer = SparseIndexer{.heads = 2, .head_dim = 3, .top_k = 2};
  const ForwardFlops flops = attention_flops(model, 1, 1, 5);
  // The indexer scores 15 pairs; the five tokens then attend to 1, 2, 2, 2, 2.
  EXPECT_EQ(flops.core.value, 15 * 2 * 2 * 3 + 9 * 4 * 12);
  EXPECT_EQ(attended_pairs(model.layers[1].attention, 5), 15);
}

TEST(MoeModel, CountsPairsLikeAMaskDoes) {
  for (const std::uint32_t window : {0U, 1U, 2U, 3U, 7U, 8U, 20U}) {
    for (const bool chunked : {false, true}) {
      for (int length = 0; length <= 20; ++length) {
        const Attention attention{.window = window, .chunked = chunked};
        EXPECT_EQ(attended_pairs(attention, length), pairs_one_by_one(attention, length))
            << "window " << window << ", chunked " << chunked << ", length " << length;
      }
    }
  }
}

TEST(MoeModel, CountsPairsOfAMillionTokensExactly) {
  EXPECT_EQ(attended_pairs({}, 1'048'576), 549'756'338'176.0);
}

TEST(MoeModel, ComparesAttentionByValue) {
  Attention a = tiny().layers[1].attention;
  Attention b = a;
  a.latent = b.latent = LatentAttention{.query_rank = 1, .latent_rank = 2, .rope_dim = 3};
  EXPECT_EQ(a, b);
  b.latent->rope_dim = 4;
  EXPECT_NE(a, b);
}

TEST(MoeModel, RefusesALayerItDoesNotHave) { EXPECT_THROW(layer_parameters(tiny(), 2), Error); }

}  // namespace
}  // namespace zebroid
