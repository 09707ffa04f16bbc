#include "models/link_rates.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.hpp"
#include "models/calibration.hpp"
#include "models/collective_times.hpp"
#include "models/scenario.hpp"
#include "tests/support/scenarios.hpp"

namespace zebroid {
namespace {

using ::testing::HasSubstr;

const std::vector<LinkRate> two_classes = {
    {Link::pcie, 0, 0.5, Evidence::measured, "p"},
    {Link::nic, 100, 0.8, Evidence::interpolated, "a"},
    {Link::nic, 400, 0.6, Evidence::measured, "b"},
};

LinkEfficiency nic(const std::string& rate) {
  return efficiency_of(two_classes, Link::nic, parse_bandwidth(rate));
}

TEST(LinkRates, ANicTakesTheRowNearestToItsOwnRateInLog) {
  EXPECT_EQ(nic("10Gbps").share, 0.8);
  EXPECT_EQ(nic("199Gbps").share, 0.8);
  EXPECT_EQ(nic("200Gbps").share, 0.8);
  EXPECT_EQ(nic("201Gbps").share, 0.6);
  EXPECT_EQ(nic("800Gbps").share, 0.6);
}

TEST(LinkRates, ANicOfAnotherClassIsExtrapolated) {
  EXPECT_EQ(nic("100Gbps").evidence, Evidence::interpolated);
  EXPECT_EQ(nic("109Gbps").evidence, Evidence::interpolated);
  EXPECT_EQ(nic("111Gbps").evidence, Evidence::extrapolated);
  EXPECT_EQ(nic("400Gbps").evidence, Evidence::measured);
  EXPECT_EQ(nic("800Gbps").evidence, Evidence::extrapolated);
}

TEST(LinkRates, OtherLinksTakeTheirOneRowAndWithoutOneTheStatedRate) {
  EXPECT_EQ(efficiency_of(two_classes, Link::pcie, {64e9}).share, 0.5);
  EXPECT_EQ(efficiency_of(two_classes, Link::pcie, {1e9}).evidence, Evidence::measured);
  EXPECT_EQ(efficiency_of(two_classes, Link::nvlink, {300e9}).share, 1);
  EXPECT_EQ(efficiency_of(two_classes, Link::nvlink, {300e9}).evidence, Evidence::roofline);
  EXPECT_EQ(efficiency_of({}, Link::nic, {1e9}).share, 1);
}

TEST(LinkRates, ALaterRowReplacesThatOfTheSameLinkAndRate) {
  std::vector<LinkRate> rows = two_classes;
  put_link({Link::nic, 100, 0.9, Evidence::measured, "later"}, rows);
  put_link({Link::nvlink, 0, 0.7, Evidence::measured, "new"}, rows);
  ASSERT_EQ(rows.size(), 4U);
  EXPECT_EQ(rows[0].link, Link::nvlink);
  EXPECT_EQ(rows[2].source, "later");
}

std::string fault_of(const std::string& row) {
  const JsonDocument document = parse_json(R"({"links": [)" + row + "]}", "c.json");
  Faults faults;
  std::vector<LinkRate> rows;
  read_links(JsonView(document, faults).at("links"), rows);
  try {
    faults.throw_if_any();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(LinkRates, BadRowsAreNamedWithTheirValue) {
  const std::string rest = R"("evidence": "measured", "source": "s")";
  EXPECT_THAT(fault_of(R"({"link": "nic", "Gbps": 100, "efficiency": 0, )" + rest + "}"),
              HasSubstr("/links/0/efficiency: expected a number from 0.0001 to 1, got 0"));
  EXPECT_THAT(fault_of(R"({"link": "nic", "Gbps": 100, "efficiency": 1.5, )" + rest + "}"),
              HasSubstr("/links/0/efficiency: expected a number from 0.0001 to 1, got 1.5"));
  EXPECT_THAT(fault_of(R"({"link": "nic", "Gbps": 100, "efficiency": "NaN", )" + rest + "}"),
              HasSubstr(R"(/links/0/efficiency: expected a number from 0.0001 to 1, got "NaN")"));
  EXPECT_THAT(fault_of(R"({"link": "nvlnk", "efficiency": 1, )" + rest + "}"),
              HasSubstr("/links/0/link: unknown link 'nvlnk'; did you mean 'nvlink'?"));
  EXPECT_THAT(fault_of(R"({"link": "nic", "efficiency": 1, )" + rest + "}"),
              HasSubstr(R"(/links/0: key "Gbps" is missing)"));
  EXPECT_THAT(fault_of(R"({"link": "pcie", "Gbps": 100, "efficiency": 1, )" + rest + "}"),
              HasSubstr("/links/0/Gbps: only a nic has classes"));
  EXPECT_EQ(fault_of(R"({"link": "pcie", "efficiency": 1, "date": "2026-11", )" + rest + "}"), "");
}

TEST(LinkRates, TheShippedOnesDescribeEveryLinkAndNoneBeyondItsRate) {
  const Calibration shipped = load_calibration({});
  for (const Link link : {Link::nvlink, Link::pcie, Link::nic}) {
    const LinkEfficiency row = efficiency_of(shipped.links, link, parse_bandwidth("100Gbps"));
    EXPECT_LT(row.share, 1);
    EXPECT_NE(row.evidence, Evidence::roofline);
  }
}

CollectiveFit all_to_all_of(std::uint32_t ranks) {
  return {MeasuredOp::all_to_all, ranks, 1, {{0, 10, 1}}, Evidence::measured, "s"};
}

Json read_back(const Scenario& scenario) {
  return to_json(read_scenario({"scenario", "", to_json(scenario)}));
}

TEST(Scenario, KeepsLinksAndCollectivesOfItsKindsAndOfGroupsOfThem) {
  Scenario scenario = testing::make_scenario({.cluster = "2xA40,1xV100-16GB"});
  scenario.calibration.links = two_classes;
  for (const char* name : {"A40", "A40+V100-16GB", "A40+T4", "T4", "A40+"}) {
    scenario.calibration.gpus[name].collectives = {all_to_all_of(3)};
  }
  const Json written = to_json(scenario);
  EXPECT_EQ(read_back(scenario), written);
  const Json& calibration = written["calibration"];
  EXPECT_EQ(calibration["links"].size(), 3U);
  EXPECT_TRUE(calibration["A40"].contains("collectives"));
  EXPECT_TRUE(calibration.contains("A40+V100-16GB"));
  EXPECT_FALSE(calibration.contains("A40+T4"));
  EXPECT_FALSE(calibration.contains("T4"));
  EXPECT_FALSE(calibration.contains("A40+"));
}

TEST(Scenario, LeavesTheLatencyToItsClusterUnlessCollectivesWereMeasured) {
  Scenario scenario = testing::make_scenario({.cluster = "2xA40,1xV100-16GB"});
  scenario.cluster.latency = {25e-6};
  scenario.calibration.gpus["T4"].collectives = {all_to_all_of(3)};
  EXPECT_EQ(network_of(scenario).latency().value, 25e-6);
  scenario.calibration.gpus["A40+V100-16GB"].collectives = {all_to_all_of(3)};
  EXPECT_EQ(network_of(scenario).latency().value, 0);
}

TEST(GroupCalibration, IsFoundByTheKindsOrElseByThoseThatTheyAreLike) {
  Calibration calibration;
  calibration.gpus["A40+T4"].collectives = {all_to_all_of(2)};
  const GpuSpec a40{.name = "A40"};
  const GpuSpec t4{.name = "T4"};
  const GpuSpec next{.name = "Next", .like = "A40"};
  EXPECT_TRUE(group_calibration(calibration, {&t4, &a40, &t4}).of_these);
  EXPECT_NE(group_calibration(calibration, {&t4, &a40, &t4}).calibration, nullptr);
  EXPECT_NE(group_calibration(calibration, {&next, &t4}).calibration, nullptr);
  EXPECT_FALSE(group_calibration(calibration, {&next, &t4}).of_these);
  EXPECT_EQ(group_calibration(calibration, {&a40}).calibration, nullptr);
}

}  // namespace
}  // namespace zebroid
