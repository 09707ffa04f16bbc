#include "sim/profile.hpp"

#include <algorithm>
#include <limits>

namespace zebroid {

std::vector<double> bandwidths(const Network& network, const Fold& fold) {
  std::vector<double> out;
  for (const PortId port : fold.first_port) {
    out.push_back(network.ports()[port.value].bandwidth.value);
  }
  return out;
}

PortLoads load_ports(const Schedule& schedule, const Network& network, const Fold& fold,
                     std::span<const Wire* const> wires) {
  PortLoads out{{}, PortSet(fold.first_port.size())};
  std::vector<double> bytes_on(fold.first_port.size(), 0);
  for (const Wire* wire : wires) {
    const auto& ranks = schedule.groups[wire->group.value];
    for (const auto [from, to, bytes] : wire->messages) {
      for (const PortId port : network.path(schedule.ranks[ranks[from].value].gpu,
                                            schedule.ranks[ranks[to].value].gpu)) {
        const std::uint32_t port_class = fold.port_class[port.value];
        out.touched.add(port_class);
        if (fold.first_port[port_class] == port) bytes_on[port_class] += bytes.value;
      }
    }
  }
  for (std::uint32_t port = 0; port < bytes_on.size(); ++port) {
    if (bytes_on[port] > 0) out.bytes.push_back({port, bytes_on[port]});
  }
  return out;
}

std::vector<double> ends_of_wire(const Schedule& schedule, const Network& network,
                                 const Wire& wire) {
  constexpr std::size_t many_flows = 512;
  constexpr std::size_t most_flows = 16384;
  constexpr double batch = 0.01;
  const Fold own = fold_wire(schedule, network, wire);
  const Wire* const wires = &wire;
  const auto& ranks = schedule.groups[wire.group.value];
  if (own.first_rank.size() > 1 && wire.messages.size() > most_flows) {
    double longest = 0;
    const std::vector<double> rates = bandwidths(network, own);
    const PortLoads loads = load_ports(schedule, network, own, std::span(&wires, 1));
    for (const auto& [port, bytes] : loads.bytes) {
      longest = std::max(longest, bytes / rates[port]);
    }
    return std::vector<double>(ranks.size(), longest);
  }
  const Flows flows = make_flows(schedule, network, own, std::span(&wires, 1));
  Filling filling(bandwidths(network, own), flows.all.size());
  filling.run(flows, std::numeric_limits<double>::infinity(),
              flows.all.size() > many_flows ? batch : 0);
  std::vector<double> end_of(own.first_rank.size(), 0);
  for (std::size_t f = 0; f < flows.all.size(); ++f) {
    for (const std::uint32_t c : {flows.all[f].from, flows.all[f].to}) {
      end_of[c] = std::max(end_of[c], filling.ended(f));
    }
  }
  std::vector<double> out;
  out.reserve(ranks.size());
  for (const RankId rank : ranks) out.push_back(end_of[own.rank_class[rank.value]]);
  return out;
}

}  // namespace zebroid
