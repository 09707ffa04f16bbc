#include "sim/bound.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>
#include <utility>
#include <vector>

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
      for (std::uint32_t i = 0; i < ops; ++i) {
        if (exchanges_.of[r][i] == Exchanges::none) {
          duration_[r][i] = load.seconds({r}, schedule.program_of({r})[i]).value;
        }
      }
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

  /// Each member needs at least its own bytes over its own ports, alone.
  void add_exchange(const Exchange& exchange) {
    const Network& network = load_.network();
    const auto& members = exchange.members;
    std::vector<double> least(members.size(), 0);
    std::vector<std::vector<std::pair<std::uint32_t, double>>> own(members.size());  // port, bytes
    for (std::size_t from = 0; from < members.size(); ++from) {
      for (std::size_t to = 0; to < members.size(); ++to) {
        if (from == to) continue;
        const double bytes =
            load_.bytes(exchange.group, exchange.op, members[from].rank, members[to].rank).value;
        if (bytes <= 0) continue;
        for (const PortId port : network.path(gpu(members[from].rank), gpu(members[to].rank))) {
          port_bytes_[port.value] += bytes;
          own[from].emplace_back(port.value, bytes);
          own[to].emplace_back(port.value, bytes);
        }
      }
    }
    const double latency = load_.latency(exchange.group, exchange.op).value;
    double longest = 0;
    for (std::size_t m = 0; m < members.size(); ++m) {
      std::sort(own[m].begin(), own[m].end());
      for (std::size_t k = 0; k < own[m].size();) {
        const std::uint32_t port = own[m][k].first;
        double bytes = 0;
        for (; k < own[m].size() && own[m][k].first == port; ++k) bytes += own[m][k].second;
        least[m] = std::max(least[m], latency + bytes / network.ports()[port].bandwidth.value);
      }
      longest = std::max(longest, least[m]);
    }
    for (std::size_t m = 0; m < members.size(); ++m) {
      duration_[members[m].rank.value][members[m].op] =
          ends_together(exchange.op.work) ? longest : least[m];
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
  std::vector<double> exchange_start_;
  std::vector<double> exchange_rest_;
  std::vector<Node> order_;
};

}  // namespace

Bound lower_bound(const Schedule& schedule, const Load& load) {
  return Bounder(schedule, load).run();
}

}  // namespace zebroid
