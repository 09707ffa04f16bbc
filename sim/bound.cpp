#include "sim/bound.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>
#include <map>
#include <utility>
#include <vector>

#include "core/hash.hpp"
#include "schedule/exchanges.hpp"

namespace zebroid {
namespace {

class Bounder {
 public:
  Bounder(const Schedule& schedule, const Load& load)
      : schedule_(schedule),
        load_(load),
        exchanges_(match_exchanges(schedule)),
        port_bytes_(load.network().ports().size(), 0),
        exchange_start_(exchanges_.all.size(), 0),
        exchange_rest_(exchanges_.all.size(), 0) {
    for (const Program& program : schedule.programs) reads_.push_back(reads(schedule, program));
    for (std::uint32_t r = 0; r < schedule.ranks.size(); ++r) {
      const std::size_t ops = schedule.program_of({r}).size();
      duration_.emplace_back(ops, 0);
      start_.emplace_back(ops, 0);
      rest_.emplace_back(ops, 0);
      set_compute_times(r);
    }
    for (const Exchange& exchange : exchanges_.all) add_exchange(exchange);
  }

  Bound run() {
    sort_by_data();
    for (const Node& node : order_) forward(node);
    for (auto node = order_.rbegin(); node != order_.rend(); ++node) backward(*node);
    Bound best{{0}, "data path"};
    for (std::size_t r = 0; r < start_.size(); ++r) {
      for (std::size_t i = 0; i < start_[r].size(); ++i) {
        best.seconds =
            std::max(best.seconds, Seconds{start_[r][i] + duration_[r][i] + rest_[r][i]});
      }
    }
    for (std::uint32_t r = 0; r < start_.size(); ++r) bound_streams(r, best);
    const auto& ports = load_.network().ports();
    for (std::size_t p = 0; p < ports.size(); ++p) {
      raise(best, port_bytes_[p] / ports[p].bandwidth.value, "port " + ports[p].name);
    }
    return best;
  }

 private:
  /// An op; or, with rank == no_rank, the common start of exchange `index`.
  struct Node {
    std::uint32_t rank;
    std::uint32_t index;
  };
  static constexpr std::uint32_t no_rank = UINT32_MAX;

  static void raise(Bound& best, double seconds, std::string binding) {
    constexpr double noticeably = 1 + 1e-9;
    if (seconds > best.seconds.value * noticeably) best = {{seconds}, std::move(binding)};
  }

  /// Asked once for ops that are alike.
  void set_compute_times(std::uint32_t r) {
    const Program& program = schedule_.program_of({r});
    KeyIndex known;
    std::vector<double> times;
    for (std::uint32_t i = 0; i < program.size(); ++i) {
      if (exchanges_.of[r][i] != Exchanges::none) continue;
      const Op first = load_.like(program[i]);
      const std::uint32_t k = known.add(key_of(first));
      if (k == times.size()) times.push_back(load_.seconds({r}, first).value);
      duration_[r][i] = times[k];
    }
  }

  /// What exchanges that are alike take at least.
  struct Least {
    std::vector<double> of_member;
    double of_all = 0;
    std::vector<std::pair<std::uint32_t, double>> bytes_on;  ///< ports
  };

  /// Each member needs at least its own bytes over its own ports, alone.
  Least least_of(GroupId group, const Op& op) const {
    const Network& network = load_.network();
    const std::vector<RankId>& members = schedule_.groups[group.value];
    Least out;
    out.of_member.resize(members.size(), 0);
    std::vector<std::vector<std::pair<std::uint32_t, double>>> own(members.size());  // port, bytes
    for (const auto [from, to, bytes] : load_.messages(group, members, op)) {
      for (const PortId port : network.path(gpu(members[from]), gpu(members[to]))) {
        out.bytes_on.emplace_back(port.value, bytes.value);
        own[from].emplace_back(port.value, bytes.value);
        own[to].emplace_back(port.value, bytes.value);
      }
    }
    sum_by_port(out.bytes_on);
    const double latency = load_.latency(group, op).value;
    for (std::size_t m = 0; m < members.size(); ++m) {
      sum_by_port(own[m]);
      for (const auto& [port, bytes] : own[m]) {
        out.of_member[m] =
            std::max(out.of_member[m], latency + bytes / network.ports()[port].bandwidth.value);
      }
      out.of_all = std::max(out.of_all, out.of_member[m]);
    }
    return out;
  }

  static void sum_by_port(std::vector<std::pair<std::uint32_t, double>>& bytes_on) {
    std::sort(bytes_on.begin(), bytes_on.end());
    std::size_t kept = 0;
    for (std::size_t k = 0; k < bytes_on.size(); ++k) {
      if (kept > 0 && bytes_on[kept - 1].first == bytes_on[k].first) {
        bytes_on[kept - 1].second += bytes_on[k].second;
      } else {
        bytes_on[kept++] = bytes_on[k];
      }
    }
    bytes_on.resize(kept);
  }

  void add_exchange(const Exchange& exchange) {
    Op first = load_.like(exchange.op);
    first.slot = 0;
    const auto [at, is_new] = least_.try_emplace({exchange.group, first});
    if (is_new) at->second = least_of(exchange.group, first);
    const Least& least = at->second;
    for (const auto& [port, bytes] : least.bytes_on) port_bytes_[port] += bytes;
    for (std::size_t m = 0; m < exchange.members.size(); ++m) {
      const auto [rank, op] = exchange.members[m];
      duration_[rank.value][op] =
          ends_together(exchange.op.work) ? least.of_all : least.of_member[m];
    }
  }

  GpuId gpu(RankId rank) const { return schedule_.ranks[rank.value].gpu; }
  const Reads& reads_of(std::uint32_t r) const { return reads_[schedule_.ranks[r].program]; }

  /// Every op after what it reads; an exchange's start after all members, before what reads it on
  /// any member.
  void sort_by_data() {
    std::vector<std::vector<std::vector<std::uint32_t>>> readers;
    std::vector<std::vector<std::uint32_t>> waits;
    std::vector<std::uint32_t> members_left;
    for (const Exchange& exchange : exchanges_.all) {
      members_left.push_back(static_cast<std::uint32_t>(exchange.members.size()));
    }
    for (std::uint32_t r = 0; r < start_.size(); ++r) {
      const Reads& reads = reads_of(r);
      readers.emplace_back(start_[r].size());
      waits.emplace_back(start_[r].size());
      for (std::uint32_t i = 0; i < start_[r].size(); ++i) {
        waits[r][i] = reads.first[i + 1] - reads.first[i];
        if (waits[r][i] == 0) order_.push_back({r, i});
        for (std::uint32_t k = reads.first[i]; k < reads.first[i + 1]; ++k) {
          readers[r][reads.ops[k]].push_back(i);
        }
      }
    }
    const auto ended = [&](std::uint32_t r, std::uint32_t i) {
      for (const std::uint32_t reader : readers[r][i]) {
        if (--waits[r][reader] == 0) order_.push_back({r, reader});
      }
    };
    for (std::size_t k = 0; k < order_.size(); ++k) {
      const Node node = order_[k];
      if (node.rank == no_rank) {
        for (const auto& [rank, op] : exchanges_.all[node.index].members) ended(rank.value, op);
        continue;
      }
      const std::uint32_t x = exchanges_.of[node.rank][node.index];
      if (x == Exchanges::none) {
        ended(node.rank, node.index);
      } else if (--members_left[x] == 0) {
        order_.push_back({no_rank, x});
      }
    }
  }

  void forward(const Node& node) {
    if (node.rank == no_rank) {
      for (const auto& [rank, op] : exchanges_.all[node.index].members) {
        start_[rank.value][op] = exchange_start_[node.index];
      }
      return;
    }
    const Reads& reads = reads_of(node.rank);
    double& start = start_[node.rank][node.index];
    for (std::uint32_t k = reads.first[node.index]; k < reads.first[node.index + 1]; ++k) {
      const std::uint32_t read = reads.ops[k];
      start = std::max(start, start_[node.rank][read] + duration_[node.rank][read]);
    }
    const std::uint32_t x = exchanges_.of[node.rank][node.index];
    if (x != Exchanges::none) exchange_start_[x] = std::max(exchange_start_[x], start);
  }

  void backward(const Node& node) {
    if (node.rank == no_rank) {
      for (const auto& [rank, op] : exchanges_.all[node.index].members) {
        exchange_rest_[node.index] =
            std::max(exchange_rest_[node.index], duration_[rank.value][op] + rest_[rank.value][op]);
      }
      return;
    }
    const std::uint32_t x = exchanges_.of[node.rank][node.index];
    const double from_start = x != Exchanges::none
                                  ? exchange_rest_[x]
                                  : duration_[node.rank][node.index] + rest_[node.rank][node.index];
    const Reads& reads = reads_of(node.rank);
    for (std::uint32_t k = reads.first[node.index]; k < reads.first[node.index + 1]; ++k) {
      double& rest = rest_[node.rank][reads.ops[k]];
      rest = std::max(rest, from_start);
    }
  }

  void bound_streams(std::uint32_t r, Bound& best) const {
    constexpr double endless = std::numeric_limits<double>::infinity();
    std::array<double, stream_count> head{};
    std::array<double, stream_count> work{};
    std::array<double, stream_count> tail{};
    head.fill(endless);
    tail.fill(endless);
    const Program& program = schedule_.program_of({r});
    for (std::uint32_t i = 0; i < program.size(); ++i) {
      if (duration_[r][i] <= 0) continue;
      const auto s = static_cast<std::size_t>(stream_of(program[i]));
      head.at(s) = std::min(head.at(s), start_[r][i]);
      work.at(s) += duration_[r][i];
      tail.at(s) = std::min(tail.at(s), rest_[r][i]);
    }
    for (std::size_t s = 0; s < stream_count; ++s) {
      if (work.at(s) <= 0) continue;
      raise(best, head.at(s) + work.at(s) + tail.at(s),
            fmt::format("{} of rank {}", name_of(static_cast<Stream>(s)), r));
    }
  }

  const Schedule& schedule_;
  const Load& load_;
  Exchanges exchanges_;
  std::vector<Reads> reads_;                   // [programs]
  std::vector<std::vector<double>> duration_;  // [ranks][ops], at least
  std::vector<std::vector<double>> start_;     // [ranks][ops], by data at the earliest
  std::vector<std::vector<double>> rest_;  // [ranks][ops], from its end to the end of all, at least
  std::vector<double> port_bytes_;
  std::map<std::pair<GroupId, Op>, Least> least_;  // of the first exchange of those alike
  std::vector<double> exchange_start_;
  std::vector<double> exchange_rest_;
  std::vector<Node> order_;
};

}  // namespace

Bound lower_bound(const Schedule& schedule, const Load& load) {
  return Bounder(schedule, load).run();
}

}  // namespace zebroid
