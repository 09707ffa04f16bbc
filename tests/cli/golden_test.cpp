// What the command prints, compared with tests/data/golden. ZEBROID_UPDATE_GOLDEN=1 rewrites the
// files (scripts/dev golden --update).

#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <regex>
#include <sstream>
#include <string>

#include "core/file.hpp"
#include "core/json.hpp"
#include "tests/support/command.hpp"

namespace zebroid {
namespace {

namespace fs = std::filesystem;

enum class Form { text, help, json };

struct Golden {
  std::string file;
  std::string line;  ///< run in a folder with what prepare() leaves there
  Form form = Form::text;
  int exit_code = 0;
};

void PrintTo(const Golden& golden, std::ostream* out) { *out << golden.line; }

constexpr const char* request =
    "--model mixtral-w1 --cluster 2xA40,2xV100-16GB --sequence-length 1024 --global-batch 8";

std::vector<Golden> goldens() {
  const std::string zebra = std::string(request) + " --strategy zebra";
  return {
      {"simulate.txt", std::string("zebroid simulate ") + request},
      {"simulate.json", "zebroid simulate --json " + zebra, Form::json},
      {"simulate-schedule.txt", "zebroid simulate step.json"},
      {"plan-o1.txt",
       "zebroid plan --model mixtral-d1 --cluster 6xA40,6xV100-16GB --sequence-length 16384 "
       "--explain"},
      {"plan-o3.txt", "zebroid plan --model mixtral-d2 --cluster o3 --sequence-length 32768"},
      {"plan-c2.txt", "zebroid plan --model mixtral-d3 --cluster c2 --sequence-length 8192"},
      {"plan-three-kinds.txt",
       "zebroid plan --model mixtral-w1 --cluster 1xA100-40GB,1xA40,2xV100-16GB "
       "--sequence-length 8192"},
      {"plan-leave-out.txt",
       "zebroid plan --model mixtral-d1 --cluster 8xA100-80GB,2xT4 --network 10Gbps"},
      {"plan-leave-out.json",
       "zebroid plan --model mixtral-d1 --cluster 8xA100-80GB,2xT4 --network 10Gbps --json",
       Form::json},
      {"plan-nothing-fits.txt", "zebroid plan --model mixtral-8x7b --cluster 4xA40,4xV100-16GB",
       Form::text, 3},
      {"help-plan.txt", "zebroid plan --help", Form::help},
      {"sweep.ndjson", "zebroid sweep --vary cluster.V100-16GB=0,2 " + zebra, Form::json},
      {"list.txt", "zebroid list"},
      {"list.json", "zebroid list --json", Form::json},
      {"list-gpus.txt", "zebroid list gpus"},
      {"show-model.txt", "zebroid show deepseek-v3"},
      {"show-model.json", "zebroid show mixtral-w1 --json", Form::json},
      {"show-gpu.json", "zebroid show A40", Form::json},
      {"show-cluster.json", "zebroid show o3", Form::json},
      {"verify.txt", "zebroid verify cluster.json step.json broken.json", Form::text, 4},
      {"help.txt", "zebroid --help", Form::help},
      {"help-simulate.txt", "zebroid simulate --help", Form::help},
      {"help-sweep.txt", "zebroid sweep --help", Form::help},
      {"help-verify.txt", "zebroid verify --help", Form::help},
      {"help-list.txt", "zebroid list --help", Form::help},
      {"help-show.txt", "zebroid show --help", Form::help},
  };
}

/// Leaves a cluster, a schedule and a broken schedule.
void prepare(const testing::TemporaryFolder& folder) {
  folder.write("cluster.json",
               R"({"schema": "zebroid.cluster/1", "gpus": [{"kind": "A40", "count": 4}]})");
  const testing::Ran ran =
      testing::run_zebroid(std::string("simulate --strategy zebra --schedule step.json ") + request,
                           {.folder = folder.path()});
  ASSERT_EQ(ran.exit_code, 0) << ran.err;
  Json broken = parse_json(folder.read("step.json"), "step.json").root;
  broken["programs"][0].erase(1);
  folder.write("broken.json", broken.dump());
}

/// Help as CLI11 2.1 to 2.5 print it: only spacing, headings and the form of defaults differ.
std::string normal_help(const std::string& text) {
  std::string out = std::regex_replace(text, std::regex("\\}=(\\S+)"), "} [$1]");
  out = std::regex_replace(out, std::regex("\\s+"), " ");
  std::transform(out.begin(), out.end(), out.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return out;
}

/// Where two values differ; "" when numbers are equal but for rounding and all else exactly.
std::string difference(const Json& got, const Json& golden, const std::string& pointer) {
  constexpr double tolerance = 1e-9;
  if (got.is_number() && golden.is_number()) {
    const auto a = got.get<double>();
    const auto b = golden.get<double>();
    if (std::abs(a - b) <= tolerance * std::max(std::abs(a), std::abs(b))) return "";
  } else if (got.is_structured() && got.type() == golden.type() && got.size() == golden.size()) {
    for (auto a = got.begin(), b = golden.begin(); a != got.end(); ++a, ++b) {
      const std::string key =
          got.is_object() ? b.key() : std::to_string(std::distance(got.begin(), a));
      if (got.is_object() && a.key() != key) return pointer + ": key " + a.key() + ", not " + key;
      const std::string found = difference(*a, *b, pointer + "/" + key);
      if (!found.empty()) return found;
    }
    return "";
  } else if (got == golden) {
    return "";
  }
  return pointer + ": " + shown(got) + ", not " + shown(golden);
}

/// The documents in a text, one or one per line.
Json documents(const std::string& text, const std::string& name) {
  Json out = Json::array();
  if (!name.ends_with(".ndjson")) {
    out.push_back(parse_json(text, name).root);
    return out;
  }
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) out.push_back(parse_json(line, name).root);
  return out;
}

/// What is recorded of an output: calibrations are shipped files of their own, and long.
std::string to_record(const Golden& golden, const std::string& output) {
  if (golden.file != "simulate.json" && golden.file != "plan-leave-out.json") return output;
  Json result = parse_json(output, golden.line).root;
  result["scenario"].erase("calibration");
  return result.dump(2) + "\n";
}

class GoldenOutput : public ::testing::TestWithParam<Golden> {};

TEST_P(GoldenOutput, IsAsRecorded) {
  const Golden& golden = GetParam();
  const testing::TemporaryFolder folder;
  ASSERT_NO_FATAL_FAILURE(prepare(folder));
  const testing::Ran ran = testing::run_line(golden.line, {.folder = folder.path()});
  EXPECT_EQ(ran.exit_code, golden.exit_code) << ran.err;
  EXPECT_EQ(ran.err, "");
  const std::string got = to_record(golden, ran.out);
  const fs::path path = fs::path(ZEBROID_TEST_DATA_DIR) / "golden" / golden.file;
  if (std::getenv("ZEBROID_UPDATE_GOLDEN") != nullptr) {
    fs::create_directories(path.parent_path());
    write_file(path, got);
    return;
  }
  ASSERT_TRUE(fs::exists(path)) << path << " is missing: scripts/dev golden --update";
  const std::string expected = read_file(path, std::size_t{1} << 20U);
  switch (golden.form) {
    case Form::text:
      EXPECT_EQ(got, expected);
      break;
    case Form::help:
      EXPECT_EQ(normal_help(got), normal_help(expected));
      break;
    case Form::json:
      EXPECT_EQ(difference(documents(got, golden.file), documents(expected, golden.file), ""), "");
      break;
  }
}

std::string test_name(const ::testing::TestParamInfo<Golden>& instance) {
  std::string name = instance.param.file;
  for (char& c : name) {
    if (std::isalnum(static_cast<unsigned char>(c)) == 0) c = '_';
  }
  return name;
}

INSTANTIATE_TEST_SUITE_P(Command, GoldenOutput, ::testing::ValuesIn(goldens()), test_name);

TEST(Golden, NumbersMayDifferByRoundingOnly) {
  const Json one = {{"a", {1.0, 2, "x"}}};
  EXPECT_EQ(difference(one, Json{{"a", {1.0 + 1e-12, 2.0, "x"}}}, ""), "");
  EXPECT_EQ(difference(one, Json{{"a", {1.0 + 1e-6, 2, "x"}}}, ""), "/a/0: 1.0, not 1.000001");
  EXPECT_EQ(difference(one, Json{{"a", {1.0, 2, "y"}}}, ""), "/a/2: \"x\", not \"y\"");
  EXPECT_EQ(difference(one, Json{{"b", {1.0, 2, "x"}}}, ""), ": key a, not b");
  EXPECT_NE(difference(one, Json{{"a", {1.0, 2}}}, ""), "");
  EXPECT_NE(difference(Json(0), Json("0"), ""), "");
}

}  // namespace
}  // namespace zebroid
