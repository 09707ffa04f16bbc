#include "sim/max_min.hpp"

#include <algorithm>
#include <limits>

namespace zebroid {

MaxMin::MaxMin(std::vector<double> bandwidths, std::size_t flows)
    : bandwidths_(std::move(bandwidths)),
      left_(bandwidths_.size()),
      weight_(bandwidths_.size(), 0),
      open_on_(bandwidths_.size(), 0),
      tight_(bandwidths_.size(), 0) {
  touched_.reserve(bandwidths_.size());
  open_.reserve(flows);
}

void MaxMin::begin(std::span<const Crossings> flows) {
  touched_.clear();
  open_.clear();
  for (std::uint32_t f = 0; f < flows.size(); ++f) {
    open_.push_back(f);
    for (const auto& [port, weight] : flows[f]) {
      if (open_on_[port]++ == 0) {
        touched_.push_back(port);
        left_[port] = bandwidths_[port];
        weight_[port] = 0;
      }
      weight_[port] += weight;
    }
  }
}

void MaxMin::solve(std::span<const Crossings> flows, std::span<double> rates,
                   std::span<const double> most) {
  begin(flows);
  while (!open_.empty()) {
    double least = least_share();
    for (const std::uint32_t f : open_) {
      if (!most.empty()) least = std::min(least, most[f]);
    }
    mark_tight_ports(least);
    const auto fix = [&](std::uint32_t f) {
      bool is_fixed = !most.empty() && most[f] <= least;
      for (const Crossing& crossing : flows[f]) is_fixed |= tight_[crossing.port] != 0;
      if (is_fixed) take(flows[f], rates[f] = least);
      return is_fixed;
    };
    open_.erase(std::remove_if(open_.begin(), open_.end(), fix), open_.end());
  }
}

/// The least share of a port with open flows.
double MaxMin::least_share() const {
  double least = std::numeric_limits<double>::infinity();
  for (const std::uint32_t p : touched_) {
    if (is_open(p)) least = std::min(least, left_[p] / weight_[p]);
  }
  return least;
}

void MaxMin::mark_tight_ports(double share) {
  constexpr double one_share = 1 + 1e-12;
  for (const std::uint32_t p : touched_) {
    tight_[p] = is_open(p) && left_[p] / weight_[p] <= share * one_share ? 1 : 0;
  }
}

/// A flow has its rate.
void MaxMin::take(Crossings flow, double rate) {
  for (const auto& [port, weight] : flow) {
    left_[port] = std::max(0.0, left_[port] - rate * weight);
    weight_[port] -= weight;
    --open_on_[port];
  }
}

}  // namespace zebroid
