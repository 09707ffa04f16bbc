#include "report/landscape_svg.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "core/error.hpp"
#include "report/color_scale.hpp"
#include "report/landscape.hpp"
#include "tests/report/xml_fault.hpp"

namespace zebroid {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

Json result(const std::string& strategy, double tokens_per_s) {
  return {{"strategy", strategy},
          {"iteration_s", 0.5},
          {"tokens_per_s", tokens_per_s},
          {"feasible", true}};
}

Json over_memory(const std::string& strategy, double tokens_per_s) {
  Json out = result(strategy, tokens_per_s);
  out["feasible"] = false;
  out["reason"] = "rank 0 lacks 3 bytes";
  return out;
}

Json refused(const std::string& strategy) {
  return {{"strategy", strategy}, {"feasible", false}, {"reason", "needs two kinds"}};
}

Json line(const Json& point, const std::vector<Json>& results) {
  return {{"schema", "zebroid.sweep-point/1"}, {"point", point}, {"results", results}};
}

/// 2 x 2 points: zebra has no schedule, does not fit, is twice as fast, and half as fast as ep.
std::vector<Json> four_fates() {
  return {
      line({{"cluster.A40", 1}, {"routing.seed", 5}}, {refused("zebra"), result("ep", 1000)}),
      line({{"cluster.A40", 1}, {"routing.seed", 6}},
           {over_memory("zebra", 7000), result("ep", 1000)}),
      line({{"cluster.A40", 2}, {"routing.seed", 5}}, {result("zebra", 4000), result("ep", 2000)}),
      line({{"cluster.A40", 2}, {"routing.seed", 6}}, {result("zebra", 1500), result("ep", 3000)})};
}

std::vector<Json> along(const std::string& path, const std::vector<Json>& values) {
  std::vector<Json> out;
  for (const Json& value : values) {
    out.push_back(line({{path, value}}, {result("zebra", 4000), result("ep", 2000)}));
  }
  return out;
}

std::size_t count(const std::string& text, const std::string& part) {
  std::size_t n = 0;
  for (auto at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++n;
  return n;
}

/// The attribute before the tooltip that begins so.
std::string fill_of(const std::string& svg, const std::string& tooltip) {
  const auto end = svg.find("\"><title>" + tooltip);
  if (end == std::string::npos) return "no such cell";
  const auto begin = svg.rfind('"', end - 1) + 1;
  return svg.substr(begin, end - begin);
}

std::string fault_of(const std::vector<Json>& points) {
  try {
    landscape_svg(points);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::input);
    return error.what();
  }
  return "none";
}

TEST(LandscapeSvg, DrawsALineOfEachStrategyOverOneAxisOfNumbers) {
  const std::string svg = landscape_svg(along("cluster.A40", {1, 2, 3}));
  EXPECT_EQ(count(svg, "<circle"), 6);
  EXPECT_THAT(svg, HasSubstr(">Throughput over A40 GPUs</text>"));
  EXPECT_THAT(svg, HasSubstr(">tokens/s</text>"));
  EXPECT_THAT(svg, HasSubstr("zebra is 2.000 times as fast as ep"));
}

TEST(LandscapeSvg, SpacesPowersEvenlyAndCountsInProportion) {
  const auto middle = [](const std::vector<Json>& values) {
    const std::string svg = landscape_svg(along("routing.seed", values));
    std::vector<double> at;
    for (auto c = svg.find("<circle cx=\""); c != std::string::npos && at.size() < 3;
         c = svg.find("<circle cx=\"", c + 1)) {
      at.push_back(std::stod(svg.substr(c + 12)));
    }
    return (at[1] - at[0]) / (at[2] - at[0]);
  };
  EXPECT_NEAR(middle({1024, 4096, 16384}), 0.5, 0.001);
  EXPECT_NEAR(middle({1, 5, 9}), 0.5, 0.001);
  EXPECT_NEAR(middle({0, 1, 4}), 0.25, 0.001);
}

TEST(LandscapeSvg, DrawsBarsOverNames) {
  const std::string svg = landscape_svg(along("routing.spec", {"uniform", "zipf:1"}));
  EXPECT_EQ(count(svg, "<circle"), 0);
  EXPECT_EQ(fill_of(svg, "zebra at routing.spec uniform"), "#0072b2");
  EXPECT_THAT(svg, HasSubstr(">zipf:1</text>"));
}

TEST(LandscapeSvg, DrawsASinglePointAsBarsAndNamesItsFixedFields) {
  const std::string svg =
      landscape_svg(std::vector{line({{"cluster.A40", 6}, {"training.sequence_length", 4096}},
                                     {result("zebra", 4000), refused("ep")})},
                    "mixtral on o1");
  EXPECT_THAT(svg, HasSubstr("mixtral on o1 · sequence length 4,096 tokens · 1 point<"));
  EXPECT_THAT(svg, HasSubstr(">4k</text>"));
  EXPECT_THAT(svg, HasSubstr(">no schedule</text>"));
  EXPECT_EQ(xml_fault(svg), "");
}

TEST(LandscapeSvg, DrawsOverTwoAxesAMapPerStrategyAndOneOfTheirRatio) {
  const std::string svg = landscape_svg(four_fates());
  EXPECT_EQ(count(svg, "\"><title>"), 12);
  EXPECT_THAT(svg, HasSubstr(">zebra</tspan> · runs at 2 of 4"));
  EXPECT_THAT(svg, HasSubstr(">ep</tspan> · runs at 4 of 4"));
  EXPECT_THAT(svg, HasSubstr(">zebra ÷ ep</tspan> · faster at 1 of 2 where both run"));
}

TEST(LandscapeSvg, LeavesOutTheRatioOfASingleStrategy) {
  std::vector<Json> points = four_fates();
  for (Json& point : points) point["results"].erase(1);
  const std::string svg = landscape_svg(points);
  EXPECT_EQ(count(svg, "\"><title>"), 4);
  EXPECT_THAT(svg, Not(HasSubstr("÷")));
}

TEST(LandscapeSvg, TellsApartWhatDoesNotFitAndWhatHasNoSchedule) {
  const std::string svg = landscape_svg(four_fates());
  EXPECT_EQ(fill_of(svg, "zebra at 1 A40 GPU, routing.seed 6"), "url(#over)");
  EXPECT_EQ(fill_of(svg, "zebra at 1 A40 GPU, routing.seed 5"), "#d8dee4");
  EXPECT_THAT(svg, HasSubstr("7,000 tokens/s, 500.0 ms per iteration, if there were memory"));
  EXPECT_THAT(svg, HasSubstr("rank 0 lacks 3 bytes"));
  EXPECT_THAT(svg, HasSubstr(">does not fit in memory</text>"));
  EXPECT_THAT(svg, HasSubstr(">no schedule</text>"));
}

TEST(LandscapeSvg, ColoursRatiosByWhoIsFasterAndMarksWhereOnlyOneRuns) {
  const std::string svg = landscape_svg(four_fates());
  EXPECT_EQ(fill_of(svg, "2 A40 GPUs, routing.seed 5"), diverging_color(1));
  EXPECT_EQ(fill_of(svg, "2 A40 GPUs, routing.seed 6"), diverging_color(-1));
  EXPECT_EQ(fill_of(svg, "1 A40 GPU, routing.seed 5"), "url(#second)");
  EXPECT_THAT(svg, HasSubstr(">only ep runs</text>"));
  EXPECT_THAT(svg, Not(HasSubstr(">only zebra runs</text>")));
}

TEST(LandscapeSvg, ColoursAllStrategiesOnOneScale) {
  const std::string svg = landscape_svg(four_fates());
  EXPECT_EQ(fill_of(svg, "zebra at 2 A40 GPUs, routing.seed 5"), sequential_color(1));
  EXPECT_EQ(fill_of(svg, "ep at 1 A40 GPU, routing.seed 5"), sequential_color(0));
}

TEST(LandscapeSvg, NamesTheBestCellOfEachMapAndFramesIt) {
  const std::string svg = landscape_svg(four_fates());
  EXPECT_THAT(svg, HasSubstr(">best 4k at 2 A40 GPUs, routing.seed 5</text>"));
  EXPECT_THAT(svg, HasSubstr(">best 3k at 2 A40 GPUs, routing.seed 6</text>"));
  EXPECT_THAT(svg, HasSubstr(">best 2.00× at 2 A40 GPUs, routing.seed 5</text>"));
  EXPECT_EQ(count(svg, "class=\"best\""), 3);
}

TEST(LandscapeSvg, WritesNumbersIntoLargeCellsOnly) {
  EXPECT_THAT(landscape_svg(four_fates()), HasSubstr(">1.5k</text>"));
  std::vector<Json> many;
  for (int i = 0; i < 60; ++i) {
    for (const int j : {1, 2}) many.push_back(line({{"a", i}, {"b", j}}, {result("ep", 1500)}));
  }
  EXPECT_THAT(landscape_svg(many), Not(HasSubstr(">1.5k</text>")));
}

TEST(LandscapeSvg, RepeatsMapsForEachValueOfTheShortestOfThreeAxes) {
  std::vector<Json> points;
  for (const int a : {1, 2, 3}) {
    for (const bool sharded : {false, true}) {
      for (const int length : {1024, 2048, 4096}) {
        points.push_back(line({{"cluster.A40", a},
                               {"training.optimizer_sharding", sharded},
                               {"training.sequence_length", length}},
                              {result("zebra", 100.0 * a), result("ep", 100)}));
      }
    }
  }
  const std::string svg = landscape_svg(points);
  EXPECT_EQ(count(svg, "\"><title>"), 54);
  EXPECT_THAT(svg, HasSubstr(">training.optimizer_sharding false</text>"));
  EXPECT_THAT(svg, HasSubstr(">training.optimizer_sharding true</text>"));
  EXPECT_EQ(count(svg, ">zebra</tspan>"), 2);
  EXPECT_EQ(xml_fault(svg), "");
}

TEST(LandscapeSvg, DrawsASweepInWhichNothingFits) {
  std::vector<Json> points;
  for (const int a : {1, 2}) {
    for (const int b : {1, 2}) {
      points.push_back(line({{"a", a}, {"b", b}}, {over_memory("zebra", 10), refused("ep")}));
    }
  }
  const std::string svg = landscape_svg(points);
  EXPECT_EQ(xml_fault(svg), "");
  EXPECT_THAT(svg, HasSubstr("runs nowhere"));
  EXPECT_THAT(svg, Not(HasSubstr("best ")));
}

TEST(LandscapeSvg, DrawsAChartInWhichNothingHasASchedule) {
  std::vector<Json> points = along("a", {1, 2});
  for (Json& point : points) point["results"] = Json::array({refused("zebra")});
  const std::string svg = landscape_svg(points);
  EXPECT_EQ(xml_fault(svg), "");
  EXPECT_THAT(svg, HasSubstr("no strategy has a schedule at any point"));
}

TEST(LandscapeSvg, LeavesPointsThatTheSweepLacksEmpty) {
  std::vector<Json> points = four_fates();
  points.pop_back();
  const std::string svg = landscape_svg(points);
  EXPECT_EQ(fill_of(svg, "ep at 2 A40 GPUs, routing.seed 6"), "none");
  EXPECT_THAT(svg, HasSubstr(">not in this sweep</text>"));
}

TEST(LandscapeSvg, IsTheSameWhateverTheOrderOfLines) {
  std::vector<Json> points = four_fates();
  const std::string svg = landscape_svg(points);
  std::reverse(points.begin(), points.end());
  EXPECT_EQ(landscape_svg(points), svg);
}

TEST(LandscapeSvg, IsWellFormedAndSafeWhateverTheNames) {
  const std::string hostile = "</text><script>\"&'\x01" + std::string(500, 'x');
  std::vector<Json> points;
  for (const Json& value : {Json(hostile), Json(true), Json(nullptr), Json({1, "<"})}) {
    for (const int b : {1, 2}) {
      Json bad = over_memory(hostile, 5);
      bad["reason"] = hostile;
      bad["pools"] = {{{"gpu", hostile}, {"role", 3}}, 7};
      points.push_back(line({{hostile, value}, {"b", b}}, {bad, result("<ep>", 3)}));
    }
  }
  for (const std::string& svg : {landscape_svg(points, hostile),
                                 landscape_svg(std::vector{points[0], points[2]}, hostile)}) {
    EXPECT_EQ(xml_fault(svg), "");
    EXPECT_THAT(svg, Not(HasSubstr("<script")));
  }
}

TEST(LandscapeSvg, DrawsExtremeNumbers) {
  std::vector<Json> points = along("a", {-1.7e308, 0, 1.7e308});
  points[0]["results"][0]["tokens_per_s"] = 1e18;
  points[0]["results"][1]["tokens_per_s"] = 1e-9;
  EXPECT_THAT(landscape_svg(points), Not(::testing::ContainsRegex("\"-?(nan|inf)")));
  for (Json& point : points) point["point"]["b"] = point["point"]["a"];
  EXPECT_THAT(landscape_svg(points), Not(::testing::ContainsRegex("\"-?(nan|inf)")));
}

TEST(LandscapeSvg, StaysSmallWithManyCells) {
  std::vector<Json> points;
  for (int a = 0; a < 100; ++a) {
    for (int b = 0; b < 100; ++b) {
      points.push_back(line({{"a", a}, {"b", b}}, {result("ep", 1.0 + a * b)}));
    }
  }
  const std::string svg = landscape_svg(points);
  EXPECT_LT(svg.size(), 400'000U);
  EXPECT_EQ(xml_fault(svg), "");
}

TEST(LandscapeSvg, RefusesFourAxesAndListsThem) {
  Json point = {{"a", 0}, {"b", 0}, {"c", 0}, {"d", 0}, {"once", 0}};
  std::vector<Json> points = {line(point, {result("ep", 1)})};
  for (const char* path : {"a", "b", "c", "d"}) {
    point[path] = 1;
    points.push_back(line(point, {result("ep", 1)}));
  }
  EXPECT_EQ(fault_of(points),
            "a picture of a sweep shows 1 to 3 axes with more than one value, this sweep has more: "
            "a (2), b (2), c (2), d (2)");
}

TEST(LandscapeSvg, RefusesWhatIsNoSweep) {
  EXPECT_EQ(fault_of({}), "the sweep has no points");
  EXPECT_THAT(fault_of({Json(3)}), HasSubstr("point 1: no zebroid.sweep-point/1"));
  EXPECT_THAT(fault_of({line(Json::object(), {})}), HasSubstr("varied fields"));
  EXPECT_THAT(fault_of({line({{"a", 1}}, {})}), HasSubstr("no results"));
  EXPECT_THAT(fault_of({line({{"a", 1}}, {Json(1)})}), HasSubstr("without a 'strategy'"));
  EXPECT_THAT(fault_of({line({{"a", 1}}, {result("ep", 0)})}), HasSubstr("tokens_per_s"));
  EXPECT_THAT(fault_of({line({{"a", 1}}, {result("ep", 1e200)})}), HasSubstr("tokens_per_s"));
}

TEST(LandscapeSvg, RefusesLinesOfDifferentSweeps) {
  EXPECT_THAT(fault_of({line({{"a", 1}}, {result("ep", 1)}), line({{"b", 1}}, {result("ep", 1)})}),
              HasSubstr("point 2: varies other fields"));
  EXPECT_THAT(fault_of({line({{"a", 1}}, {result("ep", 1)}), line({{"a", 1}}, {result("ep", 2)})}),
              HasSubstr("point 2: a strategy has a second result"));
}

TEST(LandscapeSvg, RefusesMoreCellsThanOneCanSee) {
  std::vector<Json> points;
  for (int i = 0; i < 400; ++i) points.push_back(line({{"a", i}, {"b", i}}, {result("ep", 1)}));
  EXPECT_THAT(fault_of(points), HasSubstr("at most 100000 cells, this one would have 160000"));
}

TEST(Landscape, SortsNumbersAndKeepsNamesInOrder) {
  const std::vector<Json> numbers = along("n", {10, 2.5, 9});
  EXPECT_THAT(read_landscape(numbers).axes[0].values, ElementsAre(2.5, 9, 10));
  const std::vector<Json> names = along("n", {"b", "a"});
  EXPECT_THAT(read_landscape(names).axes[0].values, ElementsAre("b", "a"));
}

TEST(Landscape, PutsTogetherSweepsOfOneStrategyEach) {
  const std::vector<Json> points = {line({{"a", 1}}, {result("zebra", 6)}),
                                    line({{"a", 1}}, {result("ep", 4)})};
  EXPECT_EQ(speed_up(read_landscape(points), {0}), 1.5);
}

TEST(Landscape, ShortensNumbersToSignificantDigits) {
  EXPECT_EQ(compact_number(226'696), "227k");
  EXPECT_EQ(compact_number(1'234'567), "1.23M");
  EXPECT_EQ(compact_number(999'999), "1M");
  EXPECT_EQ(compact_number(44'100, 2), "44k");
  EXPECT_EQ(compact_number(0.5), "0.5");
  EXPECT_EQ(compact_number(0), "0");
}

TEST(ColorScale, PassesThroughItsStopsAndHalfwayBetween) {
  EXPECT_EQ(sequential_color(0), "#440154");
  EXPECT_EQ(sequential_color(0.5), "#21918c");
  EXPECT_EQ(sequential_color(1.0 / 16), "#461768");  // of #440154 and #472d7b
  EXPECT_EQ(sequential_color(2), "#fde725");
  EXPECT_EQ(diverging_color(0), "#f7f7f7");
  EXPECT_EQ(diverging_color(-1), "#b2182b");
}

TEST(ColorScale, ChoosesInkThatCanBeRead) {
  EXPECT_EQ(ink_on("#440154"), "#ffffff");
  EXPECT_EQ(ink_on("#fde725"), "#24292f");
}

}  // namespace
}  // namespace zebroid
