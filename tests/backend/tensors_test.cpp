#include "backend/host/tensors.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/error.hpp"
#include "models/config_dir.hpp"
#include "tests/support/small_models.hpp"

namespace zebroid {
namespace {

using testing::make_model;

std::vector<std::string> names(const std::vector<Tensor>& tensors) {
  std::vector<std::string> out;
  for (const Tensor& tensor : tensors) out.push_back(tensor.name);
  return out;
}

const Tensor& named(const std::vector<Tensor>& tensors, const std::string& name) {
  return *std::find_if(tensors.begin(), tensors.end(),
                       [&name](const Tensor& tensor) { return tensor.name == name; });
}

void expect_no_gaps(const std::vector<Tensor>& tensors, std::size_t size) {
  std::size_t end = 0;
  for (const Tensor& tensor : tensors) {
    EXPECT_EQ(tensor.offset, end) << tensor.name;
    end += tensor.size();
  }
  EXPECT_EQ(end, size);
}

TEST(Tensors, HoldAsManyParametersAsTheModelCounts) {
  for (const char* name : {"mixtral-d1", "mixtral-d2", "mixtral-d3", "mixtral-w1", "mixtral-w2",
                           "mixtral-8x7b", "mixtral-8x22b"}) {
    const MoeModel model = read_model(
        read_json((config_dir() / "models" / (std::string(name) + ".json")).string()), name);
    for (std::uint32_t layer = 0; layer < model.layers.size(); ++layer) {
      const LayerParameters counted = layer_parameters(model, layer);
      double expected = counted.without_experts();
      if (layer == 0) expected += embedding_parameters(model);
      if (layer + 1 == model.layers.size()) expected += head_parameters(model);
      const SharedTensors tensors = shared_tensors(model, layer);
      EXPECT_EQ(static_cast<double>(tensors.size()), expected) << name << " layer " << layer;
      expect_no_gaps(tensors.all(), tensors.size());
      EXPECT_EQ(static_cast<double>(expert_tensors(model).size()), counted.expert) << name;
    }
  }
}

TEST(Tensors, StandInTheOrderOfTheFlatArray) {
  const MoeModel model =
      make_model({.layers = {{.dense_ffn = 5, .has_experts = false}, {}, {.shared_ffn = 3}}});
  EXPECT_THAT(names(shared_tensors(model, 0).all()),
              ::testing::ElementsAre("embedding", "attention_norm", "query", "key", "value",
                                     "output", "ffn_norm", "gate", "up", "down"));
  EXPECT_THAT(names(shared_tensors(model, 1).all()),
              ::testing::ElementsAre("attention_norm", "query", "key", "value", "output",
                                     "ffn_norm", "router"));
  EXPECT_THAT(
      names(shared_tensors(model, 2).all()),
      ::testing::ElementsAre("attention_norm", "query", "key", "value", "output", "ffn_norm",
                             "router", "gate", "up", "down", "final_norm", "head"));
  EXPECT_THAT(names(expert_tensors(model).all()), ::testing::ElementsAre("gate", "up", "down"));
}

TEST(Tensors, StartAtScalesThatKeepActivationsSteady) {
  const MoeModel model = make_model({.hidden = 16,
                                     .heads = 3,
                                     .kv_heads = 3,
                                     .head_dim = 12,
                                     .expert_ffn = 64,
                                     .layers = {{.shared_ffn = 9}, {.shared_ffn = 9}}});
  const std::vector<Tensor> first = shared_tensors(model, 0).all();
  EXPECT_EQ(named(first, "embedding").scale, 0.02);
  EXPECT_EQ(named(first, "query").scale, 0.25);
  EXPECT_EQ(named(first, "router").scale, 0.25);
  EXPECT_EQ(named(first, "output").scale, 1.0 / 6 / 2);
  EXPECT_EQ(named(first, "down").scale, 1.0 / 3 / 2);
  EXPECT_TRUE(named(first, "ffn_norm").is_norm);
  EXPECT_EQ(named(shared_tensors(model, 1).all(), "head").scale, 0.02);
  EXPECT_EQ(expert_tensors(model).down.scale, 1.0 / 8 / 2);
}

TEST(Tensors, LargestLeavesOutTheEmbedding) {
  EXPECT_EQ(largest_tensor(make_model({.vocabulary = 1, .expert_ffn = 9})), 8 * 9);
  EXPECT_EQ(largest_tensor(make_model({.vocabulary = 50})), 8 * 50);  // the head
  EXPECT_EQ(largest_tensor(make_model({.vocabulary = 1, .layers = {{.shared_ffn = 20}}})), 8 * 20);
  MoeModel without_head = make_model({.vocabulary = 50});
  EXPECT_EQ(shared_tensors(without_head, 0).embedding->size(), 8 * 50);
}

TEST(Tensors, ThatALayerDoesNotHaveAreNoTensors) {
  EXPECT_THROW(held(shared_tensors(make_model({}), 0).gate), Error);
}

std::vector<Tensor> one_matrix(std::size_t rows, std::size_t columns, double scale) {
  return {{.name = "m", .rows = rows, .columns = columns, .scale = scale}};
}

template <class Real = double>
std::vector<Real> initialised(const std::vector<Tensor>& tensors, std::uint64_t seed,
                              std::uint64_t where) {
  std::vector<Real> out(tensors.back().offset + tensors.back().size(),
                        std::numeric_limits<Real>::quiet_NaN());
  initialise(tensors, seed, where, out.data());
  return out;
}

double mean_power(const std::vector<double>& values, int power) {
  double sum = 0;
  for (const double value : values) sum += std::pow(value, power);
  return sum / static_cast<double>(values.size());
}

double correlation(const std::vector<double>& a, const std::vector<double>& b, std::size_t lag) {
  double sum = 0;
  for (std::size_t i = 0; i + lag < a.size(); ++i) sum += a[i + lag] * b[i];
  return sum / static_cast<double>(a.size());
}

TEST(Initialise, HasTheMomentsOfANormalDistribution) {
  // A million numbers: the standard error of the mean power 2p is below sqrt(mean power 4p) / 1000.
  const std::vector<double> values = initialised(one_matrix(1000, 1000, 1), 5, 9);
  EXPECT_NEAR(mean_power(values, 1), 0, 0.005);
  EXPECT_NEAR(mean_power(values, 2), 1, 0.007);
  EXPECT_NEAR(mean_power(values, 3), 0, 0.02);
  EXPECT_NEAR(mean_power(values, 4), 3, 0.05);
  EXPECT_NEAR(mean_power(values, 6), 15, 0.6);
  EXPECT_LT(*std::max_element(values.begin(), values.end()), 7);
  for (const std::size_t lag : {1, 2, 3, 1000}) {
    EXPECT_NEAR(correlation(values, values, lag), 0, 0.005) << lag;
  }
}

TEST(Initialise, ScalesTheSameNumbers) {
  const std::vector<double> unit = initialised(one_matrix(9, 7, 1), 5, 9);
  std::vector<double> scaled = initialised(one_matrix(9, 7, 0.5), 5, 9);
  for (double& value : scaled) value *= 2;
  EXPECT_EQ(scaled, unit);
}

TEST(Initialise, DiffersBySeedPlaceAndTensor) {
  const auto matrix = one_matrix(300, 300, 1);
  const std::vector<double> base = initialised(matrix, 1, 1);
  auto two = one_matrix(300, 300, 1);
  two.push_back(two[0]);
  two[1].offset = two[0].size();
  const std::vector<double> both = initialised(two, 1, 1);
  const std::vector<double> second(both.begin() + 90'000, both.end());
  for (const auto& other : {initialised(matrix, 2, 1), initialised(matrix, 1, 2),
                            initialised(matrix, 1, 0), initialised(matrix, 0, 1), second}) {
    EXPECT_NE(other, base);
    EXPECT_NEAR(correlation(base, other, 0), 0, 0.017);
    EXPECT_NEAR(correlation(base, other, 1), 0, 0.017);
  }
}

TEST(Initialise, OfATensorDependsOnNeitherItsOffsetNorItsSize) {
  auto tensors = one_matrix(3, 5, 1);
  const std::vector<double> base = initialised(tensors, 1, 1);
  tensors[0].offset = 4;
  tensors[0].rows = 6;
  const std::vector<double> moved = initialised(tensors, 1, 1);
  EXPECT_TRUE(std::equal(base.begin(), base.end(), moved.begin() + 4));
  EXPECT_FALSE(std::isnan(moved.back()));
}

TEST(Initialise, OfFloatsRoundsTheDoubles) {
  const MoeModel model = make_model({.layers = {{.shared_ffn = 3}}});
  const std::vector<Tensor> tensors = shared_tensors(model, 0).all();
  const std::vector<double> exact = initialised(tensors, 3, 0);
  const std::vector<float> floats = initialised<float>(tensors, 3, 0);
  EXPECT_EQ(floats, std::vector<float>(exact.begin(), exact.end()));
}

TEST(Initialise, StartsNormsAtOne) {
  const MoeModel model = make_model({});
  const SharedTensors tensors = shared_tensors(model, 0);
  const std::vector<double> values = initialised(tensors.all(), 3, 0);
  for (std::size_t i = 0; i < tensors.ffn_norm.size(); ++i) {
    EXPECT_EQ(values[tensors.ffn_norm.offset + i], 1);
  }
  EXPECT_NE(values[tensors.query.offset], 1);
}

}  // namespace
}  // namespace zebroid
