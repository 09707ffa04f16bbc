#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "models/cluster.hpp"
#include "sim/flows.hpp"
#include "sim/fold.hpp"
#include "sim/max_min.hpp"

namespace zebroid {

/// Classes of ports, as bits.
class PortSet {
 public:
  PortSet() = default;
  explicit PortSet(std::size_t ports) : words_((ports + bits - 1) / bits, 0) {}

  void add(std::uint32_t port) { words_[port / bits] |= std::uint64_t{1} << port % bits; }
  void add(const PortSet& other) {
    for (std::size_t i = 0; i < words_.size(); ++i) words_[i] |= other.words_[i];
  }
  bool meets(const PortSet& other) const {
    for (std::size_t i = 0; i < words_.size(); ++i) {
      if ((words_[i] & other.words_[i]) != 0) return true;
    }
    return false;
  }

 private:
  static constexpr std::size_t bits = 64;
  std::vector<std::uint64_t> words_;
};

/// How exchanges that are alike go when nothing else moves.
struct Profile {
  struct End {
    double time = 0;  ///< seconds since the first byte
    std::uint32_t first_member = 0;
    std::uint32_t members = 0;
  };
  std::vector<End> ends;               ///< in order; none for an exchange without bytes
  std::vector<std::uint32_t> members;  ///< those that wait for bytes, by end
  double flow_rate = 0;                ///< bytes per second of one message, on average
  std::vector<Crossing> loads;         ///< messages on one port of each class that go at this rate
  PortSet ports;
  bool is_uneven = false;  ///< it may meet no other

  double total() const { return ends.empty() ? 0 : ends.back().time; }
};

/// What some wires put on ports.
struct PortLoads {
  std::vector<Crossing> bytes;  ///< on the first port of each class
  PortSet touched;              ///< any port of the class
};
PortLoads load_ports(const Schedule& schedule, const Network& network, const Fold& fold,
                     std::span<const Wire* const> wires);

/// When each rank of a wire's group has its last byte, told apart by the wire's messages alone:
/// [members of the group]. Of more than 512 different flows those that end within 1 % count as
/// ended together, each at its own time; beyond 16,384 all end when the busiest port is done.
std::vector<double> ends_of_wire(const Schedule& schedule, const Network& network,
                                 const Wire& wire);

/// One bandwidth for each class of ports.
std::vector<double> bandwidths(const Network& network, const Fold& fold);

}  // namespace zebroid
