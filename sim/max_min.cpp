#include "sim/max_min.hpp"

#include <algorithm>
#include <limits>

namespace zebroid {

MaxMin::MaxMin(std::span<const Port> ports)
    : ports_(ports), left_(ports.size()), flows_(ports.size(), 0), tight_(ports.size(), 0) {}

void MaxMin::begin(std::span<const Path* const> paths) {
  touched_.clear();
  open_.clear();
  for (std::uint32_t f = 0; f < paths.size(); ++f) {
    open_.push_back(f);
    for (const PortId port : *paths[f]) {
      if (flows_[port.value]++ > 0) continue;
      touched_.push_back(port.value);
      left_[port.value] = ports_[port.value].bandwidth.value;
    }
  }
}

void MaxMin::solve(std::span<const Path* const> paths, std::span<double> rates) {
  begin(paths);
  constexpr double one_share = 1 + 1e-12;
  while (!open_.empty()) {
    double least = std::numeric_limits<double>::infinity();
    for (const std::uint32_t p : touched_) {
      if (flows_[p] > 0) least = std::min(least, left_[p] / flows_[p]);
    }
    for (const std::uint32_t p : touched_) {
      tight_[p] = flows_[p] > 0 && left_[p] / flows_[p] <= least * one_share ? 1 : 0;
    }
    const auto fix = [&](std::uint32_t f) {
      const bool is_tight = std::any_of(paths[f]->begin(), paths[f]->end(),
                                        [&](PortId port) { return tight_[port.value] != 0; });
      if (!is_tight) return false;
      rates[f] = least;
      for (const PortId port : *paths[f]) {
        left_[port.value] = std::max(0.0, left_[port.value] - least);
        --flows_[port.value];
      }
      return true;
    };
    open_.erase(std::remove_if(open_.begin(), open_.end(), fix), open_.end());
  }
}

}  // namespace zebroid
