// What of flags, --scenario, --set and --vary holds; copies of the model; the same output each
// time.

#include <gtest/gtest.h>

#include <map>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "core/json.hpp"
#include "tests/support/command.hpp"

namespace zebroid {
namespace {

constexpr const char* small_request =
    "--model mixtral-w1 --cluster 4xA40,4xV100-16GB --sequence-length 1024 --global-batch 16 ";

Json parsed(const std::string& text) { return parse_json(text, "output").root; }

// --- precedence ---

/// The scenario that is simulated for a request file and flags.
Json scenario_of(const Json& request, const std::string& flags) {
  const testing::TemporaryFolder folder;
  folder.write("request.json", request.dump());
  const testing::Ran ran = testing::run_zebroid("simulate --json --scenario request.json " + flags,
                                                {.folder = folder.path()});
  EXPECT_EQ(ran.exit_code, 0) << ran.err;
  return parsed(ran.out)["scenario"];
}

const Json request_file = {{"schema", "zebroid.request/1"},
                           {"model", "mixtral-w1"},
                           {"cluster", "2xA40,2xV100-16GB"},
                           {"sequence_length", 1024},
                           {"global_batch", 8},
                           {"optimizer", "adamw-8bit"},
                           {"strategy", {"ep"}},
                           {"set", {"routing.seed=3", "training.sequence_length=2048"}}};

TEST(Scenario, FlagsWinOverTheFile) {
  const Json scenario =
      scenario_of(request_file, "--cluster 3xA40,3xV100-16GB --global-batch 12 --model mixtral-w2");
  EXPECT_EQ(scenario["model_name"], "mixtral-w2");
  EXPECT_EQ(scenario["cluster"]["gpus"][0]["count"], 3);
  EXPECT_EQ(scenario["training"]["global_batch_sequences"], 12);
}

TEST(Scenario, WhatFlagsDoNotSayComesFromTheFile) {
  const Json scenario = scenario_of(request_file, "--global-batch 12");
  EXPECT_EQ(scenario["model_name"], "mixtral-w1");
  EXPECT_EQ(scenario["training"]["optimizer"], "adamw-8bit");
}

TEST(Scenario, StrategiesInFlagsReplaceThoseOfTheFile) {
  const testing::TemporaryFolder folder;
  folder.write("request.json", request_file.dump());
  const testing::Ran ran = testing::run_zebroid(
      "simulate --json --scenario request.json --strategy zebra", {.folder = folder.path()});
  const Json results = parsed(ran.out)["results"];
  ASSERT_EQ(results.size(), 1);
  EXPECT_EQ(results[0]["strategy"], "zebra");
}

TEST(Scenario, SettingsWinOverFlagsAndTheFile) {
  const Json scenario =
      scenario_of(request_file, "--sequence-length 512 --seed 5 --set training.recompute=layer");
  EXPECT_EQ(scenario["training"]["sequence_length"], 2048);
  EXPECT_EQ(scenario["routing"]["seed"], 3);
  EXPECT_EQ(scenario["training"]["recompute"], "layer");
}

TEST(Scenario, SettingsInFlagsWinOverThoseOfTheFile) {
  const Json scenario = scenario_of(request_file, "--set training.sequence_length=4096");
  EXPECT_EQ(scenario["training"]["sequence_length"], 4096);
  EXPECT_EQ(scenario["routing"]["seed"], 3);
}

TEST(Scenario, TheLaterOfTwoSettingsWins) {
  const Json scenario = scenario_of(request_file, "--set routing.seed=8 --set routing.seed=9");
  EXPECT_EQ(scenario["routing"]["seed"], 9);
}

TEST(Sweep, VariedValuesWinOverSettingsOfTheSameField) {
  const auto swept = [](const std::string& flags) {
    const testing::Ran ran = testing::run_zebroid("sweep --strategy ep " + flags + small_request);
    EXPECT_EQ(ran.exit_code, 0) << ran.err;
    std::vector<double> out;
    std::istringstream lines(ran.out);
    for (std::string line; std::getline(lines, line);) {
      out.push_back(parsed(line)["results"][0]["iteration_s"].get<double>());
    }
    return out;
  };
  const std::string vary = "--vary training.sequence_length=512,2048 ";
  const std::vector<double> plain = swept(vary);
  ASSERT_EQ(plain.size(), 2);
  EXPECT_LT(plain[0], plain[1]);
  EXPECT_EQ(swept(vary + "--set training.sequence_length=4096 "), plain);
  EXPECT_EQ(swept("--set training.sequence_length=4096 " + vary), plain);
  EXPECT_NE(swept(vary + "--set training.recompute=none "), plain) << "other settings hold";
}

// --- copies of the model ---

class Groups : public ::testing::TestWithParam<std::string> {};

/// For each kind of exchange, the sets of replicas whose ranks take part in one.
std::map<std::string, std::set<std::set<std::uint32_t>>> replicas_by_work(const Json& schedule) {
  std::map<std::string, std::set<std::set<std::uint32_t>>> out;
  for (const Json& rank : schedule["ranks"]) {
    for (const Json& op : schedule["programs"][rank["program"].get<std::size_t>()]) {
      const auto slot = op[2].get<std::size_t>();
      if (slot == 0) continue;
      std::set<std::uint32_t> replicas;
      for (const Json& member : schedule["groups"][rank["groups"][slot - 1].get<std::size_t>()]) {
        const Json& peer = schedule["ranks"][member.get<std::size_t>()];
        replicas.insert(peer["replica"].get<std::uint32_t>());
      }
      out[op[0].get<std::string>()].insert(std::move(replicas));
    }
  }
  return out;
}

TEST_P(Groups, AreReplicasThatExchangeTokensWithinAndGradientsAmongThem) {
  const testing::TemporaryFolder folder;
  const testing::Ran ran = testing::run_zebroid(
      std::string("simulate --json --groups 2 --schedule step.json --strategy ") + GetParam() +
          " " + small_request,
      {.folder = folder.path()});
  ASSERT_EQ(ran.exit_code, 0) << ran.err;
  EXPECT_EQ(parsed(ran.out)["results"][0]["groups"], 2);
  const testing::Ran verified = testing::run_zebroid("verify step.json", {.folder = folder.path()});
  EXPECT_EQ(verified.out, "step.json: no faults\n");
  const Json schedule = parsed(folder.read("step.json"));
  EXPECT_EQ(schedule["replicas"].size(), 2);
  const auto by_work = replicas_by_work(schedule);
  const std::set<std::set<std::uint32_t>> within = {{0}, {1}};
  const std::set<std::uint32_t> among = {0, 1};
  for (const char* work : {"dispatch", "combine"}) EXPECT_EQ(by_work.at(work), within) << work;
  for (const char* work : {"reduce_shared", "reduce_experts", "reduce_norm"}) {
    EXPECT_TRUE(by_work.at(work).contains(among)) << work;
  }
}

INSTANTIATE_TEST_SUITE_P(Strategies, Groups, ::testing::Values("zebra", "ep"),
                         [](const auto& instance) { return instance.param; });

// --- the same each time ---

TEST(Outputs, OfTwoRunsAreTheSameBytes) {
  const auto outputs = [] {
    const testing::TemporaryFolder folder;
    const testing::Ran ran = testing::run_zebroid(
        std::string("simulate --json --routing lognormal:0.5 --svg step.svg --trace step.trace "
                    "--schedule step.schedule --timeline step.timeline ") +
            small_request,
        {.folder = folder.path()});
    EXPECT_EQ(ran.exit_code, 0) << ran.err;
    std::map<std::string, std::string> out = {{"stdout", ran.out}};
    for (const std::string& name : folder.names()) out[name] = folder.read(name);
    return out;
  };
  const auto first = outputs();
  const auto second = outputs();
  EXPECT_EQ(first.size(), 25)
      << "stdout and four files for each of five strategies, of ep-ideal two";
  for (const auto& [name, content] : first) {
    EXPECT_FALSE(content.empty()) << name;
    EXPECT_TRUE(content == second.at(name)) << name;
  }
}

}  // namespace
}  // namespace zebroid
