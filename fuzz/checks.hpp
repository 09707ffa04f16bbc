#pragma once

#include <cmath>
#include <cstdlib>

#include "core/error.hpp"
#include "fuzz/target.hpp"
#include "models/cluster.hpp"
#include "traces/readers.hpp"
#include "traces/topology.hpp"

namespace zebroid::fuzz {

/// Ends the program when `holds` is false: the fuzzer keeps the input.
inline void require(bool holds) {
  if (!holds) std::abort();
}

/// Every sample can be fitted, written and read again, and complaints are few.
inline void check_samples(const Samples& read) {
  require(read.complaints.size() <= most_complaints + 1);
  for (const Sample& sample : read.samples) {
    require(std::isfinite(sample.time.value) && sample.time.value > 0);
    require(sample.repeats > 0 && std::isfinite(sample.scatter) && sample.scatter >= 0);
    const std::size_t axes = axes_of(sample.op).size();
    for (std::size_t i = 0; i < most_axes; ++i) {
      require(std::isfinite(sample.shape[i]));
      require(i < axes ? sample.shape[i] > 0 : sample.shape[i] == 0);
    }
  }
  const Samples again = read_samples(to_ndjson(read.samples), "again");
  require(again.complaints.empty() && again.samples.size() == read.samples.size());
}

/// What a topology becomes is a sound cluster with the same GPUs, and so is what that is written
/// as. Only the person's input may be refused, with a kind or without.
template <class Read>
void check_topology(Read read) {
  for (const char* gpu : {"", "A40", "V100-SXM2-16GB"}) {
    try {
      const NodeTopology topology = read();
      const JsonDocument file{.name = "node", .text = {}, .root = cluster_file(topology, gpu)};
      Faults faults;
      const Cluster cluster = read_cluster(JsonView(file, faults));
      require(faults.empty());
      require(gpus_of(cluster).size() == topology.gpus.size() && nodes_of(cluster).size() == 1);
      const JsonDocument again = parse_json(to_text(to_json(cluster)), "again");
      require(read_cluster(JsonView(again, faults)) == cluster && faults.empty());
      const Network network(cluster);
      require(!network.ports().empty() || topology.gpus.size() == 1);
    } catch (const Error& error) {
      require(error.kind() == ErrorKind::input);
    }
  }
}

}  // namespace zebroid::fuzz
