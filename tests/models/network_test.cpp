#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "core/error.hpp"
#include "models/cluster.hpp"

namespace zebroid {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

Cluster cluster_of(const std::string& rows, const std::string& network = R"({"nic_Gbps": 100})",
                   const std::string& kinds = "{}") {
  const JsonDocument document =
      parse_json(R"({"schema": "zebroid.cluster/1", "gpus": [)" + rows + R"(], "network": )" +
                     network + R"(, "kinds": )" + kinds + "}",
                 "c.json");
  Faults faults;
  Cluster out = read_cluster(JsonView(document, faults));
  faults.throw_if_any();
  return out;
}

std::vector<std::string> ports_of(const Network& network) {
  std::vector<std::string> out;
  for (const Port& port : network.ports()) out.push_back(port.name);
  return out;
}

std::vector<std::string> path_of(const Network& network, std::uint32_t from, std::uint32_t to) {
  std::vector<std::string> out;
  for (const PortId port : network.path({from}, {to}))
    out.push_back(network.ports()[port.value].name);
  return out;
}

double GBps_of(const Network& network, const std::string& name) {
  for (const Port& port : network.ports()) {
    if (port.name == name) return port.bandwidth.value / 1e9;
  }
  return 0;
}

TEST(Network, OfOneGpuPerNodeHasOnePortEachWayThatIsTheNic) {
  const Network network(load_cluster("1xA40,1xV100-16GB", parse_bandwidth("100Gbps")));
  EXPECT_THAT(ports_of(network),
              ElementsAre("node0 nic out", "node0 nic in", "node1 nic out", "node1 nic in"));
  EXPECT_THAT(path_of(network, 0, 1), ElementsAre("node0 nic out", "node1 nic in"));
  EXPECT_THAT(path_of(network, 1, 0), ElementsAre("node1 nic out", "node0 nic in"));
  EXPECT_DOUBLE_EQ(GBps_of(network, "node0 nic out"), 12.5);
  EXPECT_DOUBLE_EQ(network.latency().value, 15e-6);
}

TEST(Network, OfOneGpuPerNodeIsBoundByPcieWhereTheNicIsFaster) {
  const Network network(load_cluster("1xA40,1xV100-16GB", parse_bandwidth("200Gbps")));
  EXPECT_THAT(path_of(network, 0, 1), ElementsAre("node0 nic out", "gpu1 pcie in"));
  EXPECT_DOUBLE_EQ(GBps_of(network, "node0 nic out"), 25);
  EXPECT_DOUBLE_EQ(GBps_of(network, "gpu1 pcie in"), 16);
}

TEST(Network, OfOneGpuPerNodeIsBoundByAHostBridgeThatIsSlowest) {
  const Network network(cluster_of(R"({"kind": "A40", "count": 2, "host_bridge_GBps": 5})"));
  EXPECT_THAT(path_of(network, 0, 1), ElementsAre("node0 host bridge out", "node1 host bridge in"));
}

TEST(Network, FromAGpuToItselfCrossesNothing) {
  const Network network(load_cluster("1x2xH100,1xA40", std::nullopt));
  EXPECT_THAT(path_of(network, 1, 1), IsEmpty());
}

TEST(Network, OfASingleGpuHasNoPorts) {
  EXPECT_THAT(ports_of(Network(load_cluster("1xH100", std::nullopt))), IsEmpty());
}

TEST(Network, InsideAnNvlinkNodeCrossesBothLinks) {
  const Network network(load_cluster("1x4xA100-80GB", std::nullopt));
  EXPECT_THAT(path_of(network, 0, 3), ElementsAre("gpu0 nvlink out", "gpu3 nvlink in"));
  EXPECT_DOUBLE_EQ(GBps_of(network, "gpu0 nvlink out"), 300);
  EXPECT_EQ(network.ports().size(), 8U);
}

TEST(Network, BetweenNvlinkNodesSharesTheNicAndLeavesOutPcieThatIsWider) {
  const Network network(load_cluster("2x2xA100-80GB", parse_bandwidth("100Gbps")));
  EXPECT_THAT(path_of(network, 0, 2), ElementsAre("node0 nic out", "node1 nic in"));
  EXPECT_THAT(path_of(network, 1, 3), ElementsAre("node0 nic out", "node1 nic in"));
  EXPECT_THAT(path_of(network, 0, 1), ElementsAre("gpu0 nvlink out", "gpu1 nvlink in"));
}

TEST(Network, BetweenNvlinkNodesKeepsPcieThatIsNarrowerThanTheNic) {
  const Network network(load_cluster("2x2xA100-80GB", parse_bandwidth("400Gbps")));
  EXPECT_THAT(path_of(network, 0, 2),
              ElementsAre("gpu0 pcie out", "node0 nic out", "node1 nic in", "gpu2 pcie in"));
}

TEST(Network, InsideAPcieNodeNeverCrossesTheNic) {
  const Network network(load_cluster("2x2xT4", parse_bandwidth("10Gbps")));
  EXPECT_THAT(path_of(network, 0, 1), ElementsAre("gpu0 pcie out", "gpu1 pcie in"));
  EXPECT_THAT(path_of(network, 0, 2),
              ElementsAre("gpu0 pcie out", "node0 nic out", "node1 nic in", "gpu2 pcie in"));
}

TEST(Network, InsideAPcieNodeCrossesAHostBridgeOnce) {
  const Network network(
      cluster_of(R"({"kind": "T4", "count": 4, "gpus_per_node": 4, "host_bridge_GBps": 20})"));
  EXPECT_THAT(path_of(network, 0, 1),
              ElementsAre("gpu0 pcie out", "node0 host bridge out", "gpu1 pcie in"));
}

TEST(Network, OfAPcieNodeLeavesOutGpuPortsThatAHostBridgeBinds) {
  const Network network(
      cluster_of(R"({"kind": "T4", "count": 4, "gpus_per_node": 4, "host_bridge_GBps": 10})"));
  EXPECT_THAT(path_of(network, 0, 1), ElementsAre("node0 host bridge out", "gpu1 pcie in"));
}

TEST(Network, BetweenPcieNodesCrossesTheHostBridgeOfBoth) {
  const std::string rows =
      R"({"kind": "T4", "count": 4, "gpus_per_node": 2, "host_bridge_GBps": 20})";
  const Network slow(cluster_of(rows, R"({"nic_Gbps": 100})"));
  EXPECT_THAT(path_of(slow, 0, 2), ElementsAre("gpu0 pcie out", "node0 host bridge out",
                                               "node0 nic out", "node1 nic in", "gpu2 pcie in"));
  const Network fast(cluster_of(rows, R"({"nic_Gbps": 800})"));
  EXPECT_THAT(path_of(fast, 0, 2), ElementsAre("gpu0 pcie out", "node0 host bridge out",
                                               "node1 host bridge in", "gpu2 pcie in"));
}

TEST(Network, JoinsOnlyPairsByABridge) {
  const Network network(load_cluster("1x4xA40", std::nullopt));
  EXPECT_THAT(path_of(network, 0, 1), ElementsAre("gpu0 nvlink out", "gpu1 nvlink in"));
  EXPECT_THAT(path_of(network, 2, 3), ElementsAre("gpu2 nvlink out", "gpu3 nvlink in"));
  EXPECT_THAT(path_of(network, 1, 2), ElementsAre("gpu1 pcie out", "gpu2 pcie in"));
}

TEST(Network, GivesAnOddGpuWithoutPartnerNoLink) {
  const Network network(load_cluster("1x3xA40", std::nullopt));
  EXPECT_THAT(path_of(network, 2, 0), ElementsAre("gpu2 pcie out", "gpu0 pcie in"));
  EXPECT_DOUBLE_EQ(GBps_of(network, "gpu2 nvlink out"), 0);
}

TEST(Network, OfANodeWithTwoKindsUsesPcieBetweenThem) {
  const Network network(cluster_of(R"({"kind": "V100-SXM2-16GB", "count": 2, "node": "a"},
                                      {"kind": "T4", "count": 1, "node": "a"})"));
  EXPECT_THAT(path_of(network, 0, 1), ElementsAre("gpu0 nvlink out", "gpu1 nvlink in"));
  EXPECT_THAT(path_of(network, 0, 2), ElementsAre("gpu0 pcie out", "gpu2 pcie in"));
  EXPECT_THAT(path_of(network, 2, 1), ElementsAre("gpu2 pcie out", "gpu1 pcie in"));
}

TEST(Network, OfANodeWithASwitchJoinsKindsThatBothHaveNvlink) {
  const Network network(cluster_of(R"({"kind": "H100", "count": 1, "node": "a"},
                                      {"kind": "capped", "count": 1, "node": "a"})",
                                   R"({"nic_Gbps": 100})",
                                   R"({"capped": {"like": "H100", "half_tflops": 400}})"));
  EXPECT_THAT(path_of(network, 0, 1), ElementsAre("gpu0 nvlink out", "gpu1 nvlink in"));
}

TEST(Network, CallsTheNicOfANamedNodeByItsName) {
  const Network network(
      cluster_of(R"({"kind": "T4", "count": 1, "node": "alpha"}, {"kind": "T4", "count": 1})"));
  EXPECT_THAT(path_of(network, 0, 1), ElementsAre("alpha nic out", "node1 nic in"));
}

const std::string two_racks =
    R"({"nic_Gbps": 100, "racks": [{"name": "r", "uplink_Gbps": 150}, {"name": "s", "uplink_Gbps": 50}]})";

TEST(Network, BetweenRacksCrossesUplinkAndDownlink) {
  const Network network(cluster_of(R"({"kind": "A40", "count": 2, "rack": "r"},
                                      {"kind": "A40", "count": 2, "rack": "s"})",
                                   two_racks));
  EXPECT_THAT(path_of(network, 0, 3),
              ElementsAre("node0 nic out", "rack r up", "rack s down", "node3 nic in"));
  EXPECT_THAT(path_of(network, 0, 1), ElementsAre("node0 nic out", "node1 nic in"));
  EXPECT_DOUBLE_EQ(GBps_of(network, "rack r up"), 18.75);
}

TEST(Network, OutsideOfRacksCrossesTheOnlyRackLinkThereIs) {
  const Network network(cluster_of(R"({"kind": "A40", "count": 2, "rack": "r"},
                                      {"kind": "A40", "count": 1})",
                                   two_racks));
  EXPECT_THAT(path_of(network, 0, 2), ElementsAre("node0 nic out", "rack r up", "node2 nic in"));
  EXPECT_THAT(path_of(network, 2, 0), ElementsAre("node2 nic out", "rack r down", "node0 nic in"));
}

TEST(Network, OfARackWithOneNodeKeepsTheNarrowerOfNicAndRackLink) {
  const Network network(cluster_of(R"({"kind": "A40", "count": 1, "rack": "r"},
                                      {"kind": "A40", "count": 1, "rack": "s"})",
                                   two_racks));
  EXPECT_THAT(path_of(network, 0, 1), ElementsAre("node0 nic out", "rack s down"));
}

TEST(Network, OfOneRackHasNoRackLinks) {
  const Network network(cluster_of(R"({"kind": "A40", "count": 2, "rack": "s"})", two_racks));
  EXPECT_THAT(path_of(network, 0, 1), ElementsAre("node0 nic out", "node1 nic in"));
  EXPECT_EQ(network.ports().size(), 4U);
}

TEST(Network, OfAllLevelsHasAPathOfSevenPorts) {
  const Network network(cluster_of(
      R"({"kind": "T4", "count": 4, "gpus_per_node": 2, "host_bridge_GBps": 20, "rack": "r"},
         {"kind": "T4", "count": 4, "gpus_per_node": 2, "host_bridge_GBps": 20, "rack": "s"})",
      two_racks));
  EXPECT_THAT(path_of(network, 0, 7),
              ElementsAre("gpu0 pcie out", "node0 host bridge out", "node0 nic out", "rack r up",
                          "rack s down", "node3 nic in", "gpu7 pcie in"));
}

TEST(Network, OfTheLargestClusterIsMadeWithoutATableOfPairs) {
  const Network network(load_cluster("8192x8xH100", std::nullopt));
  EXPECT_THAT(path_of(network, 0, 65535), ElementsAre("node0 nic out", "node8191 nic in"));
  EXPECT_EQ(network.ports().size(), 2U * (65536 + 8192));
}

TEST(Network, MayBeGivenAsPortsAndPaths) {
  const Network network({{"a", {1e9}}, {"b", {2e9}}}, {{}, {{0}}, {{0}, {1}}, {}}, 2,
                        Seconds{1e-6});
  EXPECT_THAT(path_of(network, 0, 1), ElementsAre("a"));
  EXPECT_THAT(path_of(network, 1, 0), ElementsAre("a", "b"));
  EXPECT_EQ(network.latency(), Seconds{1e-6});
}

TEST(Network, RefusesPathsToPortsThatDoNotExist) {
  EXPECT_THROW(Network({{"a", {1e9}}}, {{{1}}}, 1, Seconds{0}), Error);
  EXPECT_THROW(Network({{"a", {1e9}}}, {}, 1, Seconds{0}), Error);
}

TEST(Network, SharesTheGpusOfANodeOutAmongItsNics) {
  const Network network(cluster_of(
      R"({"kind": "A40", "count": 4, "gpus_per_node": 4, "nic_Gbps": 200, "nics": 2, "node": "a"},
         {"kind": "V100-16GB", "count": 1, "node": "b", "nics": 2})"));
  EXPECT_EQ(path_of(network, 0, 4).at(1), "a nic0 out");
  EXPECT_EQ(path_of(network, 1, 4).at(1), "a nic0 out");
  EXPECT_EQ(path_of(network, 2, 4).at(1), "a nic1 out");
  EXPECT_EQ(path_of(network, 4, 3).at(1), "a nic1 in");
  EXPECT_DOUBLE_EQ(GBps_of(network, "a nic1 in"), 12.5);
  EXPECT_DOUBLE_EQ(GBps_of(network, "b nic out"), 12.5);  // one GPU has both of its NICs
}

TEST(Network, LeadsSeveralNicsThroughTheHostBridgeAndTheRackOfOneNode) {
  const Network network(cluster_of(
      R"({"kind": "V100-16GB", "count": 2, "gpus_per_node": 2, "nic_Gbps": 200, "nics": 2,
          "host_bridge_GBps": 10, "rack": "r"}, {"kind": "A40", "count": 1})",
      R"({"nic_Gbps": 100, "racks": [{"name": "r", "uplink_Gbps": 150}]})"));
  EXPECT_THAT(path_of(network, 1, 2),
              ElementsAre("node0 host bridge out", "node0 nic1 out", "rack r up", "node1 nic in"));
  EXPECT_THAT(path_of(network, 2, 0), ElementsAre("node1 nic out", "rack r down", "node0 nic0 in",
                                                  "node0 host bridge in", "gpu0 pcie in"));
}

TEST(Network, KnowsWhichPortsOfAPathAreTheSenders) {
  const Network network(cluster_of(R"({"kind": "V100-16GB", "count": 4, "gpus_per_node": 2})",
                                   R"({"nic_Gbps": 100})"));
  EXPECT_EQ(network.path({0}, {2}).sender_ports(), network.path({0}, {3}).sender_ports());
  for (const auto& [from, to] : {std::pair{0U, 1U}, {0U, 2U}, {3U, 0U}}) {
    const Path path = network.path({from}, {to});
    const std::vector<std::string> names = path_of(network, from, to);
    for (std::size_t i = 0; i < names.size(); ++i) {
      EXPECT_EQ(names[i].ends_with("out"), i < path.sender_ports()) << names[i];
    }
  }
}

Evidence evidence_of(const Network& network, const std::string& name) {
  for (const Port& port : network.ports()) {
    if (port.name == name) return port.evidence;
  }
  return Evidence::roofline;
}

const std::vector<LinkRate> slow_links = {{Link::nvlink, 0, 0.7, Evidence::measured, "s"},
                                          {Link::pcie, 0, 0.5, Evidence::extrapolated, "s"},
                                          {Link::nic, 100, 0.8, Evidence::interpolated, "s"},
                                          {Link::nic, 200, 0.9, Evidence::measured, "s"}};

TEST(Network, LinksReachTheirShareOfTheStatedRates) {
  const Network network(load_cluster("2x2xA100-80GB", parse_bandwidth("100Gbps")), slow_links,
                        Seconds{1e-6});
  EXPECT_DOUBLE_EQ(GBps_of(network, "gpu0 nvlink out"), 0.7 * 300);
  EXPECT_DOUBLE_EQ(GBps_of(network, "node0 nic out"), 0.8 * 12.5);
  EXPECT_EQ(evidence_of(network, "gpu0 nvlink out"), Evidence::measured);
  EXPECT_EQ(evidence_of(network, "node1 nic in"), Evidence::interpolated);
  EXPECT_EQ(network.latency(), Seconds{1e-6});
}

TEST(Network, TheClassOfANicIsThatOfOneOfItsNode) {
  const Cluster cluster = cluster_of(
      R"({"kind": "A40", "count": 4, "gpus_per_node": 2, "nics": 2})", R"({"nic_Gbps": 400})");
  const Network network(cluster, slow_links, Seconds{0});
  EXPECT_DOUBLE_EQ(GBps_of(network, "node0 nic1 out"), 0.9 * 25);
  EXPECT_EQ(evidence_of(network, "node0 nic1 out"), Evidence::measured);
}

TEST(Network, ThePortOfAGpuAloneInItsNodeIsTheNarrowerLinkAfterItsShare) {
  const Network network(load_cluster("1xA40,1xV100-16GB", parse_bandwidth("100Gbps")), slow_links,
                        Seconds{0});
  EXPECT_DOUBLE_EQ(GBps_of(network, "node0 nic out"), 0.8 * 12.5);
  EXPECT_DOUBLE_EQ(GBps_of(network, "gpu1 pcie out"), 0.5 * 16);
  EXPECT_EQ(evidence_of(network, "gpu1 pcie out"), Evidence::extrapolated);
}

TEST(Network, HostBridgesAndRacksAreAsStated) {
  const Network network(
      cluster_of(R"({"kind": "A40", "count": 8, "gpus_per_node": 4, "host_bridge_GBps": 9,
                     "rack": "r"},
                    {"kind": "A40", "count": 2, "rack": "s"})",
                 R"({"nic_Gbps": 100, "racks": [{"name": "r", "uplink_Gbps": 40},
                                                {"name": "s", "uplink_Gbps": 40}]})"),
      slow_links, Seconds{0});
  EXPECT_DOUBLE_EQ(GBps_of(network, "node0 host bridge out"), 9);
  EXPECT_DOUBLE_EQ(GBps_of(network, "rack r up"), 5);
  EXPECT_EQ(evidence_of(network, "rack r up"), Evidence::roofline);
}

}  // namespace
}  // namespace zebroid
