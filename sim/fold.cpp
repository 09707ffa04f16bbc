#include "sim/fold.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <numeric>

#include "core/error.hpp"
#include "core/hash.hpp"

namespace zebroid {
namespace {

/// The exchanges of a program over each slot that are not alike: [slots][].
std::vector<std::vector<Op>> distinct_exchanges(const Load& load, const Program& program) {
  std::vector<std::vector<Op>> out;
  std::vector<KeyIndex> seen;
  for (const Op& op : program) {
    if (!is_exchange(op.work)) continue;
    Op first = load.like(op);
    first.slot = 0;
    if (op.slot > out.size()) {
      out.resize(op.slot);
      seen.resize(op.slot);
    }
    const std::size_t slot = op.slot - 1U;
    if (seen[slot].add(key_of(first)) == out[slot].size()) out[slot].push_back(first);
  }
  return out;
}

/// Splits colours until ranks and ports of one colour have the same neighbourhood.
class Refinement {
 public:
  Refinement(const Schedule& schedule, const Network& network, std::vector<std::uint64_t> ranks,
             std::vector<const Wire*> wires)
      : schedule_(schedule), network_(network), wires_(std::move(wires)), ranks_(std::move(ranks)) {
    for (const Port& port : network.ports()) {
      ports_.push_back(mix(std::bit_cast<std::uint64_t>(port.bandwidth.value)));
    }
    groups_.resize(schedule.groups.size());
  }

  /// False when it takes too many rounds, as with a long chain, which differs link by link.
  bool run() {
    constexpr int most_rounds = 8;
    std::size_t classes = count(ranks_) + count(ports_);
    for (int round = 0; round < most_rounds; ++round) {
      refine();
      const std::size_t now = count(ranks_) + count(ports_);
      if (now == classes) return true;
      classes = now;
    }
    return false;
  }

  /// Whether another wire fits a fold of these colours.
  bool fits(const Fold& fold, const Wire& wire) {
    clear_sums();
    look_at(wire);
    return are_equal_by_class(rank_sum_, fold.rank_class, fold.first_rank) &&
           are_equal_by_class(port_sum_, fold.port_class, fold.first_port);
  }

  Fold fold() const {
    Fold out;
    number(ranks_, out.rank_class, out.first_rank);
    number(groups_, out.group_class, out.first_group);
    number(ports_, out.port_class, out.first_port);
    return out;
  }

 private:
  static std::size_t count(std::vector<std::uint64_t> colors) {
    std::sort(colors.begin(), colors.end());
    return static_cast<std::size_t>(std::unique(colors.begin(), colors.end()) - colors.begin());
  }

  template <class Id>
  static void number(const std::vector<std::uint64_t>& colors, std::vector<std::uint32_t>& of,
                     std::vector<Id>& first) {
    KeyIndex index(colors.size());
    for (std::uint32_t i = 0; i < colors.size(); ++i) {
      of.push_back(index.add(colors[i]));
      if (of.back() == first.size()) first.push_back({i});
    }
  }

  void clear_sums() {
    rank_sum_.assign(ranks_.size(), 0);
    port_sum_.assign(ports_.size(), 0);
  }

  template <class Id>
  static bool are_equal_by_class(const std::vector<std::uint64_t>& sums,
                                 const std::vector<std::uint32_t>& of,
                                 const std::vector<Id>& first) {
    for (std::size_t i = 0; i < sums.size(); ++i) {
      if (sums[i] != sums[first[of[i]].value]) return false;
    }
    return true;
  }

  void refine() {
    clear_sums();
    for (const Wire* wire : wires_) look_at(*wire);
    for (std::size_t g = 0; g < groups_.size(); ++g) {
      groups_[g] = 0;
      for (const RankId rank : schedule_.groups[g]) groups_[g] += mix(ranks_[rank.value]);
    }
    for (std::size_t r = 0; r < ranks_.size(); ++r) {
      std::uint64_t color = mix(ranks_[r] + rank_sum_[r]);
      for (const GroupId group : schedule_.ranks[r].groups) {
        color = mix(color ^ groups_[group.value]);
      }
      ranks_[r] = color;
    }
    for (std::size_t p = 0; p < ports_.size(); ++p) ports_[p] = mix(ports_[p] + port_sum_[p]);
  }

  void look_at(const Wire& wire) {
    const auto& members = schedule_.groups[wire.group.value];
    const std::uint64_t salt =
        mix(key_of(wire.op)) ^ mix(std::bit_cast<std::uint64_t>(wire.latency.value));
    for (const auto [from, to, bytes] : wire.messages) {
      const RankId a = members[from];
      const RankId b = members[to];
      const Path path = network_.path(schedule_.ranks[a.value].gpu, schedule_.ranks[b.value].gpu);
      std::uint64_t flow = mix(salt ^ std::bit_cast<std::uint64_t>(bytes.value));
      for (const PortId port : path) flow = mix(flow ^ ports_[port.value]);
      const std::uint64_t sender = mix(flow + ranks_[a.value]);
      const std::uint64_t receiver = mix(~flow + ranks_[b.value]);
      rank_sum_[a.value] += receiver;
      rank_sum_[b.value] += sender;
      for (const PortId port : path) port_sum_[port.value] += mix(sender ^ (receiver << 1U));
    }
  }

  const Schedule& schedule_;
  const Network& network_;
  std::vector<const Wire*> wires_;
  std::vector<std::uint64_t> ranks_;
  std::vector<std::uint64_t> groups_;
  std::vector<std::uint64_t> ports_;
  std::vector<std::uint64_t> rank_sum_;
  std::vector<std::uint64_t> port_sum_;
};

template <class Id>
void each_alone(std::size_t count, std::vector<std::uint32_t>& of, std::vector<Id>& first) {
  for (std::uint32_t i = 0; i < count; ++i) {
    of.push_back(i);
    first.push_back({i});
  }
}

}  // namespace

Wires::Wires(const Schedule& schedule, const Load& load, const std::function<void()>& poll) {
  std::vector<std::vector<std::vector<Op>>> exchanges;  // [programs][slots - 1]
  for (const Program& program : schedule.programs) {
    exchanges.push_back(distinct_exchanges(load, program));
  }
  // Where members list other exchanges, as in a faulty schedule, all of them count.
  std::vector<std::vector<Op>> ops(schedule.groups.size());
  std::vector<std::vector<std::uint16_t>> seen(schedule.groups.size());  // programs
  for (const Rank& rank : schedule.ranks) {
    const auto& by_slot = exchanges[rank.program];
    for (std::size_t slot = 0; slot < std::min(by_slot.size(), rank.groups.size()); ++slot) {
      const GroupId group = rank.groups[slot];
      auto& programs = seen[group.value];
      if (std::find(programs.begin(), programs.end(), rank.program) != programs.end()) continue;
      programs.push_back(rank.program);
      for (const Op& op : by_slot[slot]) {
        auto& known = ops[group.value];
        if (std::find(known.begin(), known.end(), op) == known.end()) known.push_back(op);
      }
    }
  }
  first_.push_back(0);
  for (std::uint32_t g = 0; g < schedule.groups.size(); ++g) {
    for (const Op& op : ops[g]) {
      if (poll) poll();
      Wire& wire = all_.emplace_back(Wire{{g}, op, load.latency({g}, op), {}});
      wire.messages = load.messages({g}, schedule.groups[g], op);
      ensure(std::isfinite(wire.latency.value) && wire.latency.value >= 0,
             "a latency is not a finite time");
      for (const Message message : wire.messages) {
        ensure(std::isfinite(message.bytes.value) && message.bytes.value > 0,
               "a message is not a finite size");
      }
    }
    first_.push_back(static_cast<std::uint32_t>(all_.size()));
  }
}

Fold unfolded(const Schedule& schedule, const Network& network) {
  Fold out;
  each_alone(schedule.ranks.size(), out.rank_class, out.first_rank);
  each_alone(schedule.groups.size(), out.group_class, out.first_group);
  each_alone(network.ports().size(), out.port_class, out.first_port);
  return out;
}

Fold fold(const Schedule& schedule, const Load& load, const Wires& wires, Strictness strictness) {
  KeyIndex kinds(schedule.ranks.size());
  std::vector<std::uint64_t> colors;
  for (std::uint32_t r = 0; r < schedule.ranks.size(); ++r) {
    const std::uint64_t kind = load.like(RankId{r}).value;
    colors.push_back(mix(kind << 16U | schedule.ranks[r].program));
    kinds.add(colors.back());
  }
  if (kinds.size() == schedule.ranks.size()) return unfolded(schedule, load.network());
  const auto may_be_left_out = [&](const Wire& wire) {
    return strictness == Strictness::without_norm && wire.op.work == Work::reduce_norm;
  };
  std::vector<const Wire*> looked_at;
  for (const Wire& wire : wires.all()) {
    if (!may_be_left_out(wire)) looked_at.push_back(&wire);
  }
  Refinement refinement(schedule, load.network(), std::move(colors), std::move(looked_at));
  if (!refinement.run()) return unfolded(schedule, load.network());
  Fold out = refinement.fold();
  for (std::uint32_t w = 0; w < wires.all().size(); ++w) {
    const Wire& wire = wires.all()[w];
    if (may_be_left_out(wire) && !refinement.fits(out, wire)) out.uneven.push_back(w);
  }
  return out;
}

Fold fold_wire(const Schedule& schedule, const Network& network, const Wire& wire) {
  Refinement refinement(schedule, network, std::vector<std::uint64_t>(schedule.ranks.size(), 0),
                        {&wire});
  return refinement.run() ? refinement.fold() : unfolded(schedule, network);
}

}  // namespace zebroid
