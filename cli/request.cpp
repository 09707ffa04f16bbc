#include "cli/request.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <filesystem>

#include "core/digest.hpp"
#include "core/error.hpp"
#include "core/file.hpp"
#include "models/config_dir.hpp"

namespace zebroid {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void refuse(const std::string& message) { throw Error(ErrorKind::input, message); }

/// A flag whose value may also be written as a JSON number.
std::string text_of(const JsonView& view) {
  if (view.json().is_number()) return view.json().dump();
  return view.text();
}

std::optional<std::uint32_t> parse_tuned(const std::string& name,
                                         const std::optional<std::string>& text) {
  if (!text || *text == "auto") return std::nullopt;
  constexpr std::uint64_t most = 4096;
  return static_cast<std::uint32_t>(parse_count(name, *text, 1, most));
}

/// What `read` returns; its Error(input) gets `name` in front.
template <class Read>
auto naming(const std::string& name, Read read) {
  try {
    return read();
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::input) throw;
    refuse(name + ": " + error.what());
  }
}

std::vector<std::string> keys_of(const Json& object) {
  std::vector<std::string> out;
  for (const auto& [key, value] : object.items()) out.push_back(key);
  return out;
}

/// The GPU kind that a row of a cluster names, "" when it does not.
std::string kind_of(const Json& row) {
  if (!row.is_object() || !row.contains("kind") || !row["kind"].is_string()) return "";
  return row["kind"].get<std::string>();
}

/// "cluster.KIND": one row of the kind with that many GPUs, in place of its first row or as a new
/// one.
bool set_kind_count(Json& scenario, std::string kind, const Json& value) {
  if (const auto at = position_of(kind, gpu_catalogue())) kind = gpu_catalogue()[*at].name;
  if (!scenario["cluster"].is_object() || !scenario["cluster"]["gpus"].is_array()) return false;
  Json& rows = scenario["cluster"]["gpus"];
  Json* first = nullptr;
  for (Json& row : rows) {
    if (kind_of(row) != kind) continue;
    if (first == nullptr) {
      first = &row;
    } else {
      row["count"] = 0;
    }
  }
  if (first == nullptr) {
    const bool known = position_of(kind, gpu_catalogue()).has_value();
    if (!known) return false;
    rows.push_back({{"kind", kind}});
    first = &rows.back();
  }
  (*first)["count"] = value;
  return true;
}

/// Once the network is stated.
void forget_assumed_network(Json& cluster) {
  const auto notes = cluster.find("notes");
  if (notes == cluster.end() || !notes->is_array()) return;
  const auto note = std::find(notes->begin(), notes->end(), Json(assumed_network_note()));
  if (note != notes->end()) notes->erase(note);
}

Request completed(Request request) {
  read_scenario_file(request);
  return request;
}

Json* descend(Json& at, const std::string& key) {
  if (at.is_object()) {
    const auto found = at.find(key);
    return found == at.end() ? nullptr : &*found;
  }
  std::size_t index = 0;
  const auto [end, failure] = std::from_chars(key.data(), key.data() + key.size(), index);
  const bool is_index = at.is_array() && failure == std::errc() && end == key.data() + key.size();
  return is_index && index < at.size() ? &at[index] : nullptr;
}

/// The fields of a request by their names in a --scenario file.
struct Fields {
  std::vector<std::pair<std::string, std::optional<std::string>*>> texts;
  std::vector<std::pair<std::string, std::vector<std::string>*>> lists;
};

Fields fields_of(Request& request) {
  Fields out;
  out.texts = {{"model", &request.model},
               {"cluster", &request.cluster},
               {"network", &request.network},
               {"sequence_length", &request.sequence_length},
               {"global_batch", &request.global_batch},
               {"microbatches", &request.microbatches},
               {"chunks", &request.chunks},
               {"groups", &request.groups},
               {"expert_assignment", &request.expert_assignment},
               {"recompute", &request.recompute},
               {"optimizer", &request.optimizer},
               {"routing", &request.routing},
               {"seed", &request.seed},
               {"strict", &request.strict},
               {"engine", &request.prediction.engine},
               {"fidelity", &request.prediction.fidelity}};
  out.lists = {{"strategy", &request.strategies},
               {"calibration", &request.calibrations},
               {"slow", &request.prediction.slow},
               {"set", &request.settings}};
  return out;
}

}  // namespace

std::string Request::name_of(const std::string& key) const {
  const auto found = origin.find(key);
  if (found != origin.end()) return found->second;
  std::string flag = "--" + key;
  std::replace(flag.begin(), flag.end(), '_', '-');
  return flag;
}

std::uint64_t parse_count(const std::string& name, const std::string& text, std::uint64_t low,
                          std::uint64_t high) {
  std::uint64_t number = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), number);
  const bool whole = end == text.data() + text.size() && !text.empty();
  if (whole && failure == std::errc() && number >= low && number <= high) return number;
  refuse(fmt::format("{}: expected a whole number from {} to {}, got '{}'", name, low, high, text));
}

std::size_t parse_choice(const std::string& name, const std::string& value,
                         const std::vector<std::string>& known) {
  const auto found = std::find(known.begin(), known.end(), value);
  if (found == known.end()) refuse(name + ": " + unknown_name("value", value, known));
  return static_cast<std::size_t>(found - known.begin());
}

std::vector<std::string> builtin_names(const std::string& folder) {
  std::vector<std::string> out;
  for (const auto& entry : fs::directory_iterator(config_dir() / folder)) {
    if (entry.path().extension() == ".json") out.push_back(entry.path().stem().string());
  }
  std::sort(out.begin(), out.end());
  return out;
}

JsonDocument find_model_config(const std::string& name_or_path) {
  const std::vector<std::string> names = builtin_names("models");
  if (std::find(names.begin(), names.end(), name_or_path) != names.end()) {
    return read_json(config_dir() / "models" / (name_or_path + ".json"));
  }
  const fs::path path(name_or_path);
  std::error_code ignored;
  if (fs::is_directory(path, ignored)) {
    if (!fs::exists(path / "config.json", ignored)) {
      refuse(fmt::format("{}: a folder without a config.json", name_or_path));
    }
    return read_json(path / "config.json");
  }
  if (fs::exists(path, ignored) || name_or_path.find('/') != std::string::npos ||
      path.extension() == ".json") {
    return read_json(path);
  }
  refuse(unknown_name("model", name_or_path, names) +
         " Or give a Hugging Face config.json or its folder.");
}

std::string model_name_of(const std::string& name_or_path) {
  fs::path path(name_or_path);
  if (path.filename().empty()) path = path.parent_path();
  if (path.filename() == "config.json" && path.has_parent_path()) path = path.parent_path();
  return path.extension() == ".json" ? path.stem().string() : path.filename().string();
}

std::pair<std::string, Json> parse_setting(const std::string& text) {
  const auto equals = text.find('=');
  if (equals == std::string::npos || equals == 0) {
    refuse(fmt::format("--set: expected PATH=VALUE, got '{}'", text));
  }
  const std::string value = text.substr(equals + 1);
  try {
    return {text.substr(0, equals), parse_json(value, "value").root};
  } catch (const Error&) {  // a bare word
    return {text.substr(0, equals), Json(value)};
  }
}

std::string identity_of(const Json& value) {
  std::string out = to_text(value);
  if (!value.is_string()) return out;
  const auto text = value.get<std::string>();
  std::error_code ignored;
  if (fs::is_regular_file(text, ignored)) {
    out += " " + to_text(digest(read_file(text, JsonLimits().bytes)));
  }
  return out;
}

void set_field(Json& scenario, const std::string& path, const Json& value) {
  constexpr std::string_view cluster = "cluster.";
  if (path.starts_with(cluster)) {
    const std::string kind = path.substr(cluster.size());
    if (!scenario["cluster"].contains(kind) && set_kind_count(scenario, kind, value)) return;
  }
  Json* at = &scenario;
  std::size_t begin = 0;
  while (begin <= path.size()) {
    const std::size_t dot = std::min(path.find('.', begin), path.size());
    const std::string key = path.substr(begin, dot - begin);
    Json* next = descend(*at, key);
    if (next == nullptr && at->is_array()) {
      refuse(fmt::format("{}: expected a position below {}, got '{}'", path, at->size(), key));
    }
    if (next == nullptr) {
      std::vector<std::string> known = at->is_object() ? keys_of(*at) : std::vector<std::string>{};
      if (at == &scenario["cluster"] && at->is_object() && at->contains("gpus")) {
        for (const Json& row : scenario["cluster"]["gpus"]) known.push_back(kind_of(row));
      }
      refuse(fmt::format("{}: {}", path, unknown_name("field", key, known)));
    }
    at = next;
    begin = dot + 1;
  }
  *at = value;
  if (path == "cluster.network.nic_Gbps") forget_assumed_network(scenario["cluster"]);
}

void read_scenario_file(Request& request) {
  if (!request.scenario_file) return;
  const JsonDocument document = read_json(*request.scenario_file);
  Faults faults;
  const JsonView root(document, faults);
  const auto [texts, lists] = fields_of(request);
  std::vector<std::string> known = {"schema"};
  for (const auto& [key, target] : texts) known.push_back(key);
  for (const auto& [key, target] : lists) known.push_back(key);
  root.only_keys(known);
  root.at("schema").name_of("schema", {"zebroid.request/1"});
  for (const auto& [key, target] : texts) {
    const auto value = root.find(key);
    if (!value || *target) continue;
    *target = text_of(*value);
    request.origin[key] = value->where();
  }
  for (const auto& [key, target] : lists) {
    const auto value = root.find(key);
    const bool both = target == &request.settings;  // the later one of two settings of a field wins
    if (!value || (!both && !target->empty())) continue;
    std::vector<std::string> texts_here;
    for (const JsonView& element : value->elements()) texts_here.push_back(element.text());
    target->insert(target->begin(), texts_here.begin(), texts_here.end());
    if (target->size() == texts_here.size()) request.origin[key] = value->where();
  }
  faults.throw_if_any();
}

Resolver::Resolver(Request request, const std::vector<std::string>& default_strategies)
    : request_(completed(std::move(request))), predictor_(request_.prediction) {
  if (!request_.model.has_value()) {
    refuse("which model? Give --model NAME or a config.json; `zebroid list models`");
  }
  if (!request_.cluster.has_value()) {
    refuse("which GPUs? Give --cluster, as in --cluster 6xA40,6xV100-16GB");
  }
  base_["schema"] = "zebroid.scenario/1";
  read_model_file(*request_.model);
  std::optional<BytesPerSecond> network;
  if (request_.network) {
    network =
        naming(request_.name_of("network"), [&] { return parse_bandwidth(*request_.network); });
  }
  const Cluster cluster = load_cluster(*request_.cluster, network);
  base_["cluster"] = to_json(cluster);
  read_training();
  base_["routing"] = {
      {"spec", request_.routing.value_or("uniform")},
      {"seed", parse_count(request_.name_of("seed"), request_.seed.value_or("0"), 0, INT64_MAX)}};
  calibration_ = load_calibration(request_.calibrations);
  if (request_.strict) {
    strict_ = static_cast<Evidence>(
        parse_choice(request_.name_of("strict"), *request_.strict, evidence_names()));
  }
  read_plans(default_strategies);
}

void Resolver::read_model_file(const std::string& name_or_path) {
  const JsonDocument config = find_model_config(name_or_path);
  const std::string name = model_name_of(name_or_path);
  read_model(config, name);  // here errors can still name the file and its lines
  base_["model_name"] = name;
  base_["model"] = config.root;
}

void Resolver::read_training() {
  constexpr std::uint64_t longest = std::uint64_t{1} << 24U;
  constexpr std::uint64_t most_sequences = std::uint64_t{1} << 32U;
  Training training;
  if (request_.sequence_length) {
    training.sequence_length = static_cast<std::uint32_t>(
        parse_count(request_.name_of("sequence_length"), *request_.sequence_length, 1, longest));
  }
  const std::string batch = request_.global_batch.value_or("auto");
  if (batch == "max") {
    wants_largest_batch_ = true;
  } else if (batch != "auto") {
    training.global_batch_sequences =
        parse_count(request_.name_of("global_batch"), batch, 1, most_sequences);
  }
  Json out = to_json(training);
  if (request_.recompute) out["recompute"] = *request_.recompute;
  if (request_.optimizer) out["optimizer"] = *request_.optimizer;
  base_["training"] = out;
}

void Resolver::read_plans(const std::vector<std::string>& default_strategies) {
  PlanRequest plan;
  plan.microbatches = parse_tuned(request_.name_of("microbatches"), request_.microbatches);
  plan.chunks = parse_tuned(request_.name_of("chunks"), request_.chunks);
  plan.groups = parse_tuned(request_.name_of("groups"), request_.groups);
  if (request_.expert_assignment) {
    plan.assignment = static_cast<ExpertAssignment>(
        parse_choice(request_.name_of("expert_assignment"), *request_.expert_assignment,
                     expert_assignment_names()));
  }
  by_default_ = request_.strategies.empty();
  for (const std::string& name : by_default_ ? default_strategies : request_.strategies) {
    plan.strategy =
        static_cast<Strategy>(parse_choice(request_.name_of("strategy"), name, strategy_names()));
    plans_.push_back(plan);
  }
}

std::string Resolver::title() const {
  return fmt::format("{} on {}", base_["model_name"].get<std::string>(),
                     base_["cluster"]["name"].get<std::string>());
}

std::string Resolver::identity() const {
  Json out;
  Request request = request_;
  const auto [texts, lists] = fields_of(request);
  for (const auto& [key, text] : texts) out["request"][key] = text->value_or("");
  for (const auto& [key, list] : lists) out["request"][key] = *list;
  out["base"] = base_;
  for (const GpuSpec& gpu : gpu_catalogue()) out["gpus"][gpu.name] = to_json(gpu);
  for (const auto& [gpu, known] : calibration_.gpus) {
    out["calibration"].push_back(to_json(known, {gpu}, ""));
  }
  for (const LinkRate& link : calibration_.links) out["links"].push_back(to_json(link));
  std::string text = to_text(out) + identity_of(base_["routing"]["spec"]);
  for (const std::string& setting : request_.settings) {
    text += identity_of(parse_setting(setting).second);
  }
  return text;
}

Resolved Resolver::resolve(const std::vector<std::pair<std::string, Json>>& changes) const {
  Json resolved = base_;
  std::vector<std::pair<std::string, Json>> late;  // calibration follows from the cluster's kinds
  std::vector<std::pair<std::string, Json>> all;
  for (const std::string& setting : request_.settings) all.push_back(parse_setting(setting));
  all.insert(all.end(), changes.begin(), changes.end());
  for (const auto& change : all) {
    if (change.first.starts_with("calibration.")) {
      late.push_back(change);
    } else {
      set_field(resolved, change.first, change.second);
    }
  }
  const JsonDocument with_cluster{"scenario", "", resolved};
  Faults faults;
  const Cluster cluster = read_cluster(JsonView(with_cluster, faults).at("cluster"));
  faults.throw_if_any();
  resolved["calibration"] = to_json(calibration_, cluster.kinds);
  for (const auto& [path, value] : late) set_field(resolved, path, value);
  Resolved out{read_scenario({"scenario", "", std::move(resolved)}), BatchRule::given};
  std::uint64_t& batch = out.scenario.training.global_batch_sequences;
  if (batch > 0) return out;
  out.batch_rule = wants_largest_batch_ ? BatchRule::max : BatchRule::tokens_per_gpu;
  if (!wants_largest_batch_) batch = default_global_batch(out.scenario);
  return out;
}

}  // namespace zebroid
