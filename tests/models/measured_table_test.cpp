#include "models/measured_table.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <cmath>
#include <limits>
#include <map>
#include <set>

namespace zebroid {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

const MeasuredTable::Key gemm_key = {MeasuredOp::gemm, "cublas", "bf16", false};

/// Points of these shapes that take 1, 2, 3, ... us.
MeasuredTable table_of(const std::vector<Shape>& shapes, MeasuredTable::Key key = gemm_key) {
  std::vector<MeasuredPoint> points;
  for (const Shape& shape : shapes) {
    const auto number = static_cast<std::uint32_t>(points.size() + 1);
    points.push_back({shape, static_cast<double>(number), 0, number});
  }
  return {std::move(key), {"a.csv"}, std::move(points)};
}

std::map<Shape, double> weights_of(const MeasuredTable& table, const Estimate& estimate) {
  std::map<Shape, double> out;
  for (std::size_t i = 0; i < estimate.size; ++i) {
    const Estimate::Part& part = estimate.parts.at(i);
    out[table.points()[part.point].shape] += part.weight;
  }
  return out;
}

std::map<Shape, double> weights(const MeasuredTable& table, const Shape& shape) {
  return weights_of(table, table.estimate(shape));
}

TEST(MeasuredTable, OfTheExactShapeIsThatPoint) {
  const MeasuredTable table = table_of({{1024, 64, 64}, {2048, 64, 64}, {4096, 64, 64}});
  EXPECT_EQ(table.estimate({2048, 64, 64}).evidence, Evidence::measured);
  EXPECT_EQ(weights(table, {2048, 64, 64}), (std::map<Shape, double>{{{2048, 64, 64}, 1}}));
}

TEST(MeasuredTable, RoundsFractionalSizesToWholeOnes) {
  const MeasuredTable table = table_of({{1024, 64, 64}, {2048, 64, 64}});
  EXPECT_EQ(table.estimate({2047.5, 64.4, 63.6}).evidence, Evidence::measured);
  EXPECT_EQ(table.estimate({2047.4, 64, 64}).evidence, Evidence::interpolated);
}

TEST(MeasuredTable, TakesLessThanOneRowForOne) {
  EXPECT_EQ(table_of({{1, 64, 64}}).estimate({0.25, 64, 64}).evidence, Evidence::measured);
}

TEST(MeasuredTable, SharesAShapeBetweenTwoPointsOfItsColumnByLogarithm) {
  const MeasuredTable table = table_of({{1024, 64, 64}, {4096, 64, 64}});
  EXPECT_EQ(table.estimate({2048, 64, 64}).evidence, Evidence::interpolated);
  EXPECT_EQ(weights(table, {2048, 64, 64}),
            (std::map<Shape, double>{{{1024, 64, 64}, 0.5}, {{4096, 64, 64}, 0.5}}));
  const auto off_middle = weights(table, {1536, 64, 64});
  EXPECT_NEAR(off_middle.at({4096, 64, 64}), std::log2(1.5) / 2, 1e-12);
  EXPECT_NEAR(off_middle.at({1024, 64, 64}), 1 - std::log2(1.5) / 2, 1e-12);
}

TEST(MeasuredTable, TakesTheClosestBracketOfAColumn) {
  const MeasuredTable table =
      table_of({{512, 64, 64}, {1024, 64, 64}, {2048, 64, 64}, {4096, 64, 64}});
  EXPECT_THAT(weights(table, {1500, 64, 64}), SizeIs(2));
  EXPECT_TRUE(weights(table, {1500, 64, 64}).contains({1024, 64, 64}));
  EXPECT_TRUE(weights(table, {1500, 64, 64}).contains({2048, 64, 64}));
}

TEST(MeasuredTable, TrustsNarrowBracketsMoreThanWideOnes) {
  // Along m two octaves wide, along n one: weights 1/4 and 1.
  const MeasuredTable table =
      table_of({{1024, 2048, 64}, {4096, 2048, 64}, {2048, 1536, 64}, {2048, 3072, 64}});
  const auto got = weights(table, {2048, 2048, 64});
  const double along_n = std::log2(2048.0 / 1536);
  EXPECT_NEAR(got.at({1024, 2048, 64}), 0.2 / 2, 1e-12);
  EXPECT_NEAR(got.at({4096, 2048, 64}), 0.2 / 2, 1e-12);
  EXPECT_NEAR(got.at({2048, 1536, 64}), 0.8 * (1 - along_n), 1e-12);
  EXPECT_NEAR(got.at({2048, 3072, 64}), 0.8 * along_n, 1e-12);
  EXPECT_EQ(table.estimate({2048, 2048, 64}).evidence, Evidence::interpolated);
}

TEST(MeasuredTable, DoesNotBridgeMoreThanTwoOctaves) {
  const MeasuredTable two = table_of({{1024, 64, 64}, {4096, 64, 64}});
  EXPECT_EQ(two.estimate({2048, 64, 64}).evidence, Evidence::interpolated);
  const MeasuredTable four = table_of({{512, 64, 64}, {8192, 64, 64}});
  EXPECT_EQ(four.estimate({2048, 64, 64}).evidence, Evidence::extrapolated);
  EXPECT_THAT(weights(four, {2048, 64, 64}), SizeIs(1));
}

TEST(MeasuredTable, InterpolatesInsideScatteredNeighboursByInverseSquareOfTheirDistance) {
  // Half an octave and more away in both sizes; none shares a column with the shape.
  const MeasuredTable table =
      table_of({{512, 512, 64}, {2048, 2048, 64}, {512, 2048, 64}, {2048, 512, 64}});
  const Estimate middle = table.estimate({1025, 1023, 64});
  EXPECT_EQ(middle.evidence, Evidence::extrapolated) << "an octave in each of two sizes is 1.4";
  const MeasuredTable near =
      table_of({{768, 768, 64}, {1536, 1536, 64}, {768, 1536, 64}, {1536, 768, 64}});
  const Estimate estimate = near.estimate({1000, 1000, 64});
  EXPECT_EQ(estimate.evidence, Evidence::interpolated);
  const double low = std::log2(1000.0 / 768);
  const double high = std::log2(1536 / 1000.0);
  const std::map<Shape, double> inverse = {{{768, 768, 64}, 1 / (2 * low * low)},
                                           {{1536, 1536, 64}, 1 / (2 * high * high)},
                                           {{768, 1536, 64}, 1 / (low * low + high * high)},
                                           {{1536, 768, 64}, 1 / (low * low + high * high)}};
  double sum = 0;
  for (const auto& [shape, weight] : inverse) sum += weight;
  const auto got = weights(near, {1000, 1000, 64});
  ASSERT_THAT(got, SizeIs(4));
  for (const auto& [shape, weight] : inverse) EXPECT_NEAR(got.at(shape), weight / sum, 1e-12);
}

TEST(MeasuredTable, ExtrapolatesFromTheNearestOfScatteredPointsThatAreNotAround) {
  const MeasuredTable table =
      table_of({{768, 768, 64}, {1536, 1536, 64}, {768, 1536, 64}, {1536, 768, 64}});
  EXPECT_EQ(table.estimate({1700, 1000, 64}).evidence, Evidence::extrapolated);
  EXPECT_EQ(weights(table, {1700, 1000, 64}), (std::map<Shape, double>{{{1536, 768, 64}, 1}}));
}

TEST(MeasuredTable, DoesNotInterpolateWithAPointThatIsFarAway) {
  const MeasuredTable table = table_of({{1024, 64, 64}, {1048576, 64, 64}});
  EXPECT_EQ(table.estimate({2048, 64, 64}).evidence, Evidence::extrapolated);
  EXPECT_EQ(weights(table, {2048, 64, 64}), (std::map<Shape, double>{{{1024, 64, 64}, 1}}));
}

TEST(MeasuredTable, ExtrapolatesFromTheNearestPointBeyondTheEdge) {
  const MeasuredTable table = table_of({{1024, 64, 64}, {2048, 64, 64}, {4096, 64, 64}});
  for (const auto& [asked, nearest] : std::map<double, double>{{512, 1024}, {8192, 4096}}) {
    EXPECT_EQ(table.estimate({asked, 64, 64}).evidence, Evidence::extrapolated);
    EXPECT_EQ(weights(table, {asked, 64, 64}), (std::map<Shape, double>{{{nearest, 64, 64}, 1}}));
  }
}

TEST(MeasuredTable, OfOnePointExtrapolatesToEverythingElse) {
  const MeasuredTable table = table_of({{1024, 64, 64}});
  EXPECT_EQ(table.estimate({1025, 64, 64}).evidence, Evidence::extrapolated);
  EXPECT_EQ(table.estimate({1, 1, 1}).evidence, Evidence::extrapolated);
  EXPECT_EQ(table.estimate({1e15, 1e15, 1e15}).evidence, Evidence::extrapolated);
}

TEST(MeasuredTable, OrdersItsPointsByShape) {
  const MeasuredTable table = table_of({{4096, 64, 64}, {1024, 64, 64}, {1024, 32, 64}});
  EXPECT_EQ(table.points()[0].shape, (Shape{1024, 32, 64}));
  EXPECT_EQ(table.points()[2].shape, (Shape{4096, 64, 64}));
  EXPECT_EQ(table.points()[2].time_us, 1);
}

TEST(MeasuredTable, WritesAShapeAsAPersonReadsIt) {
  EXPECT_EQ(text_of(MeasuredOp::gemm, {4096, 14336, 64}), "m=4096 n=14336 k=64");
  EXPECT_EQ(text_of(MeasuredOp::elementwise, {33554432}), "bytes=33554432");
}

// --- JSON ---

struct ReadTable {
  std::optional<MeasuredTable> table;
  std::vector<std::string> faults;
};

ReadTable read(const Json& json) {
  const JsonDocument document{"t.json", "", json};
  Faults faults;
  ReadTable out;
  out.table = MeasuredTable::read(JsonView(document, faults));
  out.faults = faults.all();
  return out;
}

Json json_of(const Json& points) {
  return {{"op", "gemm"},           {"kernel", "cublas"},   {"dtype", "bf16"},
          {"direction", "forward"}, {"sources", {"a.csv"}}, {"points", points}};
}

TEST(MeasuredTableJson, GivesBackAnEqualTable) {
  for (const bool backward : {false, true}) {
    const MeasuredTable table = table_of({{1, 4096, 8, 8, 128}, {2, 4096, 8, 8, 128}},
                                         {MeasuredOp::attention, "flash", "fp16", backward});
    const ReadTable got = read(table.to_json());
    EXPECT_THAT(got.faults, SizeIs(0));
    ASSERT_TRUE(got.table);
    EXPECT_EQ(*got.table, table);
  }
}

TEST(MeasuredTableJson, SurvivesTheTextOfANumber) {
  const MeasuredTable table({MeasuredOp::elementwise, "add", "bf16", false}, {"a", "b"},
                            {{{12345678901}, 1.0 / 3, 1, 7}, {{1}, 0.1 + 0.2, 0, 9}});
  const ReadTable got = read(parse_json(to_text(table.to_json()), "t.json").root);
  ASSERT_TRUE(got.table);
  EXPECT_EQ(*got.table, table);
}

void expect_fault(const Json& json, const std::string& pointer, const std::string& says) {
  const ReadTable got = read(json);
  EXPECT_FALSE(got.table) << json;
  EXPECT_THAT(got.faults, ElementsAre(HasSubstr("t.json: " + pointer + ": " + says))) << json;
}

TEST(MeasuredTableJson, NamesAPointOfTheWrongLength) {
  expect_fault(json_of({{1, 2, 3, 10, 0, 1}, {1, 2, 10, 0, 1}}), "/points/1",
               "expected 3 sizes, time_us, source and line");
  expect_fault(json_of({{1, 2, 3, 4, 10, 0, 1}}), "/points/0", "expected 3 sizes");
  expect_fault(json_of(Json::array({Json::array()})), "/points/0", "expected 3 sizes");
}

TEST(MeasuredTableJson, NamesAShapeThatIsThereTwice) {
  expect_fault(json_of({{1, 2, 3, 10, 0, 1}, {1, 1, 3, 10, 0, 1}, {1, 2, 3, 20, 0, 2}}), "/points",
               "m=1 n=2 k=3 is there twice");
}

TEST(MeasuredTableJson, NamesATableWithoutPoints) {
  expect_fault(json_of(Json::array()), "/points", "expected at least one measured point");
}

TEST(MeasuredTableJson, NamesATableWithoutSources) {
  Json json = json_of({{1, 2, 3, 10, 0, 1}});
  json["sources"] = Json::array();
  expect_fault(json, "/sources", "expected at least one file");
}

TEST(MeasuredTableJson, NamesASourceThatIsNotThere) {
  expect_fault(json_of({{1, 2, 3, 10, 1, 1}}), "/points/0/4", "expected an integer");
  expect_fault(json_of({{1, 2, 3, 10, -1, 1}}), "/points/0/4", "expected an integer");
}

TEST(MeasuredTableJson, NamesTimesThatNoClockShows) {
  for (const Json& time :
       {Json(0), Json(-1), Json(std::numeric_limits<double>::quiet_NaN()),
        Json(std::numeric_limits<double>::infinity()), Json(1e11), Json("10"), Json(nullptr)}) {
    expect_fault(json_of({{1, 2, 3, time, 0, 1}}), "/points/0/3", "expected a number from");
  }
}

TEST(MeasuredTableJson, NamesSizesBelow1) {
  for (const Json& size : {Json(0), Json(0.5), Json(-1), Json(1e14)}) {
    expect_fault(json_of({{1, size, 3, 10, 0, 1}}), "/points/0/1", "expected a number from 1");
  }
}

TEST(MeasuredTableJson, AnswersUnknownNamesWithTheNearest) {
  Json json = json_of({{1, 2, 3, 10, 0, 1}});
  json["op"] = "gem";
  expect_fault(json, "/op", "unknown operation 'gem'; did you mean 'gemm'?");
  json = json_of({{1, 2, 3, 10, 0, 1}});
  json["direction"] = "backwards";
  expect_fault(json, "/direction", "unknown direction 'backwards'; did you mean 'backward'?");
  json = json_of({{1, 2, 3, 10, 0, 1}});
  json["pionts"] = 1;
  expect_fault(json, "/pionts", "unknown key 'pionts'; did you mean 'points'?");
}

// --- properties ---

/// A grid with holes and stray points, of few sizes so that shapes meet columns.
std::vector<Shape> any_shapes() {
  const std::vector<double> sizes = {1, 2, 3, 5, 16, 17, 64, 100, 1000, 1024, 5000};
  std::set<Shape> out;
  const auto count = *rc::gen::inRange(1, 25);
  for (int i = 0; i < count; ++i) {
    Shape shape{};
    for (std::size_t a = 0; a < 3; ++a) shape.at(a) = *rc::gen::elementOf(sizes);
    out.insert(shape);
  }
  return {out.begin(), out.end()};
}

Shape any_shape() {
  Shape out{};
  for (std::size_t a = 0; a < 3; ++a) out.at(a) = *rc::gen::inRange(1, 6000);
  return out;
}

/// Of a column of one of the points, every other time.
Shape any_shape_near(const std::vector<Shape>& shapes) {
  if (*rc::gen::arbitrary<bool>()) return any_shape();
  Shape out = *rc::gen::elementOf(shapes);
  out.at(*rc::gen::inRange<std::size_t>(0, 3)) = *rc::gen::inRange(1, 6000);
  return out;
}

RC_GTEST_PROP(MeasuredTable, WeightsAreSharesOf1, ()) {
  const std::vector<Shape> shapes = any_shapes();
  const MeasuredTable table = table_of(shapes);
  const Estimate estimate = table.estimate(any_shape_near(shapes));
  RC_ASSERT(estimate.size > 0U);
  double sum = 0;
  for (std::size_t i = 0; i < estimate.size; ++i) {
    RC_ASSERT(estimate.parts.at(i).weight >= 0);
    sum += estimate.parts.at(i).weight;
  }
  RC_ASSERT(std::abs(sum - 1) < 1e-9);
}

RC_GTEST_PROP(MeasuredTable, EstimatesEveryPointByItself, ()) {
  const MeasuredTable table = table_of(any_shapes());
  for (std::uint32_t p = 0; p < table.points().size(); ++p) {
    const Estimate estimate = table.estimate(table.points()[p].shape);
    RC_ASSERT(estimate.evidence == Evidence::measured);
    RC_ASSERT(estimate.size == 1U);
    RC_ASSERT(estimate.parts[0].point == p);
    RC_ASSERT(estimate.parts[0].weight == 1.0);
  }
}

RC_GTEST_PROP(MeasuredTableJson, GivesBackAnyTable, ()) {
  const MeasuredTable table = table_of(any_shapes());
  const ReadTable got = read(table.to_json());
  RC_ASSERT(got.faults.empty());
  RC_ASSERT(*got.table == table);
}

}  // namespace
}  // namespace zebroid
