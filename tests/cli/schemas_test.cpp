// Schemas, readers and writers agree. valijson compiles slowly: this is the one file that uses it.

#include <gtest/gtest.h>

#define VALIJSON_USE_EXCEPTIONS 1
#include <algorithm>
#include <filesystem>
#include <functional>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <valijson/adapters/nlohmann_json_adapter.hpp>
#include <valijson/schema.hpp>
#include <valijson/schema_parser.hpp>
#include <valijson/validation_results.hpp>
#include <valijson/validator.hpp>
#include <vector>

#include "cli/request.hpp"
#include "core/error.hpp"
#include "core/file.hpp"
#include "models/config_dir.hpp"
#include "schedule/files.hpp"
#include "tests/support/command.hpp"
#include "tests/support/scenarios.hpp"
#include "traces/readers.hpp"

namespace zebroid {
namespace {

namespace fs = std::filesystem;
using Plain = nlohmann::json;  // what valijson's adapter takes

// --- schemas ---

/// "other.schema.json#/definitions/x" in `node` becomes
/// "#/definitions/other.schema.json/definitions/x", and "#/definitions/x" the same for the file
/// that it is written in; the names of other files are added to `files`.
void localize(Plain& node, const std::string& file, std::set<std::string>& files) {
  if (node.is_object() && node.contains("$ref") && node["$ref"].is_string()) {
    const std::string reference = node["$ref"].get<std::string>();
    const auto hash = std::min(reference.find('#'), reference.size());
    const std::string target = hash == 0 ? file : reference.substr(0, hash);
    const std::string pointer = reference.substr(std::min(hash + 1, reference.size()));
    files.insert(target);
    node["$ref"] = "#/definitions/" + target + pointer;
  }
  for (Plain& child : node) {
    if (child.is_structured()) localize(child, file, files);
  }
}

/// The schema with all files that it refers to as definitions: valijson mixes up equal pointers
/// into different files.
Plain bundle(const std::string& name) {
  const std::string root = name + ".schema.json";
  Plain out = {{"$ref", "#/definitions/" + root}, {"definitions", Plain::object()}};
  std::set<std::string> wanted = {root};
  while (!wanted.empty()) {
    const std::string file = *wanted.begin();
    wanted.erase(wanted.begin());
    if (out["definitions"].contains(file)) continue;
    Plain schema = Plain::parse(read_file(config_dir() / "schemas" / file, 1U << 20U));
    localize(schema, file, wanted);
    out["definitions"][file] = std::move(schema);
  }
  return out;
}

class Schema {
 public:
  explicit Schema(const std::string& name) {
    const Plain text = bundle(name);
    valijson::SchemaParser(valijson::SchemaParser::kDraft7)
        .populateSchema(valijson::adapters::NlohmannJsonAdapter(text), schema_);
  }

  /// What is wrong with a document; "" when nothing is.
  std::string faults(const Json& document) const {
    const Plain plain = Plain::parse(document.dump());
    valijson::Validator validator(valijson::Validator::kStrongTypes);
    valijson::ValidationResults results;
    validator.validate(schema_, valijson::adapters::NlohmannJsonAdapter(plain), &results);
    std::string out;
    valijson::ValidationResults::Error error;
    while (results.popError(error)) {
      for (const std::string& part : error.context) out += part;
      out += ": " + error.description + "\n";
    }
    return out;
  }
  bool accepts(const Json& document) const { return faults(document).empty(); }

 private:
  valijson::Schema schema_;
};

// --- documents ---

Json at(const Json& document, const std::string& pointer) {
  return document.at(Json::json_pointer(pointer));
}

Scenario small_scenario() {
  return testing::make_scenario({.layers = 3, .dense_layers = 1, .routing = "lognormal:0.5"});
}

Json scenario_document() { return to_json(small_scenario()); }

Plan small_plan(const Scenario& scenario, Strategy strategy) {
  return plan(scenario, {.strategy = strategy, .microbatches = 1}, testing::fast_scorer());
}

Json schedule_document(Strategy strategy) {
  const Scenario scenario = small_scenario();
  return to_json(small_plan(scenario, strategy).schedule, scenario);
}

Json timeline_document(Strategy strategy) {
  const Scenario scenario = small_scenario();
  const Plan plan = small_plan(scenario, strategy);
  return to_json(plan.timeline, plan.schedule, scenario);
}

Json calibration_document() { return read_json(config_dir() / "calibrations" / "a40.json").root; }

Json routing_document() {
  return {{"schema", "zebroid.routing/1"}, {"tokens", {{4, 0, 1, 1.5}, {1, 1, 1, 1}}}};
}

Json request_document() {
  return {{"schema", "zebroid.request/1"},
          {"model", "mixtral-d1"},
          {"cluster", "o1"},
          {"network", "100Gbps"},
          {"sequence_length", 4096},
          {"global_batch", "max"},
          {"microbatches", 4},
          {"chunks", "auto"},
          {"groups", 1},
          {"strategy", {"zebra"}},
          {"expert_assignment", "even"},
          {"recompute", "module"},
          {"optimizer", "adamw"},
          {"routing", "lognormal:0.5"},
          {"seed", 7},
          {"calibration", {(config_dir() / "calibrations" / "a40.json").string()}},
          {"set", {"model.num_local_experts=12"}}};
}

/// One line of samples.
Json sample_document() {
  return {{"gpu", "A40"},   {"op", "gemm"},  {"kernel", "cublas"}, {"dtype", "bf16"},
          {"m", 4096},      {"n", 1024},     {"k", 512},           {"direction", "forward"},
          {"time_us", 1.5}, {"repeats", 20}, {"scatter", 0.01},    {"source", "x.csv:7"},
          {"date", "2026"}};
}

// --- readers ---

/// A file with `document` while it lives.
class TemporaryFile {
 public:
  explicit TemporaryFile(const Json& document) { folder_.write("document.json", document.dump()); }
  std::string path() const { return folder_.path() / "document.json"; }

 private:
  testing::TemporaryFolder folder_;
};

using Reader = std::function<void(const Json&)>;

void read_as_cluster(const Json& document) {
  const JsonDocument named{"cluster", "", document};
  Faults faults;
  read_cluster(JsonView(named, faults));
  faults.throw_if_any();
}
void read_as_scenario(const Json& document) { read_scenario({"scenario", "", document}); }
void read_as_schedule(const Json& document) { read_schedule({"schedule", "", document}); }
void read_as_timeline(const Json& document) { read_timeline({"timeline", "", document}); }
void read_as_calibration(const Json& document) {
  load_calibration({TemporaryFile(document).path()});
}
void read_as_routing(const Json& document) {
  const TemporaryFile file(document);
  const JsonDocument request{"routing", "", Json{{"spec", file.path()}}};
  Faults faults;
  const RoutingRequest routing = read_routing(JsonView(request, faults));
  faults.throw_if_any();
  make_routing(routing, {true, false, true}, 4, 2);
}
void read_as_request(const Json& document) {
  const TemporaryFile file(document);
  Request request;
  request.scenario_file = file.path();
  read_scenario_file(request);
  if (!request.model) request.model = "mixtral-d1";  // as flags may
  if (!request.cluster) request.cluster = "o1";
  Resolver(std::move(request), {"zebra"}).resolve({});
}

void read_as_samples(const Json& document) {
  const Samples read =
      read_samples("{\"schema\":\"zebroid.samples/1\"}\n" + document.dump(), "samples");
  if (!read.complaints.empty()) throw Error(ErrorKind::input, read.complaints.front());
}

struct Format {
  std::string schema;
  Json document;
  Reader read;
};

std::vector<Format> formats() {
  return {{"cluster", at(scenario_document(), "/cluster"), read_as_cluster},
          {"scenario", scenario_document(), read_as_scenario},
          {"schedule", schedule_document(Strategy::zebra), read_as_schedule},
          {"timeline", timeline_document(Strategy::expert_parallel), read_as_timeline},
          {"calibration", calibration_document(), read_as_calibration},
          {"routing", routing_document(), read_as_routing},
          {"request", request_document(), read_as_request},
          {"samples", sample_document(), read_as_samples}};
}

/// Why the reader refuses a document; "" when it does not.
std::string refusal(const Reader& read, const Json& document) {
  try {
    read(document);
    return "";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::input) << error.what();
    return error.what();
  }
}

// --- variations of a document ---

/// Pointers to all values of a document; of long arrays the first element stands for all.
void add_pointers(const Json& value, const std::string& here, std::vector<std::string>& out) {
  constexpr std::size_t tuple = 6;
  out.push_back(here);
  if (value.is_object()) {
    for (const auto& [key, child] : value.items()) add_pointers(child, here + "/" + key, out);
  } else if (value.is_array()) {
    const std::size_t visited = value.size() <= tuple ? value.size() : 1;
    for (std::size_t i = 0; i < visited; ++i) {
      add_pointers(value[i], here + "/" + std::to_string(i), out);
    }
  }
}

/// Pointers into what is a format's own: what it embeds is tried as a format of its own.
std::vector<std::string> pointers(const Format& format) {
  const std::map<std::string, std::string> embedded = {
      {"scenario", "/cluster/"}, {"schedule", "/scenario/"}, {"timeline", "/schedule/"}};
  std::vector<std::string> out;
  add_pointers(format.document, "", out);
  const auto found = embedded.find(format.schema);
  if (found != embedded.end()) {
    std::erase_if(out, [&](const std::string& p) { return p.starts_with(found->second); });
  }
  return out;
}

Json with(Json document, const std::string& pointer, const Json& value) {
  document[Json::json_pointer(pointer)] = value;
  return document;
}

Json without(Json document, const std::string& pointer) {
  const Json::json_pointer path(pointer);
  document[path.parent_pointer()].erase(path.back());
  return document;
}

bool ends_with_one_of(const std::string& pointer, const std::vector<std::string>& ends) {
  return std::any_of(ends.begin(), ends.end(),
                     [&](const std::string& end) { return pointer.ends_with(end); });
}

std::vector<fs::path> files_in(const std::string& folder) {
  std::vector<fs::path> out;
  for (const auto& entry : fs::directory_iterator(config_dir() / folder)) {
    out.push_back(entry.path());
  }
  return out;
}

// --- tests ---

class Shipped : public ::testing::TestWithParam<std::pair<std::string, std::string>> {};

TEST_P(Shipped, ConfigsSatisfyTheirSchema) {
  const auto& [folder, name] = GetParam();
  const Schema schema(name);
  for (const fs::path& file : files_in(folder)) {
    EXPECT_EQ(schema.faults(read_json(file).root), "") << file;
  }
}

INSTANTIATE_TEST_SUITE_P(Schemas, Shipped,
                         ::testing::Values(std::pair{"calibrations", "calibration"},
                                           std::pair{"clusters", "cluster"},
                                           std::pair{"models", "model"}),
                         [](const auto& instance) { return instance.param.first; });

TEST(Schemas, DescribeTheShippedGpus) {
  EXPECT_EQ(Schema("gpus").faults(read_json(config_dir() / "gpus.json").root), "");
}

TEST(Schemas, DescribeWhatReadersAccept) {
  for (const Format& format : formats()) {
    EXPECT_EQ(refusal(format.read, format.document), "") << format.schema;
    EXPECT_EQ(Schema(format.schema).faults(format.document), "") << format.schema;
  }
}

TEST(Schemas, AndReadersRefuseTheSameUnknownKeys) {
  for (const Format& format : formats()) {
    const Schema schema(format.schema);
    for (const std::string& pointer : pointers(format)) {
      if (!at(format.document, pointer).is_object()) continue;
      const Json surplus = with(format.document, pointer + "/surplus", 1);
      EXPECT_EQ(schema.accepts(surplus), refusal(format.read, surplus).empty())
          << format.schema << " " << pointer;
    }
  }
}

/// Nothing is taken from these: a timeline's are worked out again, a calibration's are for people.
bool is_for_people(const Format& format, const std::string& pointer) {
  if (format.schema == "timeline" && pointer.starts_with("/ranks/")) {
    return ends_with_one_of(pointer, {"/gpu", "/node", "/role"});
  }
  return pointer == "/iteration_s" || ends_with_one_of(pointer, {"/date", "/notes"});
}

TEST(Schemas, AndReadersRequireTheSameKeys) {
  for (const Format& format : formats()) {
    const Schema schema(format.schema);
    for (const std::string& pointer : pointers(format)) {
      const bool in_model = pointer.starts_with("/model/");  // one of several names
      if (pointer.empty() || in_model || is_for_people(format, pointer) ||
          !at(format.document, pointer.substr(0, pointer.rfind('/'))).is_object()) {
        continue;
      }
      const Json lacking = without(format.document, pointer);
      EXPECT_EQ(schema.accepts(lacking), refusal(format.read, lacking).empty())
          << format.schema << " without " << pointer << "\n"
          << refusal(format.read, lacking);
    }
  }
}

TEST(Schemas, RefuseOnlyWhatReadersRefuse) {
  const std::vector<Json> others = {nullptr, -1, 1.5, 1e30, "x", Json::array()};
  for (const Format& format : formats()) {
    const Schema schema(format.schema);
    for (const std::string& pointer : pointers(format)) {
      if (is_for_people(format, pointer) || at(format.document, pointer).is_structured()) continue;
      for (const Json& other : others) {
        // To readers null is as good as absent; the schema of clusters wants the key left out.
        if (format.schema == "cluster" && other.is_null()) continue;
        const Json changed = with(format.document, pointer, other);
        if (schema.accepts(changed)) continue;
        EXPECT_NE(refusal(format.read, changed), "")
            << format.schema << " " << pointer << " = " << other << "\n"
            << schema.faults(changed);
      }
    }
  }
}

TEST(Schemas, StateTheLimitsOfReaders) {
  struct Limit {
    std::string schema;
    std::string pointer;
    Json inside;
    Json outside;
  };
  const std::vector<Limit> limits = {
      {"scenario", "/training/sequence_length", 1, 0},
      {"scenario", "/training/sequence_length", 16777216, 16777217},
      {"scenario", "/training/global_batch_sequences", 0, -1},
      {"scenario", "/training/global_batch_sequences", 4294967296, 4294967297},
      {"scenario", "/training/recompute", "layer", "layers"},
      {"scenario", "/training/optimizer", "adamw-8bit", "sgd"},
      {"scenario", "/routing/seed", 9223372036854775807, -1},
      {"scenario", "/routing/spec", "uniform", "even"},
      {"scenario", "/calibration/A40/gemm/efficiency", 1e-4, 0.9e-4},
      {"scenario", "/calibration/A40/gemm/efficiency", 1, 1.01},
      {"calibration", "/kinds/0/kernels/gemm/half_size", 1e9, 1.1e9},
      {"calibration", "/kinds/0/kernels/gemm/half_size", 0, -0.1},
      {"calibration", "/kinds/0/kernels/attention_core/backward", 2, 2.1},
      {"calibration", "/kinds/0/kernels/attention_core/backward", 1e-4, 0.9e-4},
      {"calibration", "/kinds/0/kernels/memory_bound/launch_us", 1e6, 1.1e6},
      {"calibration", "/kinds/0/kernels/memory_bound/evidence", "measured", "guessed"},
      {"calibration", "/kinds/0/gpus", {"A40"}, Json::array()},
      {"routing", "/tokens/0/0", 1e18, 1.1e18},
      {"schedule", "/microbatches", 65535, 65536},
      {"schedule", "/chunks", 1, 0},
      {"schedule", "/programs/0/0/0", "gather", "scatter"},
      {"schedule", "/programs/0/0/1", "backward", "backwards"},
      {"schedule", "/programs/0/0/2", 255, 256},
      {"schedule", "/programs/0/0/3", 65535, 65536},
      {"schedule", "/programs/0/0", {"step", "forward", 0, 0, 0, 0}, {"step", "forward", 0, 0, 0}},
      {"schedule", "/ranks/0/sequences",
       at(schedule_document(Strategy::zebra), "/ranks/0/sequences"), 4294967296},
      {"schedule", "/ranks/0/replica", 65535, 65536},
      {"schedule", "/groups/0/0", 4294967295, 4294967296},
      {"timeline", "/ranks/0/ended_s/0", 1e12, 1.1e12},
      {"timeline", "/ranks/0/sent_bytes/0", 1e18, 1.1e18},
      {"samples", "/m", 1e12, 1.1e12},
      {"samples", "/m", 0.5, 0},
      {"samples", "/time_us", 1e-9, 0},
      {"samples", "/repeats", 4294967295, 4294967296},
      {"samples", "/scatter", 0, -0.1},
      {"samples", "/gpu", "any", ""},
      {"samples", "/direction", "backward", "both"},
      {"request", "/sequence_length", 16777216, 16777217},
      {"request", "/sequence_length", "4096", "4k"},
      {"request", "/global_batch", 4294967296, 4294967297},
      {"request", "/global_batch", "auto", "most"},
      {"request", "/microbatches", 4096, 4097},
      {"request", "/chunks", 1, 0},
      {"request", "/groups", "auto", "max"},
      {"request", "/seed", 0, -1},
      {"request", "/strategy", {"ep"}, {"eq"}},
      {"request", "/set", {"routing.seed=5"}, {"routing.seed"}}};
  std::map<std::string, Format> format_of;
  for (Format& format : formats()) format_of.emplace(format.schema, std::move(format));
  for (const Limit& limit : limits) {
    const Format& format = format_of.at(limit.schema);
    const Schema schema(limit.schema);
    const Json inside = with(format.document, limit.pointer, limit.inside);
    const Json outside = with(format.document, limit.pointer, limit.outside);
    EXPECT_EQ(schema.faults(inside), "") << limit.schema << limit.pointer;
    EXPECT_EQ(refusal(format.read, inside), "") << limit.schema << limit.pointer;
    EXPECT_FALSE(schema.accepts(outside)) << limit.schema << limit.pointer;
    EXPECT_NE(refusal(format.read, outside), "") << limit.schema << limit.pointer;
  }
}

TEST(RoundTrip, GivesTheSameScenario) {
  const Json document = scenario_document();
  EXPECT_EQ(to_json(read_scenario({"scenario", "", document})).dump(), document.dump());
}

TEST(RoundTrip, GivesTheSameSchedule) {
  for (const Strategy strategy : {Strategy::zebra, Strategy::expert_parallel}) {
    const Json document = schedule_document(strategy);
    const ScheduleFile file = read_schedule({"schedule", "", document});
    EXPECT_EQ(to_json(file.schedule, file.scenario).dump(), document.dump());
  }
}

TEST(RoundTrip, GivesTheSameTimelineThroughText) {
  for (const Strategy strategy : {Strategy::zebra, Strategy::expert_parallel}) {
    const std::string text = timeline_document(strategy).dump();
    const TimelineFile file = read_timeline(parse_json(text, "timeline"));
    const auto& [scenario, schedule] = file.schedule;
    EXPECT_EQ(to_json(file.timeline, schedule, scenario).dump(), text);
  }
}

constexpr const char* small_request =
    "--model mixtral-w1 --cluster 2xA40,2xV100-16GB --sequence-length 1024 --global-batch 8";

TEST(Written, ResultsSatisfyTheirSchema) {
  const testing::Ran output = testing::run_zebroid(std::string("simulate --json ") + small_request);
  EXPECT_EQ(output.exit_code, 0);
  EXPECT_EQ(Schema("result").faults(parse_json(output.out, "result").root), "");
}

TEST(Written, PlansSatisfyTheirSchema) {
  for (const char* cluster : {"2xA40,2xV100-16GB", "2xA40", "2xT4,1xT4"}) {
    const testing::Ran output = testing::run_zebroid(
        std::string("plan --json --explain --model mixtral-w1 --sequence-length 1024 --cluster ") +
        cluster);
    EXPECT_EQ(Schema("result").faults(parse_json(output.out, "result").root), "") << cluster;
  }
}

TEST(Written, ResultsThatDoNotFitSatisfyTheirSchema) {
  const testing::Ran output = testing::run_zebroid(
      "simulate --json --model mixtral-8x7b --cluster 2xA40,2xV100-16GB "
      "--sequence-length 1024 --global-batch 8");
  EXPECT_EQ(output.exit_code, static_cast<int>(ErrorKind::infeasible));
  EXPECT_EQ(Schema("result").faults(parse_json(output.out, "result").root), "");
}

TEST(Written, ResultsOfScheduleFilesSatisfyTheirSchema) {
  const TemporaryFile schedule(schedule_document(Strategy::zebra));
  const testing::Ran output = testing::run_zebroid("simulate --json " + schedule.path());
  EXPECT_EQ(output.exit_code, 0);
  EXPECT_EQ(Schema("result").faults(parse_json(output.out, "result").root), "");
}

TEST(Written, RunsAndTheirTimelinesSatisfyTheirSchema) {
  const testing::TemporaryFolder folder;
  const TemporaryFile schedule(schedule_document(Strategy::zebra));
  const testing::Ran output =
      testing::run_zebroid("run --shrink --steps 2 --json --timeline t.json " + schedule.path(),
                           {.folder = folder.path()});
  EXPECT_EQ(output.exit_code, 0) << output.err;
  EXPECT_EQ(Schema("run").faults(parse_json(output.out, "run").root), "");
  const Json timeline = parse_json(folder.read("t.json"), "t.json").root;
  EXPECT_EQ(Schema("timeline").faults(timeline), "");
}

TEST(Written, SweepPointsSatisfyTheirSchema) {
  const testing::Ran output = testing::run_zebroid(
      std::string("sweep --vary cluster.V100-16GB=0,2 --vary model.num_local_experts=1,8 ") +
      small_request);
  EXPECT_EQ(output.exit_code, 0);
  const Schema schema("sweep-point");
  std::istringstream lines(output.out);
  std::size_t points = 0;
  for (std::string line; std::getline(lines, line); ++points) {
    EXPECT_EQ(schema.faults(parse_json(line, "point").root), "") << line;
  }
  EXPECT_EQ(points, 4);
}

TEST(Written, SamplesOfEveryOpSatisfyTheirSchema) {
  const Schema schema("samples");
  for (std::size_t op = 0; op < measured_op_count; ++op) {
    const std::string text = to_ndjson({{.gpu = "A40",
                                         .op = static_cast<MeasuredOp>(op),
                                         .backward = true,
                                         .shape = {1, 2, 3, 4, 5},
                                         .time = {1e-6},
                                         .repeats = 2,
                                         .scatter = 0.5,
                                         .source = "x.csv",
                                         .date = "2026"}});
    const std::string line = text.substr(text.find('\n') + 1);
    EXPECT_EQ(schema.faults(parse_json(line, "sample").root), "") << line;
  }
}

}  // namespace
}  // namespace zebroid
