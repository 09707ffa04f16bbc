#include "traces/topology.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "core/error.hpp"
#include "core/file.hpp"
#include "models/cluster.hpp"

namespace zebroid {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

/// The cluster that a topology becomes.
Cluster cluster_of(const std::string& text, const std::string& gpu = "") {
  const NodeTopology topology = read_topology(text, "dir/lab.txt");
  const JsonDocument file{.name = "written", .text = {}, .root = cluster_file(topology, gpu)};
  Faults faults;
  Cluster out = read_cluster(JsonView(file, faults));
  EXPECT_THAT(faults.all(), IsEmpty());
  return out;
}

/// What is said about a text that cannot be understood.
std::string refusal_of(const std::string& text, const std::string& gpu = "") {
  try {
    cluster_of(text, gpu);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::input);
    return error.what();
  }
  return "none";
}

double GBps(BytesPerSecond rate) { return rate.value / 1e9; }

/// Two bridged pairs of A40, the second NIC far from all GPUs.
const std::string two_pairs =
    "\t\x1b[4mGPU0\tGPU1\tGPU2\tGPU3\tNIC0\tNIC1\tCPU Affinity\tNUMA Affinity\tGPU NUMA ID\x1b[0m\n"
    "GPU0\t X \tSYS\tNV4\tSYS\tPIX\tSYS\t0-15\t0\t\tN/A\n"
    "GPU1\tSYS\t X \tSYS\tNV4\tSYS\tNODE\t16-31\t1\t\tN/A\n"
    "GPU2\tNV4\tSYS\t X \tSYS\tPHB\tSYS\t0-15\t0\t\tN/A\n"
    "GPU3\tSYS\tNV4\tSYS\t X \tSYS\tNODE\t16-31\t1\t\tN/A\n"
    "NIC0\tPIX\tSYS\tPHB\tSYS\t X \tSYS\n"
    "NIC1\tSYS\tNODE\tSYS\tNODE\tSYS\t X \n"
    "\nLegend:\n\n  X    = Self\n  NV#  = Connection traversing a bonded set of # NVLinks\n"
    "\nNIC Legend:\n\n  NIC0: mlx5_0\n  NIC1: mlx5_1\n";

/// A matrix of GPUs that are all connected in the same way.
std::string uniform(int gpus, const std::string& connection) {
  std::string out = "  ";
  for (int i = 0; i < gpus; ++i) out += " GPU" + std::to_string(i);
  out += "\n";
  for (int i = 0; i < gpus; ++i) {
    out += "GPU" + std::to_string(i);
    for (int j = 0; j < gpus; ++j) out += i == j ? " X" : " " + connection;
    out += "\n";
  }
  return out;
}

// --- matrix ---

TEST(TopologyMatrix, HasGpusNicsAndLinks) {
  const NodeTopology node = read_topology_matrix(two_pairs, "x");
  ASSERT_THAT(node.gpus, SizeIs(4));
  EXPECT_THAT(node.gpus[0].peer_links, ElementsAre(0, 0, 4, 0));
  ASSERT_THAT(node.nics, SizeIs(2));
  EXPECT_EQ(node.nics[0].name, "NIC0");
  EXPECT_TRUE(node.nics[0].near_gpu);
  EXPECT_FALSE(node.nics[1].near_gpu);
}

TEST(TopologyMatrix, OfBridgedPairsMakesNeighboursOfThem) {
  const Cluster cluster = cluster_of(two_pairs, "A40");
  ASSERT_THAT(cluster.rows, SizeIs(1));
  EXPECT_EQ(cluster.rows[0].count, 4U);
  EXPECT_EQ(cluster.rows[0].gpus_per_node, 4U);
  EXPECT_EQ(cluster.rows[0].nics, 1U);           // the other is far away
  EXPECT_EQ(cluster.kinds[0], find_gpu("A40"));  // 4 links of 14 GB/s, bridges over 2
  EXPECT_EQ(cluster.name, "lab");
  EXPECT_THAT(cluster.notes, Contains(HasSubstr("those joined by NVLink follow each other")));
  EXPECT_THAT(cluster.notes, Contains(HasSubstr("no bandwidths of PIX")));
  EXPECT_THAT(cluster.notes, Contains(HasSubstr("NICs left out: 1")));
}

TEST(TopologyMatrix, TellsASwitchFromLinksToEachPeer) {
  EXPECT_EQ(cluster_of(uniform(8, "NV12"), "A100-80GB").kinds[0], find_gpu("A100-80GB"));
  EXPECT_EQ(cluster_of(uniform(4, "NV4"), "A100-80GB").kinds[0], find_gpu("A100-80GB"));
  EXPECT_EQ(cluster_of(uniform(16, "NV6"), "V100-SXM2-32GB").kinds[0], find_gpu("V100-SXM2-32GB"));
  EXPECT_EQ(cluster_of(uniform(8, "NV18"), "B200").kinds[0], find_gpu("B200"));
}

TEST(TopologyMatrix, ChangesWhatTheCatalogueSaysOtherwise) {
  const GpuSpec few = cluster_of(uniform(3, "NV2"), "A100-40GB").kinds[0];
  EXPECT_DOUBLE_EQ(GBps(few.link), 100);  // 2 links of 25 GB/s to each of 2
  EXPECT_EQ(few.link_gpus, 0U);
  const GpuSpec none = cluster_of(uniform(2, "PHB"), "A40").kinds[0];
  EXPECT_DOUBLE_EQ(GBps(none.link), 0);
  const GpuSpec linked = cluster_of(uniform(2, "NV1"), "V100-16GB").kinds[0];
  EXPECT_DOUBLE_EQ(GBps(linked.link), 25);
  EXPECT_EQ(cluster_of(uniform(1, ""), "A40").kinds[0], find_gpu("A40"));  // one has no peers
}

TEST(TopologyMatrix, GivesGroupsOfLinkedGpusTheirSize) {
  const std::string fours =
      "     GPU0 GPU1 GPU2 GPU3 GPU4 GPU5\n"
      "GPU0 X    NV6  NV6  SYS  SYS  SYS\n"
      "GPU1 NV6  X    NV6  SYS  SYS  SYS\n"
      "GPU2 NV6  NV6  X    SYS  SYS  SYS\n"
      "GPU3 SYS  SYS  SYS  X    NV6  NV6\n"
      "GPU4 SYS  SYS  SYS  NV6  X    NV6\n"
      "GPU5 SYS  SYS  SYS  NV6  NV6  X\n";
  const Cluster cluster = cluster_of(fours, "H100");
  EXPECT_EQ(cluster.kinds[0].link_gpus, 3U);
  EXPECT_DOUBLE_EQ(GBps(cluster.kinds[0].link), 300);
}

TEST(TopologyMatrix, GivesGpusWithoutTheOthersLinksAKindOfTheirOwn) {
  const std::string pair_and_one =
      "     GPU0 GPU1 GPU2\n"
      "GPU0 X    PHB  NV4\n"
      "GPU1 PHB  X    PHB\n"
      "GPU2 NV4  PHB  X\n";
  const Cluster cluster = cluster_of(pair_and_one, "A40");
  ASSERT_THAT(cluster.rows, SizeIs(2));
  EXPECT_EQ(cluster.rows[0].gpu, "A40");
  EXPECT_EQ(cluster.rows[0].count, 2U);
  EXPECT_EQ(cluster.rows[1].gpu, "A40 without NVLink");
  EXPECT_EQ(cluster.rows[1].node, cluster.rows[0].node);
  EXPECT_THAT(nodes_of(cluster), SizeIs(1));
  const Network network(cluster);
  EXPECT_THAT(network.ports()[network.path(GpuId{0}, GpuId{1})[0].value].name, HasSubstr("nvlink"));
  EXPECT_THAT(network.ports()[network.path(GpuId{0}, GpuId{2})[0].value].name, HasSubstr("pcie"));
}

TEST(TopologyMatrix, TakesAHybridMeshAsJoined) {
  const std::string square =
      "     GPU0 GPU1 GPU2 GPU3 mlx5_0 CPU Affinity\n"
      "GPU0 X    NV2  NV1  SYS  SYS 0-3\n"
      "GPU1 NV2  X    SYS  NV1  SYS 0-3\n"
      "GPU2 NV1  SYS  X    NV2  SYS 0-3\n"
      "GPU3 SYS  NV1  NV2  X    SYS 0-3\n";
  const Cluster cluster = cluster_of(square, "V100-SXM2-16GB");
  EXPECT_DOUBLE_EQ(GBps(cluster.kinds[0].link), 75);
  EXPECT_EQ(cluster.rows[0].nics, 1U);
  EXPECT_THAT(cluster.notes, Contains(HasSubstr("only through others")));
}

TEST(TopologyMatrix, RefusesWhatItCannotRead) {
  const std::string header = "     GPU0 GPU1\nGPU0 X    NV1\n";
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"GPU0 X PHB\n", "lab.txt:1: expected the header of a matrix"},
      {header, "there is no row of GPU1"},
      {header + "GPU1 NV1\n", "lab.txt:3: expected 2 connections of GPU1, got 1"},
      {header + "GPU1 NV1 PHB\n", "lab.txt:3: expected X where GPU1 meets itself"},
      {header + "GPU1 X X\n", "lab.txt:3: expected X where GPU1 meets itself"},
      {header + "GPU1 NVX X\n", "got 'NVX'"},
      {header + "GPU1 NV0 X\n", "got 'NV0'"},
      {header + "GPU1 NV2 X\n", "GPUs 0 and 1 disagree on their NVLinks"},
      {header + "GPU0 X NV1\n", "a second row of GPU0"},
      {"GPU0 GPU0\n", "GPU0 is listed twice"},
  };
  for (const auto& [text, message] : cases) {
    EXPECT_THAT(refusal_of(text, "A40"), HasSubstr(message)) << text;
  }
}

TEST(TopologyMatrix, LeavesOutASecondMatrix) {
  const Cluster cluster = cluster_of(uniform(2, "NV12") + uniform(8, "SYS"), "A100-40GB");
  EXPECT_EQ(cluster.rows[0].count, 2U);
  EXPECT_THAT(cluster.notes, Contains(HasSubstr("lab.txt:4: a second matrix is left out")));
}

TEST(TopologyMatrix, NeedsAKindThatFits) {
  EXPECT_THAT(refusal_of(two_pairs), HasSubstr("does not say what its GPUs are; --gpu"));
  EXPECT_THAT(refusal_of(two_pairs, "A41"), HasSubstr("'A41'; did you mean 'A40'?"));
  EXPECT_THAT(refusal_of(uniform(8, "NV18"), "A100-40GB"),
              HasSubstr("the GPUs have 18 NVLinks, A100-40GB has 12"));
}

// --- XML ---

std::string gpu_xml(const std::string& bus, const std::string& device, const std::string& inside) {
  return "<pci busid=\"" + bus + "\" class=\"0x030200\" vendor=\"0x10de\" device=\"" + device +
         "\" link_speed=\"16.0 GT/s PCIe\" link_width=\"16\">" + inside + "</pci>\n";
}

std::string gpu_with_links(const std::string& bus, const std::string& links) {
  return gpu_xml(bus, "0x20b2",
                 "<gpu dev=\"0\" sm=\"80\" rank=\"0\" gdr=\"1\">" + links + "</gpu>");
}

std::string nic_xml(const std::string& name, const std::string& speed) {
  return "<pci busid=\"" + name + "\" class=\"0x020700\"><nic><net name=\"" + name +
         "\" dev=\"0\" speed=\"" + speed + "\"/></nic></pci>\n";
}

std::string system_xml(const std::string& inside) {
  return "<system version=\"1\">\n<cpu numaid=\"0\">\n" + inside + "</cpu>\n</system>\n";
}

const std::string six_switches =
    "<nvlink target=\"0000:c4:00.0\" count=\"6\" tclass=\"0x068000\"/>"
    "<nvlink target=\"0000:c5:00.0\" count=\"6\" tclass=\"0x068000\"/>";

TEST(TopologyXml, IsReadAsItsCatalogueKindWhereNothingDiffers) {
  const Cluster cluster = cluster_of(
      system_xml(gpu_with_links("0000:07:00.0", six_switches) +
                 gpu_with_links("0000:0a:00.0", six_switches) + nic_xml("mlx5_0", "200000") +
                 nic_xml("mlx5_1", "200000") + nic_xml("eth0", "10000") + nic_xml("usb0", "-1")));
  EXPECT_THAT(cluster.kinds, ElementsAre(find_gpu("A100-80GB")));
  EXPECT_EQ(cluster.rows[0].nics, 2U);
  EXPECT_DOUBLE_EQ(cluster.rows[0].nic->value, 50e9);
  EXPECT_EQ(cluster.rows[0].host_bridge, std::nullopt);
  EXPECT_THAT(cluster.notes, ElementsAre(HasSubstr("NICs left out: 2, slower")));
}

TEST(TopologyXml, LinksGpusByTheirBusIds) {
  const auto link = [](const std::string& target, const std::string& count) {
    return "<nvlink target=\"" + target + "\" count=\"" + count + "\" tclass=\"0x030200\"/>";
  };
  const std::string text = system_xml(gpu_with_links("0000:07:00.0", link("0000:0A:00.0", "4")) +
                                      gpu_with_links("0000:0a:00.0", link("0000:07:00.0", "4")) +
                                      gpu_with_links("0000:0b:00.0", link("0000:ff:00.0", "4")));
  const NodeTopology node = read_topology_xml(text, "x");
  EXPECT_THAT(node.gpus[0].peer_links, ElementsAre(0, 4, 0));
  EXPECT_THAT(node.notes, ElementsAre(HasSubstr("neither a switch nor a GPU")));
  EXPECT_DOUBLE_EQ(GBps(cluster_of(text).kinds[0].link), 100);
  EXPECT_THAT(refusal_of(system_xml(gpu_with_links("a", link("b", "x")))),
              HasSubstr("lab.txt:3: expected a count of NVLinks"));
}

TEST(TopologyXml, MakesAHostBridgeOfTheSwitchAboveAllGpus) {
  const std::string behind_switch =
      "<pci busid=\"s\" class=\"0x060400\" link_speed=\"8 GT/s\" link_width=\"8\">\n" +
      gpu_xml("a", "0x1eb8", "") + gpu_xml("b", "0x1eb8", "") +
      "<pci busid=\"n\" class=\"0x020000\"/></pci>" + "<pci busid=\"far\" class=\"0x020000\"/>";
  const Cluster cluster = cluster_of(system_xml(behind_switch));
  EXPECT_EQ(cluster.rows[0].gpu, "T4");
  EXPECT_NEAR(GBps(*cluster.rows[0].host_bridge), 8 * 8 / 8.0 * 128 / 130, 1e-9);
  EXPECT_EQ(cluster.rows[0].nics, 1U);
}

TEST(TopologyXml, TakesPcieOnlyWhereItIsSlowerThanTheGpu) {
  const std::string slow =
      "<pci busid=\"a\" class=\"0x030200\" device=\"0x2235\" link_speed=\"8 GT/s\" "
      "link_width=\"8\"/>";
  const Cluster cluster = cluster_of(system_xml(slow));
  EXPECT_EQ(cluster.rows[0].gpu, "A40");
  EXPECT_NEAR(GBps(cluster.kinds[0].pcie), 7.877, 1e-3);
  const std::string fast =
      "<pci busid=\"a\" class=\"0x030200\" device=\"0x1eb8\" link_speed=\"32 GT/s\" "
      "link_width=\"16\"/>";
  EXPECT_DOUBLE_EQ(GBps(cluster_of(system_xml(fast)).kinds[0].pcie), 16);
  const std::string unknown =
      "<pci busid=\"a\" class=\"0x030200\" device=\"0x1eb8\" link_speed=\"Unknown\" "
      "link_width=\"0\"/>";
  EXPECT_DOUBLE_EQ(GBps(cluster_of(system_xml(unknown)).kinds[0].pcie), 16);
}

TEST(TopologyXml, PutsUnequalGpusIntoOneNode) {
  const Cluster cluster =
      cluster_of(system_xml(gpu_xml("a", "0x2235", "") + gpu_xml("b", "0x1db4", "") +
                            gpu_xml("c", "0x2235", "") + gpu_xml("d", "0x9999", "")),
                 "T4");
  ASSERT_THAT(cluster.rows, SizeIs(3));
  EXPECT_EQ(cluster.rows[0].gpu, "A40");
  EXPECT_EQ(cluster.rows[0].count, 2U);
  EXPECT_EQ(cluster.rows[1].gpu, "V100-16GB");
  EXPECT_EQ(cluster.rows[2].gpu, "T4");
  EXPECT_THAT(nodes_of(cluster), SizeIs(1));
  EXPECT_THAT(cluster.notes, Contains(HasSubstr("PCI device '0x9999' of vendor '0x10de'")));
}

TEST(TopologyXml, CountsANicOfNoDeviceOnce) {
  const std::string eth = "<nic><net name=\"eth0\" dev=\"0\" speed=\"10000\"/></nic>";
  const Cluster cluster = cluster_of("<system><cpu>" + gpu_xml("a", "0x1eb8", "") + eth +
                                     "</cpu><cpu>" + eth + "</cpu></system>");
  EXPECT_EQ(cluster.rows[0].nics, 1U);
  EXPECT_DOUBLE_EQ(cluster.rows[0].nic->value, 1.25e9);
}

TEST(TopologyXml, RefusesWhatItCannotRead) {
  std::string deep;
  for (int i = 0; i < 100; ++i) deep += "<pci>";
  std::string many;
  for (int i = 0; i < 70'000; ++i) many += "<a/>";
  const std::string t4 = gpu_xml("a", "0x1eb8", "");
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"<system>\n<cpu>", "lab.txt:2: not XML"},
      {"\n<graphs/>", "lab.txt:2: expected <system>, as NCCL writes it, got <graphs>"},
      {system_xml(""), "lab.txt:1: expected a GPU"},
      {system_xml("<pci busid=\"a\"/>"), "no device has a class"},
      {system_xml(t4 + t4), "lab.txt:4: a second GPU at a"},
      {"<system/><system/>", "a second <system>"},
      {"<system><cpu host_hash=\"1\">" + t4 + "</cpu><cpu host_hash=\"2\"/></system>", "2 hosts"},
      {"<system>" + deep, "not XML"},
      {"<system>" + many + "</system>", "at most 65536 elements"},
  };
  for (const auto& [text, message] : cases) {
    EXPECT_THAT(refusal_of(text), HasSubstr(message)) << text.substr(0, 200);
  }
  std::string closed;
  for (int i = 0; i < 100; ++i) closed += "</pci>";
  EXPECT_THAT(refusal_of(system_xml(deep + closed)), HasSubstr("nested deeper than 64 levels"));
}

TEST(TopologyXml, RefusesAKindOfAnotherCapability) {
  const std::string unnamed = "<pci class=\"0x030200\"><gpu sm=\"80\"/></pci>";
  EXPECT_THAT(refusal_of(system_xml(unnamed), "T4"),
              HasSubstr("the GPUs have compute capability 8.0, T4 has 7.5"));
  EXPECT_EQ(cluster_of(system_xml(unnamed), "a100-40gb").rows[0].gpu, "A100-40GB");
  EXPECT_THAT(cluster_of(system_xml(gpu_xml("a", "0x1eb8", "")), "A40").notes,
              Contains(HasSubstr("the file names its GPUs: not taken for A40")));
}

TEST(TopologyXml, NamesOnlyGpusOfTheCatalogue) {
  for (const std::string device :
       {"0x20b0", "0x20b2", "0x20b5", "0x2235", "0x1db1", "0x1db5", "0x1db4", "0x1db6", "0x1eb8",
        "0x2237", "0x27b8", "0x26b9", "0x2330", "0x2331", "0x2335"}) {
    EXPECT_THAT(cluster_of(system_xml(gpu_xml("a", device, ""))).rows, SizeIs(1)) << device;
  }
}

TEST(Topology, IsToldFromOtherFiles) {
  EXPECT_TRUE(is_topology(two_pairs));
  EXPECT_TRUE(is_topology("$ nvidia-smi topo -m\n" + two_pairs));
  EXPECT_TRUE(is_topology("\n<system/>"));
  EXPECT_FALSE(is_topology(""));
  EXPECT_FALSE(is_topology(" {\"schema\": \"GPU0\"}"));
  EXPECT_FALSE(is_topology("GPU0 X\n"));
}

// --- real files ---

class TopologyOfRealFile : public ::testing::Test {
 protected:
  static bool exists(const std::string& file) { return std::filesystem::exists(path(file)); }
  static std::string text(const std::string& file) {
    return read_file(path(file), most_topology_bytes);
  }

 private:
  static std::filesystem::path path(const std::string& file) {
    return std::filesystem::path(ZEBROID_SHARED_DATA_DIR) / "topo" / file;
  }
};

TEST_F(TopologyOfRealFile, FourA100WithFourNics) {
  const std::string file = "topo_a100_4gpu_4nic.txt";
  if (!exists(file)) GTEST_SKIP() << "needs topo/" << file << " in ZEBROID_SHARED_DATA_DIR";
  const Cluster cluster = cluster_of(text(file), "A100-40GB");
  EXPECT_THAT(cluster.kinds, ElementsAre(find_gpu("A100-40GB")));
  EXPECT_EQ(cluster.rows[0].count, 4U);
  EXPECT_EQ(cluster.rows[0].nics, 4U);
}

TEST_F(TopologyOfRealFile, EightA100BehindFourSwitches) {
  const std::string file = "p4d-24xl-topo.xml";
  if (!exists(file)) GTEST_SKIP() << "needs topo/" << file << " in ZEBROID_SHARED_DATA_DIR";
  const Cluster cluster = cluster_of(text(file));
  EXPECT_EQ(cluster.rows[0].gpu, "A100-40GB");
  EXPECT_EQ(cluster.rows[0].count, 8U);
  EXPECT_EQ(cluster.rows[0].nics, 4U);
  EXPECT_EQ(cluster.rows[0].host_bridge, std::nullopt);
  EXPECT_DOUBLE_EQ(GBps(cluster.kinds[0].link), 300);  // of the catalogue
  EXPECT_NEAR(GBps(cluster.kinds[0].pcie), 15.75, 0.01);
}

TEST_F(TopologyOfRealFile, EightUnnamedGpusOfTwoSockets) {
  const std::string file = "ndv2-topo.xml";
  if (!exists(file)) GTEST_SKIP() << "needs topo/" << file << " in ZEBROID_SHARED_DATA_DIR";
  const Cluster cluster = cluster_of(text(file), "V100-SXM2-32GB");
  EXPECT_THAT(cluster.kinds, ElementsAre(find_gpu("V100-SXM2-32GB")));
  EXPECT_EQ(cluster.rows[0].count, 8U);
  EXPECT_EQ(cluster.rows[0].nics, 1U);
  EXPECT_THAT(refusal_of(text(file)), HasSubstr("--gpu"));
}

TEST_F(TopologyOfRealFile, NineDevicesThatNothingTellsApart) {
  const std::string file = "g5.48xl-topo.xml";
  if (!exists(file)) GTEST_SKIP() << "needs topo/" << file << " in ZEBROID_SHARED_DATA_DIR";
  EXPECT_THAT(refusal_of(text(file), "A10G"), HasSubstr("no device has a class"));
}

}  // namespace
}  // namespace zebroid
