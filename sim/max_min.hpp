#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "models/cluster.hpp"

namespace zebroid {

/// Max-min fair rates of flows over ports: no flow can go faster without slowing one that is no
/// faster than it.
class MaxMin {
 public:
  /// The ports outlive this.
  explicit MaxMin(std::span<const Port> ports);

  /// rates[i] becomes the rate of the flow over paths[i], in bytes/s; every path has at least one
  /// port. Shares that agree to 1e-12 are one share, so that symmetric flows get bit-equal rates.
  /// O(distinct shares * flows).
  void solve(std::span<const Path* const> paths, std::span<double> rates);

 private:
  void begin(std::span<const Path* const> paths);

  std::span<const Port> ports_;
  std::vector<double> left_;            // [ports] bandwidth that no fixed flow uses
  std::vector<std::uint32_t> flows_;    // [ports] flows that are not fixed yet
  std::vector<char> tight_;             // [ports]
  std::vector<std::uint32_t> touched_;  // ports that any flow crosses
  std::vector<std::uint32_t> open_;     // flows that are not fixed yet
};

}  // namespace zebroid
