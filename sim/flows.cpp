#include "sim/flows.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <limits>

#include "core/hash.hpp"

namespace zebroid {
namespace {

constexpr double never = std::numeric_limits<double>::infinity();

/// Takes together what a fold says is alike.
class FlowMaker {
 public:
  FlowMaker(const Schedule& schedule, const Network& network, const Fold& fold)
      : schedule_(schedule), network_(network), fold_(fold) {}

  void add(const Wire& wire) {
    const auto& members = schedule_.groups[wire.group.value];
    for (const auto [from, to, bytes] : wire.messages) {
      const RankId a = members[from];
      const RankId b = members[to];
      const Path path = network_.path(schedule_.ranks[a.value].gpu, schedule_.ranks[b.value].gpu);
      std::uint64_t key =
          mix(std::uint64_t{fold_.rank_class[a.value]} << 32U | fold_.rank_class[b.value]);
      key = mix(key ^ std::bit_cast<std::uint64_t>(bytes.value));
      for (const PortId port : path) key = mix(key ^ fold_.port_class[port.value]);
      const std::uint32_t number = index_.add(key);
      if (number == flows_.size()) {
        flows_.push_back(
            {fold_.rank_class[a.value], fold_.rank_class[b.value], bytes.value, {}, 0});
      }
      for (const PortId port : path) count(flows_[number], port);
    }
  }

  Flows take() const {
    Flows out;
    for (const Counted& flow : flows_) {
      out.all.push_back({flow.from, flow.to, flow.bytes,
                         static_cast<std::uint32_t>(out.crossings.size()), flow.ports});
      out.crossings.insert(out.crossings.end(), flow.crossings.begin(),
                           flow.crossings.begin() + flow.ports);
    }
    return out;
  }

 private:
  struct Counted {
    std::uint32_t from = 0;
    std::uint32_t to = 0;
    double bytes = 0;
    std::array<Crossing, Path::most> crossings{};
    std::uint32_t ports = 0;
  };

  /// The first port of a class speaks for all of it.
  void count(Counted& flow, PortId port) const {
    const std::uint32_t port_class = fold_.port_class[port.value];
    Crossing* const end = flow.crossings.data() + flow.ports;
    Crossing* const known = std::find_if(flow.crossings.data(), end, [&](const Crossing& crossing) {
      return crossing.port == port_class;
    });
    if (known == end) flow.crossings.at(flow.ports++) = {port_class, 0};
    if (fold_.first_port[port_class] == port) known->weight += 1;
  }

  const Schedule& schedule_;
  const Network& network_;
  const Fold& fold_;
  KeyIndex index_;
  std::vector<Counted> flows_;
};

}  // namespace

Flows make_flows(const Schedule& schedule, const Network& network, const Fold& fold,
                 std::span<const Wire* const> wires) {
  FlowMaker maker(schedule, network, fold);
  for (const Wire* wire : wires) maker.add(*wire);
  return maker.take();
}

Filling::Filling(std::vector<double> bandwidths, std::size_t most_flows)
    : max_min_(std::move(bandwidths), most_flows),
      paths_(most_flows),
      rates_(most_flows),
      left_(most_flows),
      ended_(most_flows) {
  open_.reserve(most_flows);
}

void Filling::run(const Flows& flows, double until, double batch) {
  constexpr double rounding = 1e-12;
  open_.clear();
  for (std::uint32_t f = 0; f < flows.all.size(); ++f) {
    open_.push_back(f);
    left_[f] = flows.all[f].bytes;
    ended_[f] = never;
  }
  for (double now = 0; !open_.empty();) {
    for (std::size_t i = 0; i < open_.size(); ++i) paths_[i] = flows.of(flows.all[open_[i]]);
    const std::span rates = std::span(rates_).first(open_.size());
    max_min_.solve(std::span(paths_).first(open_.size()), rates);
    double first = never;
    const auto end_of = [&](std::size_t i) { return now + left_[open_[i]] / rates[i]; };
    for (std::size_t i = 0; i < open_.size(); ++i) first = std::min(first, end_of(i));
    const double limit = first * (1 + std::max(batch, rounding));
    double last = first;
    for (std::size_t i = 0; i < open_.size(); ++i) {
      if (end_of(i) <= limit) last = std::max(last, end_of(i));
    }
    last = std::min(last, until);
    std::size_t kept = 0;
    for (std::size_t i = 0; i < open_.size(); ++i) {
      const std::uint32_t f = open_[i];
      const double end = end_of(i);
      if (end <= last) {
        ended_[f] = end;
        left_[f] = 0;
      } else {
        left_[f] -= (last - now) * rates[i];
        open_[kept++] = f;
      }
    }
    open_.resize(kept);
    now = last;
    if (now >= until) return;
  }
}

}  // namespace zebroid
