#include "models/kernels.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <iterator>

#include "core/error.hpp"
#include "models/config_dir.hpp"

namespace zebroid {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr Direction forward = Direction::forward;
constexpr Direction backward = Direction::backward;

/// One layer of 4 heads of 2, 2 of them for keys and values, and 4 experts of 2 * 16.
MoeModel small_model() {
  MoeModel model;
  model.hidden = 8;
  model.vocabulary = 100;
  model.experts = 4;
  model.top_k = 2;
  model.expert_ffn = 16;
  Layer layer;
  layer.attention.heads = 4;
  layer.attention.kv_heads = 2;
  layer.attention.head_dim = 2;
  layer.attention.value_dim = 2;
  layer.has_experts = true;
  model.layers = {layer, layer};
  return model;
}

std::vector<KernelCall> of_op(const std::vector<KernelCall>& calls, MeasuredOp op) {
  std::vector<KernelCall> out;
  std::copy_if(calls.begin(), calls.end(), std::back_inserter(out),
               [&](const KernelCall& call) { return call.op == op; });
  return out;
}

std::vector<Shape> shapes(const std::vector<KernelCall>& calls, MeasuredOp op) {
  std::vector<Shape> out;
  for (const KernelCall& call : of_op(calls, op)) out.push_back(call.shape);
  return out;
}

double flops_of(const std::vector<KernelCall>& calls, MeasuredOp op) {
  double out = 0;
  for (const KernelCall& call : of_op(calls, op)) out += call.count * call.flops.value;
  return out;
}

double bytes_of(const std::vector<KernelCall>& calls, const std::string& kernel) {
  double out = 0;
  for (const KernelCall& call : of_op(calls, MeasuredOp::elementwise)) {
    if (call.kernel == kernel) out += call.count * call.bytes.value;
  }
  return out;
}

// --- single kernels ---

TEST(KernelCall, OfAGemmHasTwoFlopsPerMultiplyAddAndReadsAndWritesEachMatrixOnce) {
  const KernelCall call = kernel_call(MeasuredOp::gemm, {2, 3, 5}, forward);
  EXPECT_EQ(call.flops.value, 2 * 2 * 3 * 5);
  EXPECT_EQ(call.bytes.value, 2 * (2 * 5 + 5 * 3 + 2 * 3));
  EXPECT_EQ(call.size, 2);
}

TEST(KernelCall, OfAttentionCountsThePairsOfACausalSequence) {
  // 3 * 4 / 2 pairs, 2 products of 2 * 16 flops
  const KernelCall call = kernel_call(MeasuredOp::attention, {2, 3, 4, 1, 16}, forward);
  EXPECT_EQ(call.flops.value, 2 * 4 * 6 * 2 * 2 * 16);
  EXPECT_EQ(call.bytes.value, 2 * 2 * 3 * 16 * (2 * 4 + 2 * 1));
  EXPECT_EQ(kernel_call(MeasuredOp::attention, {2, 3, 4, 1, 16}, backward).flops.value,
            2.5 * call.flops.value);
}

TEST(KernelCall, OfGroupedExpertsReadsOnlyTheExpertsThatHaveRows) {
  const KernelCall few = kernel_call(MeasuredOp::grouped_gemm, {2, 8, 16, 32}, forward);
  EXPECT_EQ(few.flops.value, 2 * 2 * 3 * 16 * 32);
  EXPECT_EQ(few.bytes.value, 2 * (2 * 3 * 16 * 32 + 2 * (2 * 16 + 3 * 32)));
  EXPECT_EQ(few.size, 1);
  EXPECT_EQ(kernel_call(MeasuredOp::grouped_gemm, {16, 8, 16, 32}, forward).size, 2);
}

TEST(KernelCall, OfACollectiveIsNone) {
  EXPECT_THROW(kernel_call(MeasuredOp::all_to_all, {1, 2, 2}, forward), Error);
}

// --- modules of a small model ---

TEST(Kernels, OfAttentionFuseQueriesKeysAndValues) {
  const auto calls = attention_kernels(small_model(), 0, forward, 2, 3);
  EXPECT_THAT(shapes(calls, MeasuredOp::gemm),
              ElementsAre(Shape{6, 16, 8},   // 4 * 2 + 2 * (2 + 2) wide
                          Shape{6, 8, 8},    // output
                          Shape{6, 4, 8}));  // router
  EXPECT_THAT(shapes(calls, MeasuredOp::attention), ElementsAre(Shape{2, 3, 4, 2, 2}));
}

TEST(Kernels, OfBackwardAreTheGradientsOfInputAndOfWeights) {
  const auto calls = attention_kernels(small_model(), 0, backward, 2, 3);
  EXPECT_THAT(shapes(calls, MeasuredOp::gemm),
              ElementsAre(Shape{6, 8, 16}, Shape{8, 16, 6},  // queries, keys and values
                          Shape{6, 8, 8}, Shape{8, 8, 6},    // output
                          Shape{6, 8, 4}, Shape{8, 4, 6}));  // router
  for (const KernelCall& call : of_op(calls, MeasuredOp::gemm)) {
    EXPECT_EQ(call.direction, forward) << "the shape says it all";
  }
  EXPECT_EQ(of_op(calls, MeasuredOp::attention)[0].direction, backward);
}

TEST(Kernels, OfNormsAndResidualsMoveTheirActivations) {
  const auto calls = attention_kernels(small_model(), 1, forward, 2, 3);
  constexpr double activation = 6 * 8 * 2;  // bytes
  EXPECT_EQ(bytes_of(calls, "rms_norm"), 2 * 2 * activation);
  EXPECT_EQ(bytes_of(calls, "add"), 2 * 3 * activation);
  EXPECT_EQ(bytes_of(calls, "rope"), 6 * 2 * (4 + 2) * 2 * 2);
  EXPECT_EQ(bytes_of(calls, "permute"), 2 * (1 + 2) * activation);
  EXPECT_EQ(bytes_of(calls, "embedding"), 0);
}

TEST(Kernels, OfTheFirstLayerReadTheEmbedding) {
  EXPECT_EQ(bytes_of(attention_kernels(small_model(), 0, forward, 2, 3), "embedding"),
            2 * 6 * 8 * 2);
}

TEST(Kernels, OfBackwardNormsMoveTheGradientToo) {
  const auto there = attention_kernels(small_model(), 1, forward, 2, 3);
  const auto back = attention_kernels(small_model(), 1, backward, 2, 3);
  for (const char* kernel : {"rms_norm", "add", "rope", "permute"}) {
    EXPECT_EQ(bytes_of(back, kernel), 2 * bytes_of(there, kernel)) << kernel;
  }
}

TEST(Kernels, OfExpertsAreTwoProductsPerExpert) {
  const auto calls = expert_kernels(small_model(), forward, 12, 3);
  EXPECT_THAT(shapes(calls, MeasuredOp::gemm), ElementsAre(Shape{4, 32, 8}, Shape{4, 8, 16}));
  for (const KernelCall& call : of_op(calls, MeasuredOp::gemm)) EXPECT_EQ(call.count, 3);
  EXPECT_EQ(bytes_of(calls, "silu_mul"), 3 * 12 * 16 * 2);
}

TEST(Kernels, OfExpertsAsOneHaveTheShapeOfTheLayer) {
  const KernelCall call = grouped_expert_kernel(small_model(), forward, 12, 3);
  EXPECT_EQ(call.shape, (Shape{12, 3, 8, 16}));
  EXPECT_TRUE(call.as_measured);
  EXPECT_EQ(call.flops.value, expert_flops(small_model(), 12).value);
}

TEST(Kernels, OfUngatedExpertsAsOneAreNotAsMeasured) {
  MoeModel model = small_model();
  model.gated = false;
  const KernelCall call = grouped_expert_kernel(model, backward, 12, 3);
  EXPECT_FALSE(call.as_measured);
  EXPECT_EQ(call.flops.value, 2 * expert_flops(model, 12).value);
}

TEST(Kernels, OfTheHeadAreItsProductAndTheLoss) {
  const auto calls = head_kernels(small_model(), forward, 6);
  EXPECT_THAT(shapes(calls, MeasuredOp::gemm), ElementsAre(Shape{6, 100, 8}));
  EXPECT_EQ(bytes_of(calls, "cross_entropy"), 6 * 100 * (2 * 2 + 2 * 4));
}

TEST(Kernels, OfAStepMoveThirtyBytesPerParameter) {
  EXPECT_EQ(bytes_of(step_kernels(1000), "adamw"), 30000);
}

TEST(Kernels, OfNothingAreNone) {
  const MoeModel model = small_model();
  EXPECT_THAT(attention_kernels(model, 0, forward, 0, 3), IsEmpty());
  EXPECT_THAT(expert_kernels(model, forward, 0, 3), IsEmpty());
  EXPECT_THAT(expert_kernels(model, forward, 3, 0), IsEmpty());
  EXPECT_THAT(head_kernels(model, forward, 0), IsEmpty());
  EXPECT_THAT(step_kernels(0), IsEmpty());
}

TEST(Kernels, OfASlidingWindowAreNotAsMeasuredWhereItCuts) {
  MoeModel model = small_model();
  model.layers[0].attention.window = 4;
  const auto core = [&](double length) {
    return of_op(attention_kernels(model, 0, forward, 1, length), MeasuredOp::attention)[0];
  };
  EXPECT_TRUE(core(4).as_measured);
  EXPECT_FALSE(core(5).as_measured);
  EXPECT_EQ(core(5).flops.value, 4.0 * (1 + 2 + 3 + 4 + 4) * 4 * 2);
  EXPECT_EQ(core(5).shape, (Shape{1, 5, 4, 2, 2}));
}

// --- every model that is shipped ---

class KernelsOf : public ::testing::TestWithParam<std::string> {
 protected:
  MoeModel model_ =
      read_model(read_json(config_dir() / "models" / (GetParam() + ".json")), GetParam());
};

void expect_flops(double got, Flops forward_flops, Direction direction) {
  const double expected = forward_flops.value * (direction == forward ? 1 : 2);
  EXPECT_NEAR(got, expected, 1e-9 * expected);
}

TEST_P(KernelsOf, AddUpToTheProductsOfEveryLayer) {
  for (const Direction direction : {forward, backward}) {
    for (std::uint32_t layer = 0; layer < model_.layers.size(); ++layer) {
      const ForwardFlops flops = attention_flops(model_, layer, 2, 8192);
      const auto calls = attention_kernels(model_, layer, direction, 2, 8192);
      expect_flops(flops_of(calls, MeasuredOp::gemm),
                   flops.projections + flops.router + flops.dense, direction);
      const double core = flops.core.value * (direction == forward ? 1 : 2.5);
      EXPECT_NEAR(flops_of(calls, MeasuredOp::attention), core, 1e-9 * core);
    }
  }
}

TEST_P(KernelsOf, AddUpToTheProductsOfExpertsAndHead) {
  for (const Direction direction : {forward, backward}) {
    expect_flops(flops_of(expert_kernels(model_, direction, 1000, 4), MeasuredOp::gemm),
                 expert_flops(model_, 1000), direction);
    expect_flops(grouped_expert_kernel(model_, direction, 1000, 4).flops.value,
                 expert_flops(model_, 1000), direction);
    expect_flops(flops_of(head_kernels(model_, direction, 777), MeasuredOp::gemm),
                 head_flops(model_, 777), direction);
  }
}

TEST_P(KernelsOf, AddUpToTheProjectionsOfTheirMatrices) {
  for (std::uint32_t layer = 0; layer < model_.layers.size(); ++layer) {
    double products = 0;
    for (const Matrix& matrix : attention_matrices(model_, layer)) {
      products += 2 * 8192 * matrix.in * matrix.out;
    }
    EXPECT_NEAR(products, attention_flops(model_, layer, 1, 8192).projections.value,
                1e-9 * products);
  }
}

TEST_P(KernelsOf, HaveFiniteWorkAndSizesAboveZero) {
  std::vector<KernelCall> calls = step_kernels(1e6);
  const auto add = [&](const std::vector<KernelCall>& more) {
    calls.insert(calls.end(), more.begin(), more.end());
  };
  for (const Direction direction : {Direction::forward, Direction::backward}) {
    for (std::uint32_t layer = 0; layer < model_.layers.size(); ++layer) {
      add(attention_kernels(model_, layer, direction, 2, 4096));
    }
    add(head_kernels(model_, direction, 8192));
    add(expert_kernels(model_, direction, 1000.5, 3));
    add({grouped_expert_kernel(model_, direction, 1000.5, 3)});
  }
  for (const KernelCall& call : calls) {
    const auto& axes = axes_of(call.op);
    for (std::size_t a = 0; a < axes.size(); ++a) EXPECT_GT(call.shape.at(a), 0) << axes[a];
    EXPECT_GT(call.count, 0);
    EXPECT_GT(call.bytes.value, 0);
    EXPECT_GE(call.flops.value, 0);
    EXPECT_LT(call.flops.value, 1e21);
  }
}

std::vector<std::string> shipped_models() {
  std::vector<std::string> out;
  for (const auto& entry : std::filesystem::directory_iterator(config_dir() / "models")) {
    if (entry.path().extension() == ".json") out.push_back(entry.path().stem());
  }
  std::sort(out.begin(), out.end());
  return out;
}

std::string test_name(const ::testing::TestParamInfo<std::string>& info) {
  std::string out = info.param;
  std::replace_if(
      out.begin(), out.end(),
      [](char c) { return std::isalnum(static_cast<unsigned char>(c)) == 0; }, '_');
  return out;
}

INSTANTIATE_TEST_SUITE_P(Shipped, KernelsOf, ::testing::ValuesIn(shipped_models()), test_name);

TEST(Kernels, OfLatentAttentionAreItsMatricesOneAfterTheOther) {
  const MoeModel model =
      read_model(read_json(config_dir() / "models" / "deepseek-v3.json"), "deepseek-v3");
  const auto calls = attention_kernels(model, 3, forward, 1, 4096);
  std::vector<Shape> got = shapes(calls, MeasuredOp::gemm);
  got.resize(5);
  EXPECT_THAT(got, ElementsAre(Shape{4096, 1536, 7168},              // queries down
                               Shape{4096, 128 * 192, 1536},         // and up
                               Shape{4096, 512 + 64, 7168},          // latent and shared keys
                               Shape{4096, 128 * (128 + 128), 512},  // keys and values
                               Shape{4096, 7168, 128 * 128}));       // output
}

}  // namespace
}  // namespace zebroid
