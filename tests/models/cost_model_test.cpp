#include "models/cost_model.hpp"

#include <gtest/gtest.h>

#include "models/config_dir.hpp"

namespace zebroid {
namespace {

MoeModel mixtral_8x7b() {
  return read_model(read_json(config_dir() / "models" / "mixtral-8x7b.json"), "mixtral-8x7b");
}

class Pins : public ::testing::Test {
 protected:
  /// Forward and backward of one module, without recomputation.
  double attention(const std::string& gpu, double length) const {
    const CostModel costs(model_, find_gpu(gpu), calibration_);
    constexpr std::uint32_t middle_layer = 5;
    return (costs.attention(middle_layer, Direction::forward, 1, length).total() +
            costs.attention(middle_layer, Direction::backward, 1, length).total())
        .value;
  }
  double expert(const std::string& gpu, double rows) const {
    const CostModel costs(model_, find_gpu(gpu), calibration_);
    return (costs.expert(Direction::forward, rows, 1).total() +
            costs.expert(Direction::backward, rows, 1).total())
        .value;
  }

  MoeModel model_ = mixtral_8x7b();
  Calibration calibration_ = load_calibration({});
};

constexpr double length_4k = 4096;
constexpr double length_64k = 65536;
constexpr double one_percent = 0.01;

// HeterMoE Figure 2: one module of Mixtral-8x7B, older GPU over newer.

TEST_F(Pins, ExpertsTakeAQuarterLongerOnV100ThanOnA40AtAnyLength) {
  for (const double rows : {4096.0, 16384.0, 65536.0}) {
    const double ratio = expert("V100-16GB", rows) / expert("A40", rows);
    EXPECT_NEAR(ratio, 1.25, 1.25 * one_percent) << rows;
  }
}

TEST_F(Pins, AttentionTakes3Point7TimesAsLongOnV100AsOnA40At64K) {
  EXPECT_NEAR(attention("V100-16GB", length_64k) / attention("A40", length_64k), 3.7,
              3.7 * one_percent);
}

TEST_F(Pins, AttentionRatioOfV100OverA40GrowsWithLength) {
  double last = 0;
  for (double length = length_4k; length <= length_64k; length *= 2) {
    const double ratio = attention("V100-16GB", length) / attention("A40", length);
    EXPECT_GT(ratio, last) << length;
    last = ratio;
  }
}

TEST_F(Pins, ExpertsTakeSevenTimesAsLongOnT4AsOnL40S) {
  EXPECT_NEAR(expert("T4", length_4k) / expert("L40S", length_4k), 7.0, 7.0 * one_percent);
}

TEST_F(Pins, AttentionTakes9Point9TimesAsLongOnT4AsOnL40SAt4KAnd13Point6TimesAt64K) {
  EXPECT_NEAR(attention("T4", length_4k) / attention("L40S", length_4k), 9.9, 9.9 * one_percent);
  EXPECT_NEAR(attention("T4", length_64k) / attention("L40S", length_64k), 13.6,
              13.6 * one_percent);
}

TEST_F(Pins, AreNotMeasurements) {
  const CostModel costs(model_, find_gpu("V100-16GB"), calibration_);
  const Cost cost = costs.attention(0, Direction::forward, 1, length_4k);
  EXPECT_EQ(cost.by_evidence[static_cast<std::size_t>(Evidence::measured)].value, 0);
  EXPECT_GT(cost.by_evidence[static_cast<std::size_t>(Evidence::extrapolated)].value, 0);
}

TEST(CostModel, AddsUpOverSequences) {
  const MoeModel model = mixtral_8x7b();
  const CostModel costs(model, find_gpu("A40"), load_calibration({}));
  const double one = costs.attention(0, Direction::forward, 8, length_4k).total().value;
  const double two = costs.attention(0, Direction::forward, 16, length_4k).total().value;
  EXPECT_LT(two, 2 * one);  // constants and small-size losses come once
  EXPECT_GT(two, 2 * one * 0.97);
}

TEST(CostModel, ChargesFewRowsPerExpertMoreThanManyRowsOfOne) {
  const MoeModel model = mixtral_8x7b();
  const CostModel costs(model, find_gpu("A40"), load_calibration({}));
  EXPECT_GT(costs.expert(Direction::forward, 1024, 8).total(),
            costs.expert(Direction::forward, 1024, 1).total() * 1.2);
}

TEST(CostModel, TakesNoTimeForNoWork) {
  const MoeModel model = mixtral_8x7b();
  const CostModel costs(model, find_gpu("A40"), load_calibration({}));
  EXPECT_EQ(costs.expert(Direction::forward, 0, 0).total().value, 0);
  EXPECT_EQ(costs.attention(0, Direction::backward, 0, length_4k).total().value, 0);
  EXPECT_EQ(costs.step(0).total().value, 0);
}

TEST(CostModel, RestsOnTheRooflineForAGpuThatNobodyMeasured) {
  const MoeModel model = mixtral_8x7b();
  GpuSpec gpu = find_gpu("A40");
  gpu.name = "X1";
  const CostModel costs(model, gpu, load_calibration({}));
  const Cost cost = costs.expert(Direction::forward, 4096, 1);
  EXPECT_EQ(cost.by_evidence[static_cast<std::size_t>(Evidence::roofline)].value,
            cost.total().value);
}

}  // namespace
}  // namespace zebroid
