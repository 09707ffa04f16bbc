#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "models/cluster.hpp"
#include "schedule/load.hpp"
#include "schedule/schedule.hpp"
#include "sim/fold.hpp"
#include "sim/max_min.hpp"

namespace zebroid {

/// Messages of exchanges that are alike, one flow for all that a fold takes together.
struct Flows {
  struct Flow {
    std::uint32_t from = 0;  ///< class of ranks
    std::uint32_t to = 0;
    double bytes = 0;  ///< of one message
    std::uint32_t first_crossing = 0;
    std::uint32_t crossings = 0;
  };
  std::vector<Flow> all;
  std::vector<Crossing> crossings;  ///< of classes of ports, weighted by messages on one port

  Crossings of(const Flow& flow) const {
    return std::span(crossings).subspan(flow.first_crossing, flow.crossings);
  }
};

/// The flows of some wires, which a fold says are alike.
Flows make_flows(const Schedule& schedule, const Network& network, const Fold& fold,
                 std::span<const Wire* const> wires);

/// Lets flows run alone, at max-min fair rates, until they or the time end.
class Filling {
 public:
  /// For at most `most_flows` at once.
  Filling(std::vector<double> bandwidths, std::size_t most_flows);

  /// From the start to `until`, in seconds. Flows that would end within `batch` of the time passed
  /// after one that ends count as ended with it, each at its own time: 0 is exact. Allocates
  /// nothing.
  void run(const Flows& flows, double until, double batch);
  double ended(std::size_t flow) const { return ended_[flow]; }  ///< infinity when it has not
  double left(std::size_t flow) const { return left_[flow]; }    ///< bytes

 private:
  MaxMin max_min_;
  std::vector<std::uint32_t> open_;
  std::vector<Crossings> paths_;
  std::vector<double> rates_;
  std::vector<double> left_;
  std::vector<double> ended_;
};

}  // namespace zebroid
