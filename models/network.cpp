#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <utility>

#include "core/error.hpp"
#include "models/cluster.hpp"

namespace zebroid {
namespace {

using Endpoint = Network::Endpoint;
using MaybePort = std::optional<Port>;

/// Of two ports that carry the same flows the one that decides.
MaybePort narrower(MaybePort a, MaybePort b) {
  if (!a || !b) return a ? a : b;
  return b->bandwidth < a->bandwidth ? b : a;
}

/// Makes the ports of a cluster, but none whose flows all cross another port that is no wider: such
/// a port never decides a rate.
class NetworkBuilder {
 public:
  NetworkBuilder(const Cluster& cluster, const std::vector<LinkRate>& links)
      : cluster_(cluster),
        nodes_(nodes_of(cluster)),
        specs_(gpus_of(cluster)),
        members_(nodes_.size()),
        endpoints_(specs_.size()) {
    for (std::uint32_t g = 0; g < specs_.size(); ++g) members_[specs_[g].node].push_back(g);
    for (const Node& node : nodes_) ++nodes_in_rack_[node.rack];
    const auto reached = [&](Link link, BytesPerSecond all, std::uint32_t count) {
      const LinkEfficiency row = efficiency_of(links, link, all / static_cast<double>(count));
      return Reached{all * row.share, row.evidence};
    };
    for (const Node& node : nodes_) nics_.push_back(reached(Link::nic, node.nic, node.nics));
    for (const GpuSpec& kind : cluster.kinds) {
      nvlinks_.push_back(reached(Link::nvlink, kind.link, 1));
      pcies_.push_back(reached(Link::pcie, kind.pcie, 1));
    }
    build_racks();
    for (std::uint32_t n = 0; n < nodes_.size(); ++n) build_node(n);
  }

  std::vector<Port> take_ports() { return std::move(ports_); }
  std::vector<Endpoint> take_endpoints() { return std::move(endpoints_); }

 private:
  /// Of a stated rate.
  struct Reached {
    BytesPerSecond rate;
    Evidence evidence = Evidence::roofline;
  };
  struct RackPorts {
    std::uint32_t number = 0;
    std::optional<PortId> up;
    std::optional<PortId> down;
  };
  /// What the GPUs of a node share.
  struct Shared {
    bool reaches_others = false;
    MaybePort host_bridge_out;
    MaybePort host_bridge_in;
    MaybePort exit;
    MaybePort entry;
  };

  const GpuSpec& spec(std::uint32_t gpu) const { return cluster_.kinds[specs_[gpu].kind]; }

  static Port port_of(std::string name, const Reached& reached) {
    return {std::move(name), reached.rate, reached.evidence};
  }
  Port pcie_port(std::uint32_t gpu, std::string_view way) const {
    return port_of(fmt::format("gpu{} pcie {}", gpu, way), pcies_[specs_[gpu].kind]);
  }

  std::optional<PortId> add(const MaybePort& port) {
    if (!port) return std::nullopt;
    ports_.push_back(*port);
    return PortId{static_cast<std::uint32_t>(ports_.size() - 1)};
  }

  void build_racks() {
    for (const Rack& rack : cluster_.racks) {
      RackPorts& ports = racks_[rack.name];
      ports.number = static_cast<std::uint32_t>(racks_.size());
      const std::uint32_t inside = nodes_in_rack_[rack.name];
      if (inside == nodes_.size()) continue;                    // nothing leaves it
      if (inside < 2 && nics_in_rack(rack.name) < 2) continue;  // see shared_of
      ports.up = add(Port{fmt::format("rack {} up", rack.name), rack.uplink});
      ports.down = add(Port{fmt::format("rack {} down", rack.name), rack.uplink});
    }
  }

  /// Among how many NICs the GPUs of a node are shared out.
  std::size_t nics_of(std::uint32_t n) const {
    return std::min<std::size_t>(nodes_[n].nics, members_[n].size());
  }

  std::size_t nics_in_rack(const std::string& rack) const {
    std::size_t out = 0;
    for (std::uint32_t n = 0; n < nodes_.size(); ++n)
      out += nodes_[n].rack == rack ? nics_of(n) : 0;
    return out;
  }

  /// A switch joins all GPUs of a node that have NVLink, whatever their kind; a bridge joins
  /// neighbours of one kind. Returns how many GPUs each member reaches this way, itself included.
  std::vector<std::size_t> join_by_nvlink(const std::vector<std::uint32_t>& members) {
    std::map<std::uint32_t, std::uint32_t> seen;                              // of each kind
    std::map<std::pair<std::uint32_t, std::uint32_t>, std::uint32_t> bridge;  // {kind, how-manieth}
    std::map<std::uint32_t, std::size_t> joined;
    std::uint32_t next = 1;  // 0 is the switch
    for (const std::uint32_t g : members) {
      const GpuSpec& gpu = spec(g);
      std::uint32_t& link = endpoints_[g].link;
      if (gpu.link.value <= 0) {
        link = next++;
      } else if (gpu.link_gpus > 0) {
        const std::uint32_t kind = specs_[g].kind;
        const auto [at, is_new] = bridge.try_emplace({kind, seen[kind]++ / gpu.link_gpus}, next);
        if (is_new) ++next;
        link = at->second;
      }
      ++joined[link];
    }
    std::vector<std::size_t> out;
    out.reserve(members.size());
    for (const std::uint32_t g : members) out.push_back(joined[endpoints_[g].link]);
    return out;
  }

  Shared shared_of(std::uint32_t n, bool uses_pcie_inside) const {
    const Node& node = nodes_[n];
    Shared out;
    out.reaches_others = nodes_.size() > 1;
    if (node.host_bridge && uses_pcie_inside) {
      out.host_bridge_out = Port{node.name + " host bridge out", *node.host_bridge};
    }
    if (!out.reaches_others) return out;
    if (nics_of(n) > 1) {  // what they share is a port of its own
      if (node.host_bridge) {
        out.host_bridge_out = Port{node.name + " host bridge out", *node.host_bridge};
        out.host_bridge_in = Port{node.name + " host bridge in", *node.host_bridge};
      }
      return out;
    }
    out.exit = port_of(node.name + " nic out", nics_[n]);
    out.entry = port_of(node.name + " nic in", nics_[n]);
    if (!node.rack.empty() && nodes_in_rack_.at(node.rack) == 1) {
      const auto rack = std::find_if(cluster_.racks.begin(), cluster_.racks.end(),
                                     [&](const Rack& r) { return r.name == node.rack; });
      ensure(rack != cluster_.racks.end(), "every rack that a row names is listed");
      out.exit = narrower(out.exit, Port{fmt::format("rack {} up", rack->name), rack->uplink});
      out.entry = narrower(out.entry, Port{fmt::format("rack {} down", rack->name), rack->uplink});
    }
    if (node.host_bridge) {
      out.entry = narrower(out.entry, Port{node.name + " host bridge in", *node.host_bridge});
      if (!uses_pcie_inside) {
        out.exit = narrower(out.exit, Port{node.name + " host bridge out", *node.host_bridge});
      } else if (out.exit && *node.host_bridge <= out.exit->bandwidth) {
        out.exit.reset();
      }
    }
    return out;
  }

  void build_node(std::uint32_t n) {
    const std::vector<std::uint32_t>& members = members_[n];
    const std::vector<std::size_t> joined = join_by_nvlink(members);
    const bool uses_pcie_inside = std::any_of(
        joined.begin(), joined.end(), [&](std::size_t gpus) { return gpus < members.size(); });
    Shared shared = shared_of(n, uses_pcie_inside);
    if (members.size() == 1 && shared.reaches_others) {
      const std::uint32_t g = members.front();
      shared.exit = narrower(shared.exit, pcie_port(g, "out"));
      shared.entry = narrower(shared.entry, pcie_port(g, "in"));
    }
    const auto rack = racks_.find(nodes_[n].rack);
    Endpoint common{.node = n};
    if (rack != racks_.end()) {
      common.rack = rack->second.number;
      common.rack_up = rack->second.up;
      common.rack_down = rack->second.down;
    }
    common.host_bridge_out = add(shared.host_bridge_out);
    common.host_bridge_in = add(shared.host_bridge_in);
    const std::size_t nics = nics_of(n);
    for (std::size_t nic = 0, i = 0; nic < nics; ++nic) {
      if (nics > 1) set_nic(n, nic, shared);
      common.exit = add(shared.exit);
      common.entry = add(shared.entry);
      for (; i < members.size() && i * nics / members.size() == nic; ++i) {
        Endpoint& endpoint = endpoints_[members[i]];
        common.link = endpoint.link;
        endpoint = common;
        if (joined[i] > 1) add_link(members[i]);
        if (members.size() > 1) add_pcie(members[i], uses_pcie_inside, shared);
      }
    }
  }

  /// One NIC of several: its share of the bandwidth.
  void set_nic(std::uint32_t n, std::size_t nic, Shared& shared) const {
    if (!shared.reaches_others) return;
    const Node& node = nodes_[n];
    const Reached share{nics_[n].rate / static_cast<double>(nics_of(n)), nics_[n].evidence};
    shared.exit = port_of(fmt::format("{} nic{} out", node.name, nic), share);
    shared.entry = port_of(fmt::format("{} nic{} in", node.name, nic), share);
  }

  void add_link(std::uint32_t g) {
    const Reached& nvlink = nvlinks_[specs_[g].kind];
    endpoints_[g].link_out = add(port_of(fmt::format("gpu{} nvlink out", g), nvlink));
    endpoints_[g].link_in = add(port_of(fmt::format("gpu{} nvlink in", g), nvlink));
  }

  void add_pcie(std::uint32_t g, bool uses_it_inside, const Shared& shared) {
    if (!uses_it_inside && !shared.reaches_others) return;
    const BytesPerSecond pcie = pcies_[specs_[g].kind].rate;
    const auto decides = [&](const MaybePort& other) { return other && other->bandwidth <= pcie; };
    const bool none_inside = !uses_it_inside;  // then all its flows cross exit and entry
    if (!decides(shared.host_bridge_out) && !(none_inside && decides(shared.exit))) {
      endpoints_[g].pcie_out = add(pcie_port(g, "out"));
    }
    if (!(none_inside && decides(shared.entry))) {
      endpoints_[g].pcie_in = add(pcie_port(g, "in"));
    }
  }

  const Cluster& cluster_;
  std::vector<Node> nodes_;
  std::vector<Gpu> specs_;
  std::vector<Reached> nics_;                        // [nodes] all of a node together
  std::vector<Reached> nvlinks_;                     // [kinds]
  std::vector<Reached> pcies_;                       // [kinds]
  std::vector<std::vector<std::uint32_t>> members_;  // [nodes]
  std::vector<Endpoint> endpoints_;                  // [gpus]
  std::map<std::string, std::uint32_t> nodes_in_rack_;
  std::map<std::string, RackPorts> racks_;
  std::vector<Port> ports_;
};

}  // namespace

Network::Network(const Cluster& cluster, const std::vector<LinkRate>& links, Seconds latency)
    : latency_(latency) {
  NetworkBuilder builder(cluster, links);
  ports_ = builder.take_ports();
  endpoints_ = builder.take_endpoints();
}

Network::Network(std::vector<Port> ports, const std::vector<std::vector<PortId>>& paths,
                 std::uint32_t gpus, Seconds latency)
    : ports_(std::move(ports)), latency_(latency), gpus_(gpus) {
  ensure(paths.size() == std::size_t{gpus} * gpus, "there is a path for every pair of GPUs");
  for (const std::vector<PortId>& ids : paths) {
    ensure(ids.size() <= Path::most, "a path has at most 8 ports");
    Path& path = explicit_paths_.emplace_back();
    for (const PortId port : ids) {
      ensure(port.value < ports_.size(), "a path's ports exist");
      path.push_back(port);
      if (path.size() == (ids.size() + 1) / 2) path.reach_receiver();
    }
  }
}

Path Network::path(GpuId from, GpuId to) const {
  if (endpoints_.empty()) return explicit_paths_.at(std::size_t{from.value} * gpus_ + to.value);
  Path out;
  if (from == to) return out;
  const Endpoint& a = endpoints_.at(from.value);
  const Endpoint& b = endpoints_.at(to.value);
  const auto cross = [&](std::optional<PortId> port) {
    if (port) out.push_back(*port);
  };
  if (a.node == b.node && a.link == b.link) {
    cross(a.link_out);
    out.reach_receiver();
    cross(b.link_in);
    return out;
  }
  cross(a.pcie_out);
  cross(a.host_bridge_out);
  if (a.node != b.node) {
    cross(a.exit);
    if (a.rack != b.rack) cross(a.rack_up);
    out.reach_receiver();
    if (a.rack != b.rack) cross(b.rack_down);
    cross(b.entry);
    cross(b.host_bridge_in);
  } else {
    out.reach_receiver();
  }
  cross(b.pcie_in);
  return out;
}

}  // namespace zebroid
