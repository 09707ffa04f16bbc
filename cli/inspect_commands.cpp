#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>

#include "cli/commands.hpp"
#include "core/error.hpp"
#include "core/file.hpp"
#include "models/config_dir.hpp"
#include "report/table.hpp"
#include "schedule/files.hpp"
#include "schedule/verify.hpp"
#include "traces/topology.hpp"

namespace zebroid {
namespace {

namespace fs = std::filesystem;

// --- verify ---

/// What is wrong with the content of a file; empty when nothing is. Throws when it cannot be read
/// at all.
std::vector<std::string> faults_of(const JsonDocument& document) {
  const std::string schema = document.schema();
  try {
    if (schema == "zebroid.schedule/1") {
      std::vector<std::string> out;
      for (const Fault& fault : verify(read_schedule(document).schedule)) {
        out.push_back(document.name + ": " + fault.message);
      }
      return out;
    }
    Faults faults;
    const JsonView root(document, faults);
    if (schema == "zebroid.timeline/1") {
      read_timeline(document);
    } else if (schema == "zebroid.cluster/1") {
      read_cluster(root);
    } else if (schema == "zebroid.calibration/2") {
      load_calibration({document.name});
    } else if (schema == "zebroid.scenario/1") {
      read_scenario(document);
    } else if (schema == "zebroid.request/1") {
      Request request;
      request.scenario_file = document.name;
      Resolver(std::move(request), {"zebra"}).resolve({});
    } else if (schema.empty()) {
      read_model(document, document.name);
    } else {
      root.at("schema").name_of(
          "schema", {"zebroid.schedule/1", "zebroid.timeline/1", "zebroid.cluster/1",
                     "zebroid.calibration/2", "zebroid.scenario/1", "zebroid.request/1"});
    }
    return faults.all();
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::input) throw;
    return {error.what()};
  }
}

// --- show ---

/// Forward FLOPs of one token at a sequence length, whole model.
Json flops_json(const MoeModel& model, double sequence_length) {
  Flops attention;
  Flops experts;
  for (std::uint32_t l = 0; l < model.layers.size(); ++l) {
    attention += attention_flops(model, l, 1, sequence_length).total() / sequence_length;
    if (model.layers[l].has_experts) experts += expert_flops(model, model.top_k);
  }
  const Flops head = head_flops(model, 1);
  return {{"sequence_length", sequence_length},
          {"attention_flops", attention.value},
          {"expert_flops", experts.value},
          {"head_flops", head.value},
          {"total_flops", (attention + experts + head).value}};
}

/// Layers that are alike, with their parameters.
Json layers_json(const MoeModel& model) {
  Json out = Json::array();
  for (std::uint32_t l = 0; l < model.layers.size(); ++l) {
    const Layer& layer = model.layers[l];
    if (l > 0 && layer == model.layers[l - 1]) {
      out.back()["last"] = l;
      out.back()["count"] = out.back()["count"].get<std::uint32_t>() + 1;
      continue;
    }
    const LayerParameters parameters = layer_parameters(model, l);
    Json entry;
    entry["first"] = l;
    entry["last"] = l;
    entry["count"] = 1;
    entry["kind"] = layer.has_experts ? "experts" : "dense";
    entry["attention"] = layer.attention.latent ? "latent" : "grouped-query";
    entry["heads"] = layer.attention.heads;
    entry["kv_heads"] = layer.attention.kv_heads;
    entry["head_dim"] = layer.attention.head_dim;
    entry["value_dim"] = layer.attention.value_dim;
    entry["window_tokens"] = layer.attention.window;
    entry["dense_ffn"] = layer.dense_ffn;
    entry["shared_ffn"] = layer.shared_ffn;
    entry["attention_parameters"] = parameters.attention;
    entry["router_parameters"] = parameters.router;
    entry["dense_parameters"] = parameters.dense;
    entry["shared_parameters"] = parameters.shared;
    entry["expert_parameters_each"] = parameters.expert;
    out.push_back(std::move(entry));
  }
  return out;
}

Json model_json(const MoeModel& model) {
  Json out;
  out["schema"] = "zebroid.model/1";
  out["name"] = model.name;
  out["model_type"] = model.model_type;
  out["layers"] = model.layers.size();
  out["moe_layers"] = model.moe_layers();
  out["hidden"] = model.hidden;
  out["vocabulary"] = model.vocabulary;
  out["tied_embeddings"] = model.tied_embeddings;
  out["experts"] = model.experts;
  out["top_k"] = model.top_k;
  out["expert_ffn"] = model.expert_ffn;
  out["ffn_matrices"] = model.matrices();
  out["embedding_parameters"] = embedding_parameters(model);
  out["head_parameters"] = head_parameters(model);
  out["total_parameters"] = total_parameters(model);
  out["active_parameters"] = active_parameters(model);
  out["layer_kinds"] = layers_json(model);
  Json& per_token = out["forward_flops_per_token"] = Json::array();
  for (const double length : {4096.0, 16384.0, 65536.0}) {
    per_token.push_back(flops_json(model, length));
  }
  out["notes"] = model.notes;
  return out;
}

std::string model_text(const Json& model) {
  constexpr double billion = 1e9;
  const auto number = [&](const char* key) { return model[key].get<double>(); };
  std::string out = fmt::format(
      "{} ({}): {:.1f} B parameters, {:.1f} B active per token\n"
      "{} layers ({} with experts), hidden {}, vocabulary {}{}\n"
      "{} experts of width {} ({} matrices each), top-{}\n\n",
      model["name"].get<std::string>(), model["model_type"].get<std::string>(),
      number("total_parameters") / billion, number("active_parameters") / billion,
      model["layers"].dump(), model["moe_layers"].dump(), model["hidden"].dump(),
      model["vocabulary"].dump(), model["tied_embeddings"].get<bool>() ? ", tied embeddings" : "",
      model["experts"].dump(), model["expert_ffn"].dump(), model["ffn_matrices"].dump(),
      model["top_k"].dump());
  Table layers({"layers", "kind", "attention", "heads", "kv", "head dim", "window", "dense",
                "shared", "parameters without experts"});
  for (const Json& layer : model["layer_kinds"]) {
    const double shared =
        layer["attention_parameters"].get<double>() + layer["router_parameters"].get<double>() +
        layer["dense_parameters"].get<double>() + layer["shared_parameters"].get<double>();
    layers.add_row({layer["count"].get<int>() == 1
                        ? layer["first"].dump()
                        : layer["first"].dump() + "-" + layer["last"].dump(),
                    layer["kind"].get<std::string>(), layer["attention"].get<std::string>(),
                    layer["heads"].dump(), layer["kv_heads"].dump(), layer["head_dim"].dump(),
                    layer["window_tokens"].get<int>() == 0 ? "-" : layer["window_tokens"].dump(),
                    layer["dense_ffn"].dump(), layer["shared_ffn"].dump(),
                    fmt::format("{:.1f} M", shared / 1e6)});
  }
  out += layers.text() + "\n";
  Table flops({"forward GFLOP per token", "attention side", "experts", "head", "total"});
  for (const Json& row : model["forward_flops_per_token"]) {
    const auto giga = [&](const char* key) {
      return fmt::format("{:.3f}", row[key].get<double>() / billion);
    };
    flops.add_row({fmt::format("at {} tokens", row["sequence_length"].get<int>()),
                   giga("attention_flops"), giga("expert_flops"), giga("head_flops"),
                   giga("total_flops")});
  }
  out += flops.text();
  for (const Json& note : model["notes"]) out += "note: " + note.get<std::string>() + "\n";
  return out;
}

bool contains(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

std::vector<std::string> gpu_names() {
  std::vector<std::string> out;
  for (const GpuSpec& gpu : gpu_catalogue()) out.push_back(gpu.name);
  return out;
}

/// The cluster behind a name or file, or nothing when `what` is neither.
std::optional<Cluster> find_cluster(const std::string& what) {
  if (contains(builtin_names("clusters"), what)) return load_cluster(what, std::nullopt);
  std::error_code ignored;
  if (!fs::is_regular_file(what, ignored)) return std::nullopt;
  const JsonDocument document = read_json(what);
  if (document.schema() != "zebroid.cluster/1") return std::nullopt;
  return load_cluster(what, std::nullopt);
}

std::string lines_of(const Json& json) { return to_text(json, 2) + "\n"; }

/// The topology in a file, or nothing when `what` is no such file.
std::optional<NodeTopology> find_topology(const std::string& what) {
  std::error_code failed;
  if (!fs::is_regular_file(what, failed)) return std::nullopt;
  const auto bytes = fs::file_size(what, failed);
  if (failed || bytes > most_topology_bytes) return std::nullopt;
  const std::string text = read_file(what, most_topology_bytes);
  if (!is_topology(text)) return std::nullopt;
  return read_topology(text, what);
}

std::string joined_text(const GpuSpec& kind) {
  if (kind.link.value <= 0) return "none";
  return kind.link_gpus == 0 ? "all" : fmt::format("{}", kind.link_gpus);
}

/// A cluster of one node, for people.
std::string node_text(const std::string& name, const Cluster& cluster) {
  constexpr double giga = 1e9;
  constexpr double bits_per_byte = 8;
  std::string out = fmt::format("{}: a node\n\n", name);
  Table kinds({"GPUs", "kind", "NVLink joins", "NVLink GB/s", "PCIe GB/s"});
  for (std::size_t i = 0; i < cluster.rows.size(); ++i) {
    const GpuSpec& kind = cluster.kinds[i];  // a row each
    kinds.add_row({fmt::format("{}", cluster.rows[i].count), kind.name, joined_text(kind),
                   fmt::format("{:g}", kind.link.value / giga),
                   fmt::format("{:.4g}", kind.pcie.value / giga)});
  }
  out += kinds.text() + "\n";
  const NodeGroup& row = cluster.rows.front();
  if (row.host_bridge)
    out += fmt::format("host bridge: {:.4g} GB/s\n", row.host_bridge->value / giga);
  if (row.nics) {
    const double rate = row.nic.value_or(cluster.nic).value * bits_per_byte / giga;
    out += fmt::format("NICs: {}, {:g} Gbps together\n", *row.nics, rate);
  }
  for (const std::string& note : cluster.notes) out += "note: " + note + "\n";
  return out;
}

int show_topology(const NodeTopology& topology, const std::string& gpu, const Output& output) {
  const JsonDocument file{.name = topology.name, .text = {}, .root = cluster_file(topology, gpu)};
  Faults faults;
  const Cluster cluster = read_cluster(JsonView(file, faults));
  ensure(faults.empty(), "a topology becomes a sound cluster file");
  print_out(output.json ? lines_of(file.root) : node_text(topology.name, cluster));
  return 0;
}

}  // namespace

int verify_command(const std::vector<std::string>& paths, const Output& output) {
  Json results = Json::array();
  bool all_sound = true;
  std::string text;
  for (const std::string& path : paths) {
    const std::vector<std::string> faults = faults_of(read_json(path));
    all_sound = all_sound && faults.empty();
    results.push_back({{"file", path}, {"sound", faults.empty()}, {"faults", faults}});
    if (faults.empty()) text += path + ": no faults\n";
    for (const std::string& fault : faults) text += fault + "\n";
  }
  const Json document = {{"schema", "zebroid.verify/1"}, {"files", std::move(results)}};
  print_out(output.json ? lines_of(document) : text);
  return all_sound ? 0 : static_cast<int>(ErrorKind::check);
}

int list_command(const std::optional<std::string>& what, const Output& output) {
  const std::vector<std::pair<std::string, std::vector<std::string>>> lists = {
      {"gpus", gpu_names()},
      {"models", builtin_names("models")},
      {"clusters", builtin_names("clusters")},
      {"strategies", strategy_names()},
      {"engines", engine_names()}};
  Json document = {{"schema", "zebroid.list/1"}};
  std::string text;
  std::vector<std::string> known;
  for (const auto& [name, entries] : lists) {
    known.push_back(name);
    if (what && *what != name) continue;
    document[name] = entries;
    text += what ? fmt::format("{}\n", fmt::join(entries, "\n"))
                 : fmt::format("{}: {}\n", name, fmt::join(entries, ", "));
  }
  if (what && !contains(known, *what)) {
    throw Error(ErrorKind::input, unknown_name("list", *what, known));
  }
  print_out(output.json ? lines_of(document) : text);
  return 0;
}

int show_command(const std::string& what, const std::optional<std::string>& gpu,
                 const Output& output) {
  if (const auto topology = find_topology(what)) {
    return show_topology(*topology, gpu.value_or(""), output);
  }
  if (gpu) throw Error(ErrorKind::input, what + ": --gpu goes with the topology of a node");
  if (contains(gpu_names(), what)) {
    Json entry = to_json(find_gpu(what));
    entry["name"] = what;
    print_out(lines_of(entry));
    return 0;
  }
  if (const auto cluster = find_cluster(what)) {
    print_out(lines_of(to_json(*cluster)));
    return 0;
  }
  std::error_code ignored;
  if (!fs::exists(what, ignored) && what.find('/') == std::string::npos) {
    std::vector<std::string> known = builtin_names("models");
    if (!contains(known, what)) {
      for (auto& names : {gpu_names(), builtin_names("clusters")}) {
        known.insert(known.end(), names.begin(), names.end());
      }
      throw Error(ErrorKind::input, unknown_name("model, GPU or cluster", what, known));
    }
  }
  const Json model = model_json(read_model(find_model_config(what), model_name_of(what)));
  print_out(output.json ? lines_of(model) : model_text(model));
  return 0;
}

}  // namespace zebroid
