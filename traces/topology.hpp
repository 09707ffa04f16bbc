#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/json.hpp"
#include "core/units.hpp"

namespace zebroid {

/// How the GPUs and NICs of one node are connected, as far as a file says it.
struct NodeTopology {
  struct Gpu {
    std::string kind;                       ///< catalogue name; "" = the file does not name it
    double compute_capability = 0;          ///< 0 = not said
    std::uint32_t switch_links = 0;         ///< NVLinks to switches
    std::vector<std::uint32_t> peer_links;  ///< NVLinks to each GPU of the node, 0 to itself
    std::optional<BytesPerSecond> pcie;     ///< per direction
  };
  struct Nic {
    std::string name;
    bool near_gpu = false;               ///< behind the PCIe switch of a GPU
    std::optional<BytesPerSecond> rate;  ///< per direction
  };

  std::string name;  ///< the file
  std::vector<Gpu> gpus;
  std::vector<Nic> nics;
  bool says_links = false;                    ///< whether no NVLinks means that there are none
  std::optional<BytesPerSecond> host_bridge;  ///< of the PCIe switch above all GPUs
  std::vector<std::string> notes;             ///< what was left out or assumed, for people
};

inline constexpr std::size_t most_topology_bytes = std::size_t{16} << 20U;
inline constexpr std::size_t most_devices = 256;  ///< GPUs, and NICs, of a node

/// Whether a text looks like either of these formats.
bool is_topology(std::string_view text);
/// What `nvidia-smi topo -m` prints. Throws Error(input) with file and line for what cannot be
/// understood; so does the next.
NodeTopology read_topology_matrix(std::string_view text, const std::string& name);
/// What NCCL writes to NCCL_TOPO_DUMP_FILE and reads from NCCL_TOPO_FILE.
NodeTopology read_topology_xml(std::string_view text, const std::string& name);
/// Either of them.
NodeTopology read_topology(std::string_view text, const std::string& name);

/// The node as a cluster file, which read_cluster takes. `gpu` is the kind of GPUs that the
/// topology does not name. Throws Error(input) when that is needed and "", is unknown, or
/// contradicts the topology.
Json cluster_file(const NodeTopology& topology, const std::string& gpu);

}  // namespace zebroid
