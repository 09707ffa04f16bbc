#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/id.hpp"
#include "core/json.hpp"
#include "core/units.hpp"
#include "models/evidence.hpp"
#include "models/gpu.hpp"
#include "models/link_rates.hpp"

namespace zebroid {

inline constexpr std::uint32_t most_gpus = 65536;  ///< of a cluster

/// Nodes that are alike. Rates are per direction; nothing = not a limit of its own.
struct NodeGroup {
  std::string gpu;                  ///< name in Cluster::kinds
  std::uint32_t count = 0;          ///< GPUs in all nodes of this row; 0 is legal
  std::uint32_t gpus_per_node = 1;  ///< the last node may have fewer
  std::string node;  ///< rows with the same non-empty name share ONE node (of several kinds)
  std::optional<BytesPerSecond> nic;  ///< all NICs of a node together; default Cluster::nic
  std::optional<std::uint32_t>
      nics;  ///< how many they are; each serves equally many GPUs; default 1
  /// Shared by all traffic of the node that crosses its PCIe root.
  std::optional<BytesPerSecond> host_bridge;
  std::string rack;  ///< name in Cluster::racks; "" = in no rack

  friend bool operator==(const NodeGroup&, const NodeGroup&) = default;
};

struct Rack {
  std::string name;
  BytesPerSecond uplink;  ///< each way, shared by all that enters or leaves the rack

  friend bool operator==(const Rack&, const Rack&) = default;
};

struct Cluster {
  std::string name;
  std::vector<GpuSpec> kinds;  ///< every kind that a row names, in order of first use
  std::vector<NodeGroup> rows;
  std::vector<Rack> racks;
  BytesPerSecond nic;              ///< default of the rows
  Seconds latency;                 ///< of an exchange, from launch to first byte, occupying nothing
  std::vector<std::string> notes;  ///< assumptions made, for people

  friend bool operator==(const Cluster&, const Cluster&) = default;
};

/// One GPU of the cluster; GpuId counts through rows, then nodes, then GPUs.
struct Gpu {
  std::uint32_t kind = 0;  ///< index into Cluster::kinds
  std::uint32_t node = 0;  ///< index into nodes_of(cluster)
};
std::vector<Gpu> gpus_of(const Cluster& cluster);

/// A node that has GPUs, with all that its rows say about it.
struct Node {
  std::string name;    ///< as in the rows, else "node3"
  BytesPerSecond nic;  ///< of all `nics` together
  std::uint32_t nics = 1;
  std::optional<BytesPerSecond> host_bridge;
  std::string rack;  ///< "" = in no rack
};
std::vector<Node> nodes_of(const Cluster& cluster);

/// A JSON file, a name under configs/clusters, or "6xA40,6xV100-16GB" and "2x8xA100-80GB" (2 nodes
/// of 8), in this order. `network` replaces what every node has as NIC. Throws Error(input).
Cluster load_cluster(const std::string& file_or_name_or_shorthand,
                     std::optional<BytesPerSecond> network);
/// The cluster is sound when no faults were added.
Cluster read_cluster(const JsonView& view);
Json to_json(const Cluster& cluster);  ///< complete; read_cluster gives back an equal cluster
/// Among the notes of a cluster whose network nobody stated.
std::string assumed_network_note();

/// "100Gbps", "12.5GB/s", "400 Gbit/s" -> bytes per second, above 0. A bare number is refused: Gb
/// and GB differ eightfold. Throws Error(input).
BytesPerSecond parse_bandwidth(const std::string& text);

/// What transfers share.
struct Port {
  std::string name;  ///< "gpu3 nvlink out", "node1 nic in", "rack r0 up"
  BytesPerSecond bandwidth;
  Evidence evidence = Evidence::roofline;  ///< of the bandwidth; roofline where it is as stated
};

/// The ports that bytes from one GPU to another cross, sender's first.
class Path {
 public:
  static constexpr std::size_t most = 8;

  /// Requires size() < most.
  void push_back(PortId port) { ports_.at(size_++) = port; }
  /// Ports added from now on are the receiver's.
  void reach_receiver() { sender_ports_ = size_; }
  /// The first of them are the sender's: the same for all receivers equally far away.
  std::size_t sender_ports() const { return sender_ports_; }
  const PortId* begin() const { return ports_.data(); }
  const PortId* end() const { return ports_.data() + size_; }
  std::size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  PortId operator[](std::size_t i) const { return ports_[i]; }

  friend bool operator==(const Path& a, const Path& b) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end());
  }

 private:
  std::array<PortId, most> ports_{};
  std::uint8_t size_ = 0;
  std::uint8_t sender_ports_ = 0;
};

/// Ports with a bandwidth each, and for every ordered pair of GPUs those that its bytes cross:
/// within a node both NVLinks or else PCIe and host bridge; between nodes PCIe, host bridge, NIC
/// and rack links. A port that can never be the tightest is left out: all its flows cross another
/// one that is no wider.
class Network {
 public:
  /// At the rates that the cluster states, with its latency.
  explicit Network(const Cluster& cluster) : Network(cluster, {}, cluster.latency) {}
  /// NVLinks, PCIe and NICs at the share of their stated rates that `links` says they reach.
  Network(const Cluster& cluster, const std::vector<LinkRate>& links, Seconds latency);
  /// From ports and an explicit path for every ordered pair (tests): paths[from * gpus + to]. The
  /// first half of a path's ports is the sender's.
  Network(std::vector<Port> ports, const std::vector<std::vector<PortId>>& paths,
          std::uint32_t gpus, Seconds latency);

  const std::vector<Port>& ports() const { return ports_; }
  /// At least one port; empty when from == to. O(1).
  Path path(GpuId from, GpuId to) const;
  Seconds latency() const { return latency_; }
  /// From now on a port has `factor` times its bandwidth.
  void scale(PortId port, double factor) {
    ports_.at(port.value).bandwidth = ports_[port.value].bandwidth * factor;
  }

  /// What the network knows of one GPU.
  struct Endpoint {
    std::uint32_t node = 0;
    std::uint32_t link = 0;  ///< GPUs of a node with the same number are joined by NVLink
    std::uint32_t rack = 0;  ///< no rack link lies between GPUs with the same number
    std::optional<PortId> link_out, link_in;
    std::optional<PortId> pcie_out, pcie_in;
    std::optional<PortId> host_bridge_out;  ///< crossed by traffic within the node too
    std::optional<PortId> exit, entry;      ///< between nodes
    std::optional<PortId> host_bridge_in;   ///< between nodes, where an entry does not speak for it
    std::optional<PortId> rack_up, rack_down;
  };

 private:
  std::vector<Port> ports_;
  Seconds latency_;
  std::vector<Endpoint> endpoints_;   // empty where paths were given
  std::vector<Path> explicit_paths_;  // [from * gpus + to]; empty when made from a cluster
  std::uint32_t gpus_ = 0;
};

}  // namespace zebroid
