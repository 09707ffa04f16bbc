#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "models/cluster.hpp"

namespace zebroid {

/// A port that a flow crosses. `weight`: how much of the port's bandwidth the flow takes for each
/// unit of its rate; 1 for a flow alone, n where it stands for n flows that all cross the port.
struct Crossing {
  std::uint32_t port = 0;
  double weight = 1;
};
using Crossings = std::span<const Crossing>;  ///< of one flow; a port at most once

/// Max-min fair rates of flows over ports: no flow can go faster without slowing one that is no
/// faster than it.
class MaxMin {
 public:
  MaxMin() = default;
  /// For at most `flows` flows at once.
  MaxMin(std::vector<double> bandwidths, std::size_t flows);

  /// rates[i] becomes the rate of flows[i], at most most[i] where there is a `most`; without, every
  /// flow crosses at least one port. Shares that agree to 1e-12 are one share, so that symmetric
  /// flows get bit-equal rates. O(distinct shares * flows); allocates nothing.
  void solve(std::span<const Crossings> flows, std::span<double> rates,
             std::span<const double> most = {});

 private:
  void begin(std::span<const Crossings> flows);
  /// Rounding may leave less than nothing of small weights beside large ones.
  bool is_open(std::uint32_t port) const { return open_on_[port] > 0 && weight_[port] > 0; }
  double least_share() const;
  void mark_tight_ports(double share);
  void take(Crossings flow, double rate);

  std::vector<double> bandwidths_;      // [ports]
  std::vector<double> left_;            // [ports] bandwidth that no fixed flow uses
  std::vector<double> weight_;          // [ports] of flows that are not fixed yet
  std::vector<std::uint32_t> open_on_;  // [ports] flows that are not fixed yet
  std::vector<char> tight_;             // [ports]
  std::vector<std::uint32_t> touched_;  // ports that any flow crosses
  std::vector<std::uint32_t> open_;     // flows that are not fixed yet
};

}  // namespace zebroid
