#include "models/cluster.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "core/error.hpp"
#include "models/scaled.hpp"

namespace zebroid {
namespace {

constexpr double giga = 1e9;
constexpr double bits_per_byte = 8;
constexpr double default_nic_Gbps = 100;
/// All-to-all of 256 B over 8 GPUs, NCCL 2.27 (aiconfigurator's tables): A100 15.8 us, L40S 12.0
/// us.
constexpr double default_latency_us = 15;
constexpr std::size_t enough_faults = 25;  // nobody reads more, and each costs a look at the text

double of_gigabits(double number) { return number * giga / bits_per_byte; }
double of_gigabytes(double number) { return number * giga; }
double of_microseconds(double number) { return number / 1e6; }

BytesPerSecond read_gigabits(const JsonView& view) {
  return {of_gigabits(view.number(least_giga, most_giga * bits_per_byte))};
}

Json in_gigabits(BytesPerSecond rate) {
  return as_written(rate.value, rate.value * bits_per_byte / giga, of_gigabits);
}

void check_name(const std::string& name, const JsonView& view) {
  constexpr std::size_t longest = 256;
  const bool printable = std::none_of(name.begin(), name.end(),
                                      [](unsigned char c) { return c < ' ' || c == '\x7f'; });
  if (!name.empty() && name.size() <= longest && printable) return;
  view.fault(fmt::format("expected a name of 1 to {} bytes without control characters", longest));
}

std::string read_name(const JsonView& view) {
  std::string name = view.text();
  if (view.json().is_string()) check_name(name, view);
  return name;
}

bool is_known(const std::string& name, const std::vector<Rack>& racks) {
  return std::any_of(racks.begin(), racks.end(), [&](const Rack& r) { return r.name == name; });
}

std::vector<std::string> names_of(const std::vector<Rack>& racks) {
  std::vector<std::string> out;
  out.reserve(racks.size());
  for (const Rack& rack : racks) out.push_back(rack.name);
  return out;
}

std::vector<Rack> read_racks(const JsonView& view) {
  std::vector<Rack> out;
  constexpr std::size_t most_racks = 1024;
  for (const JsonView& rack : view.elements(most_racks)) {
    if (view.faults().all().size() >= enough_faults) break;
    rack.only_keys({"name", "uplink_Gbps"});
    Rack read{.name = read_name(rack.at("name")), .uplink = read_gigabits(rack.at("uplink_Gbps"))};
    if (is_known(read.name, out)) {
      rack.at("name").fault(fmt::format("rack '{}' is listed twice", read.name));
    } else {
      out.push_back(std::move(read));
    }
  }
  return out;
}

/// Whether there is a rate for every node.
bool read_network(const JsonView& root, Cluster& cluster) {
  constexpr double most_latency_us = 1e6;
  cluster.nic = {of_gigabits(default_nic_Gbps)};
  cluster.latency = {of_microseconds(default_latency_us)};
  const auto network = root.find("network");
  if (!network) return false;
  network->only_keys({"nic_Gbps", "latency_us", "racks"});
  const auto nic = network->find("nic_Gbps");
  if (nic) cluster.nic = read_gigabits(*nic);
  if (const auto latency = network->find("latency_us")) {
    cluster.latency = {of_microseconds(latency->number(0, most_latency_us))};
  }
  if (const auto racks = network->find("racks")) cluster.racks = read_racks(*racks);
  return nic.has_value();
}

/// The file's own kinds, then those of the catalogue that they do not replace.
std::vector<GpuSpec> known_kinds(const JsonView& root) {
  constexpr std::size_t most = 256;
  std::vector<GpuSpec> out;
  if (const auto kinds = root.find("kinds")) {
    const auto members = kinds->members();
    if (members.size() > most) kinds->fault(fmt::format("expected at most {} kinds", most));
    for (std::size_t i = 0; i < std::min(members.size(), most); ++i) {
      const auto& [name, view] = members[i];
      check_name(name, view);
      out.push_back(read_gpu(view, name));
    }
  }
  const std::size_t own = out.size();
  for (const GpuSpec& gpu : gpu_catalogue()) {
    const auto end = out.begin() + static_cast<std::ptrdiff_t>(own);
    const bool replaced =
        std::any_of(out.begin(), end, [&](const GpuSpec& mine) { return mine.name == gpu.name; });
    if (!replaced) out.push_back(gpu);
  }
  return out;
}

/// The name of a known kind, which becomes one of the cluster's.
std::string read_kind(const JsonView& view, const std::vector<GpuSpec>& known, Cluster& cluster) {
  std::string name = view.text();
  const auto found = position_of(name, known);
  if (!found) {
    if (view.json().is_string()) view.fault(unknown_gpu(name, known));
    return name;
  }
  const GpuSpec& kind = known[*found];
  const bool is_new = std::none_of(cluster.kinds.begin(), cluster.kinds.end(),
                                   [&](const GpuSpec& have) { return have.name == kind.name; });
  if (is_new) cluster.kinds.push_back(kind);
  return kind.name;
}

/// Adds the row; returns how many GPUs it states, which may be beyond all limits.
double read_row(const JsonView& view, const std::vector<GpuSpec>& known, Cluster& cluster) {
  constexpr std::int64_t most_stated = 1'000'000'000'000'000'000;
  view.only_keys(
      {"kind", "count", "gpus_per_node", "node", "nic_Gbps", "nics", "host_bridge_GBps", "rack"});
  NodeGroup row;
  row.gpu = read_kind(view.at("kind"), known, cluster);
  const std::int64_t count = view.at("count").integer(0, most_stated);
  row.count = static_cast<std::uint32_t>(std::min<std::int64_t>(count, most_gpus));
  if (const auto node = view.find("node")) {
    row.node = read_name(*node);
    row.gpus_per_node = std::max(row.count, 1U);
  }
  if (const auto per_node = view.find("gpus_per_node")) {
    const std::int64_t stated = per_node->integer(1, most_stated);
    row.gpus_per_node = static_cast<std::uint32_t>(std::min<std::int64_t>(stated, most_gpus));
    if (!row.node.empty() && count > stated) {
      per_node->fault(fmt::format("'{}' is one node, but count is {}", row.node, count));
    }
  }
  if (const auto nic = view.find("nic_Gbps")) row.nic = read_gigabits(*nic);
  if (const auto nics = view.find("nics")) {
    constexpr std::int64_t most_nics = 256;
    row.nics = static_cast<std::uint32_t>(nics->integer(1, most_nics));
  }
  if (const auto bridge = view.find("host_bridge_GBps")) {
    row.host_bridge = BytesPerSecond{of_gigabytes(bridge->number(least_giga, most_giga))};
  }
  if (const auto rack = view.find("rack")) {
    row.rack = read_name(*rack);
    if (rack->json().is_string() && !is_known(row.rack, cluster.racks)) {
      rack->fault(unknown_name("rack", row.rack, names_of(cluster.racks)) +
                  "; racks are listed under network.racks");
    }
  }
  cluster.rows.push_back(std::move(row));
  return static_cast<double>(count);
}

template <class T>
bool join(std::optional<T>& known, const std::optional<T>& said) {
  if (!known) {
    known = said;
    return true;
  }
  return !said || *known == *said;
}

/// Adds what `row` says about its node to what is known; names the key that contradicts it.
std::optional<std::string_view> join(NodeGroup& known, const NodeGroup& row) {
  if (!join(known.nic, row.nic)) return "nic_Gbps";
  if (!join(known.nics, row.nics)) return "nics";
  if (!join(known.host_bridge, row.host_bridge)) return "host_bridge_GBps";
  if (known.rack.empty()) known.rack = row.rack;
  if (!row.rack.empty() && known.rack != row.rack) return "rack";
  return std::nullopt;
}

void check_shared_nodes(const std::vector<JsonView>& views, const Cluster& cluster) {
  std::map<std::string, NodeGroup> nodes;
  for (std::size_t i = 0; i < cluster.rows.size(); ++i) {
    const NodeGroup& row = cluster.rows[i];
    if (row.node.empty()) continue;
    const auto key = join(nodes.try_emplace(row.node, row).first->second, row);
    if (key) views[i].at(*key).fault(fmt::format("an earlier row of '{}' differs", row.node));
  }
}

void read_rows(const JsonView& root, Cluster& cluster) {
  const std::vector<GpuSpec> known = known_kinds(root);
  const std::size_t faults = root.faults().all().size();
  const JsonView rows = root.at("gpus");
  const std::vector<JsonView> views = rows.elements(most_gpus);
  double total = 0;
  for (const JsonView& row : views) {
    if (root.faults().all().size() >= faults + enough_faults) return;
    total += read_row(row, known, cluster);
  }
  if (total > most_gpus) {
    rows.fault(
        fmt::format("expected at most {} GPUs in the cluster, got {:.0f}", most_gpus, total));
  } else if (total == 0 && root.faults().all().size() == faults) {
    rows.fault("expected at least one GPU in the cluster");
  }
  check_shared_nodes(views, cluster);
}

struct Layout {
  std::vector<Node> nodes;
  std::vector<Gpu> gpus;
};

Layout lay_out(const Cluster& cluster) {
  std::map<std::string, NodeGroup> shared;
  for (const NodeGroup& row : cluster.rows) {
    if (!row.node.empty()) join(shared.try_emplace(row.node, row).first->second, row);
  }
  Layout out;
  const auto add_node = [&](const NodeGroup& row) {
    out.nodes.push_back(
        {.name = row.node.empty() ? fmt::format("node{}", out.nodes.size()) : row.node,
         .nic = row.nic.value_or(cluster.nic),
         .nics = row.nics.value_or(1),
         .host_bridge = row.host_bridge,
         .rack = row.rack});
    return static_cast<std::uint32_t>(out.nodes.size() - 1);
  };
  std::map<std::string, std::uint32_t> placed;
  for (const NodeGroup& row : cluster.rows) {
    const auto kind = std::find_if(cluster.kinds.begin(), cluster.kinds.end(),
                                   [&](const GpuSpec& gpu) { return gpu.name == row.gpu; });
    ensure(kind != cluster.kinds.end(), "every row's GPU is one of the cluster's kinds");
    Gpu gpu{.kind = static_cast<std::uint32_t>(kind - cluster.kinds.begin())};
    for (std::uint32_t i = 0; i < row.count; ++i) {
      if (!row.node.empty()) {
        if (!placed.contains(row.node)) placed[row.node] = add_node(shared.at(row.node));
        gpu.node = placed[row.node];
      } else if (i % row.gpus_per_node == 0) {
        gpu.node = add_node(row);
      }
      out.gpus.push_back(gpu);
    }
  }
  return out;
}

Json to_json(const NodeGroup& row) {
  Json out = {{"kind", row.gpu}, {"count", row.count}};
  const bool is_default = row.gpus_per_node == (row.node.empty() ? 1U : std::max(row.count, 1U));
  if (!is_default) out["gpus_per_node"] = row.gpus_per_node;
  if (!row.node.empty()) out["node"] = row.node;
  if (row.nic) out["nic_Gbps"] = in_gigabits(*row.nic);
  if (row.nics) out["nics"] = *row.nics;
  if (row.host_bridge) {
    const double rate = row.host_bridge->value;
    out["host_bridge_GBps"] = as_written(rate, rate / giga, of_gigabytes);
  }
  if (!row.rack.empty()) out["rack"] = row.rack;
  return out;
}

}  // namespace

std::string assumed_network_note() {
  return fmt::format("no network given: {} Gbps per node assumed", default_nic_Gbps);
}

std::vector<Gpu> gpus_of(const Cluster& cluster) { return lay_out(cluster).gpus; }
std::vector<Node> nodes_of(const Cluster& cluster) { return lay_out(cluster).nodes; }

Cluster read_cluster(const JsonView& view) {
  view.only_keys({"schema", "name", "gpus", "network", "kinds", "notes"});
  view.at("schema").name_of("schema", {"zebroid.cluster/1"});
  Cluster out;
  if (const auto name = view.find("name")) out.name = read_name(*name);
  constexpr std::size_t most_notes = 100;
  const bool states_network = read_network(view, out);
  read_rows(view, out);
  if (const auto notes = view.find("notes")) {
    for (const JsonView& note : notes->elements(most_notes)) out.notes.push_back(note.text());
  }
  const bool assumes_network =
      std::any_of(out.rows.begin(), out.rows.end(), [](const NodeGroup& row) { return !row.nic; });
  if (!states_network && assumes_network) out.notes.push_back(assumed_network_note());
  return out;
}

Json to_json(const Cluster& cluster) {
  Json out = {{"schema", "zebroid.cluster/1"}};
  if (!cluster.name.empty()) out["name"] = cluster.name;
  out["gpus"] = Json::array();
  for (const NodeGroup& row : cluster.rows) out["gpus"].push_back(to_json(row));
  Json& network = out["network"];
  const double latency = cluster.latency.value;
  network["nic_Gbps"] = in_gigabits(cluster.nic);
  network["latency_us"] = as_written(latency, latency * 1e6, of_microseconds);
  for (const Rack& rack : cluster.racks) {
    network["racks"].push_back({{"name", rack.name}, {"uplink_Gbps", in_gigabits(rack.uplink)}});
  }
  for (const GpuSpec& kind : cluster.kinds) out["kinds"][kind.name] = to_json(kind);
  if (!cluster.notes.empty()) out["notes"] = cluster.notes;
  return out;
}

}  // namespace zebroid
