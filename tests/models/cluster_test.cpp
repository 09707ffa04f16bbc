#include "models/cluster.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "core/error.hpp"

namespace zebroid {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

Cluster load(const std::string& text) { return load_cluster(text, std::nullopt); }

std::string error_of_loading(const std::string& text) {
  try {
    load(text);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::input);
    return error.what();
  }
  return "no error";
}

std::string error_of_bandwidth(const std::string& text) {
  try {
    parse_bandwidth(text);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::input);
    return error.what();
  }
  return "no error";
}

struct Reading {
  Cluster cluster;
  std::vector<std::string> faults;
};

Reading read(const std::string& text) {
  const JsonDocument document = parse_json(text, "c.json");
  Faults faults;
  Cluster cluster = read_cluster(JsonView(document, faults));
  return {std::move(cluster), faults.all()};
}

/// A cluster file with these rows and what else its top level holds.
std::string file(const std::string& rows, const std::string& more = "") {
  return R"({"schema": "zebroid.cluster/1", "gpus": [)" + rows + "]" + more + "}";
}

std::vector<std::uint32_t> gpus_in_each_node(const Cluster& cluster) {
  std::vector<std::uint32_t> out(nodes_of(cluster).size(), 0);
  for (const Gpu& gpu : gpus_of(cluster)) ++out[gpu.node];
  return out;
}

/// A file that is gone when the test ends.
class TemporaryFile {
 public:
  TemporaryFile(const std::string& name, const std::string& content)
      : path_(std::filesystem::path(::testing::TempDir()) / name) {
    std::ofstream(path_, std::ios::binary) << content;
  }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  ~TemporaryFile() { std::filesystem::remove(path_); }
  std::string path() const { return path_.string(); }

 private:
  std::filesystem::path path_;
};

// ---- built-in clusters ----

struct Pools {
  const char* name;
  const char* newer;
  std::uint32_t newer_count;
  const char* older;
  std::uint32_t older_count;
  double nic_Gbps;
};

class PaperSetup : public ::testing::TestWithParam<Pools> {};

TEST_P(PaperSetup, IsThePapersWithAGpuPerNode) {
  const Pools& pools = GetParam();
  const Cluster cluster = load(pools.name);
  EXPECT_EQ(cluster.name, pools.name);
  ASSERT_EQ(cluster.rows.size(), 2U);
  EXPECT_EQ(cluster.rows[0].gpu, pools.newer);
  EXPECT_EQ(cluster.rows[0].count, pools.newer_count);
  EXPECT_EQ(cluster.rows[1].gpu, pools.older);
  EXPECT_EQ(cluster.rows[1].count, pools.older_count);
  EXPECT_EQ(nodes_of(cluster).size(), pools.newer_count + pools.older_count);
  EXPECT_DOUBLE_EQ(cluster.nic.value, pools.nic_Gbps * 1e9 / 8);
}

INSTANTIATE_TEST_SUITE_P(All, PaperSetup,
                         ::testing::Values(Pools{"o1", "A40", 6, "V100-16GB", 6, 100},
                                           Pools{"o2", "A40", 4, "V100-16GB", 8, 100},
                                           Pools{"o3", "A40", 6, "V100-16GB", 3, 100},
                                           Pools{"c1", "L40S", 2, "T4", 6, 200},
                                           Pools{"c2", "L40S", 2, "T4", 8, 200}),
                         [](const auto& instance) { return instance.param.name; });

// ---- shorthand ----

TEST(ClusterShorthand, PutsEveryGpuInItsOwnNode) {
  const Cluster cluster = load("6xA40,6xV100-16GB");
  EXPECT_EQ(cluster.name, "6xA40,6xV100-16GB");
  ASSERT_EQ(cluster.kinds.size(), 2U);
  EXPECT_EQ(cluster.kinds[0], find_gpu("A40"));
  EXPECT_EQ(cluster.kinds[1], find_gpu("V100-16GB"));
  const std::vector<Gpu> gpus = gpus_of(cluster);
  ASSERT_EQ(gpus.size(), 12U);
  EXPECT_EQ(gpus[5].kind, 0U);
  EXPECT_EQ(gpus[6].kind, 1U);
  EXPECT_EQ(gpus[6].node, 6U);
}

TEST(ClusterShorthand, PutsSeveralGpusInANode) {
  const Cluster cluster = load("2x8xA100-80GB");
  EXPECT_EQ(cluster.name, "2x8xA100-80GB");
  EXPECT_THAT(gpus_in_each_node(cluster), ElementsAre(8, 8));
  EXPECT_EQ(cluster.kinds[0].name, "A100-80GB");
}

TEST(ClusterShorthand, KeepsTwoRowsOfOneKindApart) {
  const Cluster cluster = load("1x4xA40, 2xA40");
  EXPECT_EQ(cluster.kinds.size(), 1U);
  EXPECT_EQ(cluster.rows.size(), 2U);
  EXPECT_THAT(gpus_in_each_node(cluster), ElementsAre(4, 1, 1));
}

TEST(ClusterShorthand, TakesAnyCaseAndAnswersWithTheProperName) {
  EXPECT_EQ(load(" 2X8Xa100-80gb , 3xt4 ").name, "2x8xA100-80GB,3xT4");
}

TEST(ClusterShorthand, AllowsNoGpuOfOneKind) {
  const Cluster cluster = load("0xA40,3xV100-16GB");
  EXPECT_EQ(gpus_of(cluster).size(), 3U);
  EXPECT_EQ(cluster.kinds.size(), 2U);
  EXPECT_EQ(gpus_of(cluster)[0].kind, 1U);
}

TEST(ClusterShorthand, RefusesAClusterWithoutGpus) {
  EXPECT_EQ(error_of_loading("0xA40,0xT4"),
            "0xA40,0xT4: /gpus: expected at least one GPU in the cluster");
}

TEST(ClusterShorthand, AssumesANetworkAndSaysSo) {
  const Cluster cluster = load("2xA40");
  EXPECT_DOUBLE_EQ(cluster.nic.value, 12.5e9);
  EXPECT_DOUBLE_EQ(cluster.latency.value, 15e-6);
  EXPECT_THAT(cluster.notes, ElementsAre("no network given: 100 Gbps per node assumed"));
}

TEST(ClusterShorthand, AssumesNothingAboutANetworkThatIsGiven) {
  const Cluster cluster = load_cluster("2xA40", parse_bandwidth("200Gbps"));
  EXPECT_DOUBLE_EQ(cluster.nic.value, 25e9);
  EXPECT_THAT(cluster.notes, IsEmpty());
}

TEST(ClusterShorthand, OffersTheNearestGpu) {
  EXPECT_EQ(error_of_loading("6xA41"),
            "6xA41: /gpus/0/kind: unknown GPU 'A41'; did you mean 'A40'?");
}

TEST(ClusterShorthand, NamesEveryFault) {
  const std::string error = error_of_loading("6xA41,2x0xT4");
  EXPECT_THAT(error, HasSubstr("'A41'"));
  EXPECT_THAT(error, HasSubstr("/gpus/1/gpus_per_node: expected an integer >= 1, got 0"));
}

TEST(ClusterShorthand, RefusesMoreGpusThanTheLimitWithOneClearError) {
  EXPECT_EQ(error_of_loading("1000000xA40"),
            "1000000xA40: /gpus: expected at most 65536 GPUs in the cluster, got 1000000");
  EXPECT_EQ(error_of_loading("1000x1000xA40"),
            "1000x1000xA40: /gpus: expected at most 65536 GPUs in the cluster, got 1000000");
  EXPECT_THAT(error_of_loading("40000xA40,40000xT4"), HasSubstr("at most 65536 GPUs"));
  EXPECT_THAT(error_of_loading("99999999999999999999999xA40"), HasSubstr("at most 65536 GPUs"));
  EXPECT_EQ(gpus_of(load("65536xA40")).size(), 65536U);
}

TEST(ClusterShorthand, RefusesWhatIsNoCount) {
  for (const char* text :
       {"-3xA40", "1.5xA40", "6xA40,,2xT4", "6xA40,", "6A40,2xT4", "3x", "2x8x"}) {
    EXPECT_THAT(error_of_loading(text), HasSubstr("expected COUNTxGPU or NODESxPERxGPU")) << text;
  }
}

// ---- names ----

TEST(ClusterName, OffersTheNearestBuiltInCluster) {
  EXPECT_THAT(error_of_loading("o4"), HasSubstr("unknown cluster 'o4'; did you mean 'o1'?"));
}

TEST(ClusterName, OffersACountWhereAGpuIsNamedAlone) {
  EXPECT_EQ(error_of_loading("A40"), "unknown cluster 'A40'; did you mean GPUs, as in 4xA40?");
  EXPECT_EQ(error_of_loading("V100"),
            "unknown cluster 'V100'; did you mean GPUs, as in 4xV100-16GB?");
}

TEST(ClusterName, ListsWhatThereIsForAnythingElse) {
  const std::string error = error_of_loading("everything we have");
  EXPECT_THAT(error, HasSubstr("known: c1, c2, o1, o2, o3"));
  EXPECT_THAT(error, HasSubstr("6xA40,6xV100-16GB"));
  EXPECT_THAT(error_of_loading(""), HasSubstr("unknown cluster ''"));
}

// ---- files ----

TEST(ClusterFile, IsReadByItsPathAndNamedAfterIt) {
  const TemporaryFile temporary("lab.json", file(R"({"kind": "A40", "count": 2})"));
  EXPECT_EQ(load(temporary.path()).name, "lab");
}

TEST(ClusterFile, GetsTheGivenNetworkInAllItsNodes) {
  const TemporaryFile temporary(
      "nics.json",
      file(R"({"kind": "A40", "count": 2, "nic_Gbps": 25}, {"kind": "T4", "count": 1})"));
  const Cluster cluster = load_cluster(temporary.path(), parse_bandwidth("400 Gbit/s"));
  for (const Node& node : nodes_of(cluster)) EXPECT_DOUBLE_EQ(node.nic.value, 50e9);
  EXPECT_THAT(cluster.notes, IsEmpty());
}

TEST(ClusterFile, IsRefusedWhenAbsent) {
  EXPECT_THAT(error_of_loading("no/such.json"), HasSubstr("no/such.json: cannot read"));
}

TEST(ClusterFile, IsRefusedWhenItIsAFolder) {
  EXPECT_THAT(error_of_loading(::testing::TempDir()), HasSubstr("Is a directory"));
}

TEST(ClusterFile, IsRefusedWhenItIsBinary) {
  const TemporaryFile temporary("binary.json", std::string("\x7f"
                                                           "ELF\0\1\2",
                                                           7));
  EXPECT_THAT(error_of_loading(temporary.path()), HasSubstr("got a binary file"));
}

TEST(ClusterFile, IsRefusedWhenItIsNoCluster) {
  const TemporaryFile temporary("model.json", R"({"hidden_size": 4096})");
  const std::string error = error_of_loading(temporary.path());
  EXPECT_THAT(error, HasSubstr("unknown key 'hidden_size'"));
  EXPECT_THAT(error, HasSubstr("key \"schema\" is missing"));
  EXPECT_THAT(error, HasSubstr("key \"gpus\" is missing"));
}

TEST(ClusterFile, MayHaveNodesOfSeveralKinds) {
  const Reading reading = read(file(R"(
      {"kind": "A40", "count": 2, "node": "a", "nic_Gbps": 200},
      {"kind": "T4", "count": 1},
      {"kind": "V100-16GB", "count": 4, "node": "a", "host_bridge_GBps": 20})"));
  ASSERT_THAT(reading.faults, IsEmpty());
  EXPECT_THAT(gpus_in_each_node(reading.cluster), ElementsAre(6, 1));
  const Node node = nodes_of(reading.cluster)[0];
  EXPECT_EQ(node.name, "a");
  EXPECT_DOUBLE_EQ(node.nic.value, 25e9);
  EXPECT_DOUBLE_EQ(node.host_bridge.value_or(BytesPerSecond{0}).value, 20e9);
  EXPECT_EQ(gpus_of(reading.cluster)[3].node, 0U);
}

TEST(ClusterFile, LeavesTheLastNodeOfARowWithTheRest) {
  const Reading reading = read(file(R"({"kind": "A40", "count": 5, "gpus_per_node": 2})"));
  EXPECT_THAT(gpus_in_each_node(reading.cluster), ElementsAre(2, 2, 1));
}

TEST(ClusterFile, MayDescribeAGpuThatDoesNotExist) {
  const Reading reading =
      read(file(R"({"kind": "MyGPU", "count": 2}, {"kind": "T4", "count": 1})",
                R"(, "kinds": {"MyGPU": {"like": "A100-80GB", "half_tflops": 500}})"));
  ASSERT_THAT(reading.faults, IsEmpty());
  EXPECT_EQ(reading.cluster.kinds[0].name, "MyGPU");
  EXPECT_DOUBLE_EQ(reading.cluster.kinds[0].half_peak.value, 500e12);
  EXPECT_EQ(reading.cluster.kinds[1], find_gpu("T4"));
}

TEST(ClusterFile, MayChangeAGpuOfTheCatalogue) {
  const Reading reading =
      read(file(R"({"kind": "A40", "count": 2})", R"(, "kinds": {"A40": {"link_GBps": 0}})"));
  ASSERT_THAT(reading.faults, IsEmpty());
  ASSERT_EQ(reading.cluster.kinds.size(), 1U);
  EXPECT_EQ(reading.cluster.kinds[0].link.value, 0);
}

TEST(ClusterFile, SaysThatANetworkIsAssumedOnlyWhereANodeNeedsIt) {
  EXPECT_THAT(read(file(R"({"kind": "A40", "count": 2})")).cluster.notes,
              ElementsAre(assumed_network_note()));
  EXPECT_THAT(read(file(R"({"kind": "A40", "count": 2, "nic_Gbps": 10})")).cluster.notes,
              IsEmpty());
  EXPECT_THAT(read(file(R"({"kind": "A40", "count": 2})", R"(, "network": {"nic_Gbps": 10})"))
                  .cluster.notes,
              IsEmpty());
}

// ---- round trip ----

class ClusterRoundTrip : public ::testing::TestWithParam<const char*> {};

TEST_P(ClusterRoundTrip, GivesBackAnEqualCluster) {
  const Cluster cluster = load(GetParam());
  const Reading reading = read(to_json(cluster).dump());
  EXPECT_THAT(reading.faults, IsEmpty());
  EXPECT_EQ(reading.cluster, cluster);
}

INSTANTIATE_TEST_SUITE_P(All, ClusterRoundTrip,
                         ::testing::Values("o1", "o2", "o3", "c1", "c2", "6xA40,6xV100-16GB",
                                           "2x8xA100-80GB,0xT4", "1xB200"));

TEST(ClusterRoundTrip, KeepsNodesRacksAndOddRatesToTheBit) {
  const Reading first = read(file(
      R"({"kind": "A40", "count": 2, "node": "a", "nic_Gbps": 33.3, "host_bridge_GBps": 0.1, "rack": "r"},
         {"kind": "My", "count": 5, "gpus_per_node": 4, "rack": "s"})",
      R"(, "name": "odd", "network": {"nic_Gbps": 1.1, "latency_us": 3.3,
          "racks": [{"name": "r", "uplink_Gbps": 7.7}, {"name": "s", "uplink_Gbps": 123.456789}]},
         "kinds": {"My": {"like": "T4", "half_tflops": 65.13, "memory_GBps": 0.3, "watts": null}},
         "notes": ["a note"])"));
  ASSERT_THAT(first.faults, IsEmpty());
  const Reading second = read(to_json(first.cluster).dump());
  EXPECT_THAT(second.faults, IsEmpty());
  EXPECT_EQ(second.cluster, first.cluster);
}

TEST(ClusterRoundTrip, KeepsABandwidthThatWasParsed) {
  for (const char* text : {"3.3GB/s", "100Gbps", "12.5GB/s", "0.7Tbps", "33kbps", "999MB/s"}) {
    const Cluster cluster = load_cluster("2xA40", parse_bandwidth(text));
    EXPECT_EQ(read(to_json(cluster).dump()).cluster, cluster) << text;
  }
}

// ---- what is refused ----

std::string only_fault(const std::string& text) {
  const Reading reading = read(text);
  EXPECT_EQ(reading.faults.size(), 1U) << ::testing::PrintToString(reading.faults);
  return reading.faults.empty() ? "no fault" : reading.faults.front();
}

TEST(ClusterFaults, NameLineAndPlaceOfABadCount) {
  EXPECT_EQ(only_fault("{\"schema\": \"zebroid.cluster/1\",\n\"gpus\": [\n"
                       "{\"kind\": \"A40\", \"count\": 1},\n{\"kind\": \"T4\", \"count\": -1}]}"),
            "c.json:4: /gpus/1/count: expected an integer >= 0, got -1");
}

TEST(ClusterFaults, NameACountThatIsNoInteger) {
  for (const char* count : {"1.5", "\"6\"", "true", "1e3", "-0.5", "[]", "18446744073709551616"}) {
    EXPECT_THAT(only_fault(file(R"({"kind": "A40", "count": )" + std::string(count) + "}")),
                HasSubstr("/gpus/0/count: expected an integer"))
        << count;
  }
}

TEST(ClusterFaults, NameACountThatIsNotANumberInJson) {
  try {
    read(file(R"({"kind": "A40", "count": NaN})"));
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("c.json:1: not valid JSON"));
  }
}

TEST(ClusterFaults, NameTheLimitOfGpus) {
  EXPECT_EQ(only_fault(file(R"({"kind": "A40", "count": 1000000})")),
            "c.json:1: /gpus: expected at most 65536 GPUs in the cluster, got 1000000");
  EXPECT_THAT(only_fault(file(R"({"kind": "A40", "count": 9223372036854775807})")),
              HasSubstr("expected"));
}

TEST(ClusterFaults, NameAMissingOrUnknownKind) {
  EXPECT_THAT(only_fault(file(R"({"count": 1})")), HasSubstr("key \"kind\" is missing"));
  EXPECT_EQ(only_fault(file(R"({"kind": "A41", "count": 1})")),
            "c.json:1: /gpus/0/kind: unknown GPU 'A41'; did you mean 'A40'?");
  EXPECT_EQ(only_fault(file(R"({"kind": "MyGPV", "count": 1})",
                            R"(, "kinds": {"MyGPU": {"like": "A40"}})")),
            "c.json:1: /gpus/0/kind: unknown GPU 'MyGPV'; did you mean 'MyGPU'?");
}

TEST(ClusterFaults, NameAnUnknownKeyWithTheNearest) {
  EXPECT_THAT(only_fault(file(R"({"kind": "A40", "count": 1, "nic_gbps": 5})")),
              HasSubstr("did you mean 'nic_Gbps'?"));
}

TEST(ClusterFaults, NameARateThatIsNotPositiveAndFinite) {
  for (const char* rate : {"0", "-1", "1e300", "\"100\"", "1e-300"}) {
    EXPECT_THAT(
        only_fault(file(R"({"kind": "A40", "count": 1, "nic_Gbps": )" + std::string(rate) + "}")),
        HasSubstr("/gpus/0/nic_Gbps: expected a number from"))
        << rate;
    EXPECT_THAT(only_fault(file(R"({"kind": "A40", "count": 1})",
                                R"(, "network": {"nic_Gbps": )" + std::string(rate) + "}")),
                HasSubstr("/network/nic_Gbps: expected a number from"))
        << rate;
  }
}

TEST(ClusterFaults, NameANegativeLatency) {
  EXPECT_THAT(only_fault(file(R"({"kind": "A40", "count": 1})",
                              R"(, "network": {"nic_Gbps": 1, "latency_us": -1})")),
              HasSubstr("/network/latency_us"));
}

TEST(ClusterFaults, NameARackThatIsListedTwice) {
  EXPECT_THAT(only_fault(file(R"({"kind": "A40", "count": 1, "rack": "r"})",
                              R"(, "network": {"nic_Gbps": 1, "racks": [
                                  {"name": "r", "uplink_Gbps": 1}, {"name": "r", "uplink_Gbps": 2}]})")),
              HasSubstr("/network/racks/1/name: rack 'r' is listed twice"));
}

TEST(ClusterFaults, NameARackThatIsNotListed) {
  EXPECT_THAT(only_fault(file(R"({"kind": "A40", "count": 1, "rack": "rock"})",
                              R"(, "network": {"nic_Gbps": 1, "racks": [
                                  {"name": "rack", "uplink_Gbps": 1}]})")),
              HasSubstr("unknown rack 'rock'; did you mean 'rack'?"));
}

TEST(ClusterFaults, NameANameThatIsEmptyOrNotPrintable) {
  const std::string gpus = R"({"kind": "A40", "count": 1})";
  EXPECT_THAT(only_fault(file(gpus, R"(, "name": "")")), HasSubstr("/name: expected a name"));
  EXPECT_THAT(only_fault(file(gpus, R"(, "name": "a\u001b[31m")")),
              HasSubstr("control characters"));
  EXPECT_THAT(only_fault(file(gpus, R"(, "kinds": {"": {"like": "A40"}})")),
              HasSubstr("expected a name"));
  EXPECT_THAT(only_fault(file(R"({"kind": "A40", "count": 1, "node": ""})")),
              HasSubstr("/gpus/0/node: expected a name"));
}

TEST(ClusterFaults, NameANodeThatIsTooSmallForItsRow) {
  EXPECT_THAT(only_fault(file(R"({"kind": "A40", "count": 3, "gpus_per_node": 2, "node": "a"})")),
              HasSubstr("/gpus/0/gpus_per_node: 'a' is one node, but count is 3"));
}

TEST(ClusterFaults, NameRowsThatDisagreeAboutTheirNode) {
  EXPECT_EQ(only_fault(file(R"({"kind": "A40", "count": 1, "node": "a", "nic_Gbps": 10},
                               {"kind": "T4", "count": 1, "node": "a", "nic_Gbps": 20})")),
            "c.json:2: /gpus/1/nic_Gbps: an earlier row of 'a' differs");
}

TEST(ClusterFaults, NameAnotherSchema) {
  EXPECT_THAT(
      only_fault(R"({"schema": "zebroid.cluster/2", "gpus": [{"kind": "A40", "count": 1}]})"),
      HasSubstr("/schema: unknown schema 'zebroid.cluster/2'"));
}

TEST(ClusterFaults, AreAllReportedAtOnce) {
  const Reading reading =
      read(file(R"({"kind": "A41", "count": -1}, {"kind": "T4", "count": 0, "nic_Gbps": 0})"));
  EXPECT_EQ(reading.faults.size(), 3U);
}

TEST(ClusterFaults, AreNotCountedToTheEndOfAHostileFile) {
  std::string rows = R"({"kind": "A40", "count": -1})";
  for (int i = 0; i < 2000; ++i) rows += R"(, {"kind": "A40", "count": -1})";
  const Reading reading = read(file(rows));
  EXPECT_LE(reading.faults.size(), 30U);
}

TEST(ClusterFaults, NameWhatIsNoObject) {
  EXPECT_THAT(read("[]").faults, ::testing::Not(IsEmpty()));
  EXPECT_THAT(read("3").faults, ::testing::Not(IsEmpty()));
  EXPECT_THAT(read(R"({"schema": "zebroid.cluster/1", "gpus": {}})").faults,
              ::testing::Not(IsEmpty()));
  EXPECT_THAT(read(file("3, null, []")).faults, ::testing::Not(IsEmpty()));
}

// ---- bandwidths ----

TEST(Bandwidth, IsReadInBitsAndBytes) {
  EXPECT_DOUBLE_EQ(parse_bandwidth("100Gbps").value, 12.5e9);
  EXPECT_DOUBLE_EQ(parse_bandwidth("100gbps").value, 12.5e9);
  EXPECT_DOUBLE_EQ(parse_bandwidth("400 Gbit/s").value, 50e9);
  EXPECT_DOUBLE_EQ(parse_bandwidth("12.5GB/s").value, 12.5e9);
  EXPECT_DOUBLE_EQ(parse_bandwidth(" 12.5 GBps ").value, 12.5e9);
  EXPECT_DOUBLE_EQ(parse_bandwidth("1.6Tbps").value, 200e9);
  EXPECT_DOUBLE_EQ(parse_bandwidth("800Mb/s").value, 0.1e9);
  EXPECT_DOUBLE_EQ(parse_bandwidth("1e3 kB/s").value, 1e6);
}

TEST(Bandwidth, IsRefusedWithoutAUnit) {
  EXPECT_EQ(error_of_bandwidth("100"),
            "bandwidth '100': expected a number with its unit, as in 100Gbps or 12.5GB/s (b are "
            "bits, B are bytes)");
}

TEST(Bandwidth, IsRefusedWhenItIsNoNumberWithAKnownUnit) {
  for (const char* text : {"", "Gbps", "100G", "100Gb", "100GBPS", "nan Gbps", "infGbps", "-5Gbps",
                           "0x10Gbps", "1,5Gbps", "100Gbps extra", "100 Pbps", ".Gbps"}) {
    EXPECT_THAT(error_of_bandwidth(text), HasSubstr("expected a number with its unit")) << text;
  }
}

TEST(Bandwidth, IsRefusedBeyondWhatANetworkCanHave) {
  for (const char* text : {"0Gbps", "1e-300Gbps", "1e400Gbps", "1e300GB/s", "1000001GB/s"}) {
    EXPECT_THAT(error_of_bandwidth(text), HasSubstr("expected 1e-06Gbps to 1000000GB/s")) << text;
  }
  EXPECT_DOUBLE_EQ(parse_bandwidth("1e6GB/s").value, 1e15);
}

}  // namespace
}  // namespace zebroid
