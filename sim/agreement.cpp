#include "sim/agreement.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <set>

#include "schedule/exchanges.hpp"

namespace zebroid {
namespace {

constexpr double same = 1e-9;  // of the makespan

double duration(const OpTimes& times) { return times.ended.value - times.started.value; }

/// Finds what an op's transfer shared.
class Investigation {
 public:
  Investigation(const Schedule& schedule, const Load& load, const Timeline& reference)
      : schedule_(schedule),
        load_(load),
        reference_(reference),
        exchanges_(match_exchanges(schedule)) {}

  void explain(Parting& parting, std::uint32_t op) const {
    const std::uint32_t x = exchanges_.of[parting.rank.value][op];
    if (x == Exchanges::none) return;
    const PortId port = slowest_port(exchanges_.all[x], parting.rank);
    if (port == no_port) return;
    parting.port = load_.network().ports()[port.value].name;
    const OpTimes& when = reference_.ranks[parting.rank.value][op];
    constexpr std::size_t most = 3;
    for (std::uint32_t y = 0; y < exchanges_.all.size() && parting.shared_with.size() < most; ++y) {
      if (y == x || !overlaps(exchanges_.all[y], when)) continue;
      if (ports_of(exchanges_.all[y], std::nullopt).contains(port)) {
        parting.shared_with.push_back(name_of(exchanges_.all[y].op));
      }
    }
  }

 private:
  static constexpr PortId no_port{UINT32_MAX};

  /// Bytes on each port of an exchange's messages; only ports that `rank`'s messages cross, if any.
  std::map<PortId, double> ports_of(const Exchange& exchange, std::optional<RankId> rank) const {
    std::map<PortId, double> bytes_on;
    std::set<PortId> own;
    for (const auto& from : exchange.members) {
      for (const auto& to : exchange.members) {
        if (from.rank == to.rank) continue;
        const Bytes bytes = load_.bytes(exchange.group, exchange.op, from.rank, to.rank);
        if (bytes.value <= 0) continue;
        for (const PortId port : load_.network().path(schedule_.ranks[from.rank.value].gpu,
                                                      schedule_.ranks[to.rank.value].gpu)) {
          bytes_on[port] += bytes.value;
          if (!rank || *rank == from.rank || *rank == to.rank) own.insert(port);
        }
      }
    }
    std::erase_if(bytes_on, [&](const auto& entry) { return !own.contains(entry.first); });
    return bytes_on;
  }

  PortId slowest_port(const Exchange& exchange, RankId rank) const {
    PortId slowest = no_port;
    double longest = 0;
    for (const auto& [port, bytes] : ports_of(exchange, rank)) {
      const double seconds = bytes / load_.network().ports()[port.value].bandwidth.value;
      if (seconds > longest) {
        longest = seconds;
        slowest = port;
      }
    }
    return slowest;
  }

  bool overlaps(const Exchange& exchange, const OpTimes& when) const {
    return std::any_of(exchange.members.begin(), exchange.members.end(), [&](const auto& member) {
      const OpTimes& times = reference_.ranks[member.rank.value][member.op];
      return times.started < when.ended && when.started < times.ended;
    });
  }

  const Schedule& schedule_;
  const Load& load_;
  const Timeline& reference_;
  Exchanges exchanges_;
};

}  // namespace

Agreement compare(const Schedule& schedule, const Load& load, const Timeline& reference,
                  const Timeline& other) {
  Agreement out;
  const double makespan = reference.makespan().value;
  if (makespan <= 0) return out;
  std::vector<double> differences;
  double first = std::numeric_limits<double>::infinity();
  std::uint32_t first_op = 0;
  for (std::uint32_t r = 0; r < reference.ranks.size(); ++r) {
    for (std::uint32_t i = 0; i < reference.ranks[r].size(); ++i) {
      const OpTimes& a = reference.ranks[r][i];
      const OpTimes& b = other.ranks[r][i];
      differences.push_back(std::abs(a.ended.value - b.ended.value) / makespan);
      if (std::abs(duration(a) - duration(b)) <= same * makespan || a.started.value >= first) {
        continue;
      }
      first = a.started.value;
      first_op = i;
      out.parting = Parting{{r}, schedule.program_of({r})[i], {duration(a)}, {duration(b)}, "", {}};
    }
  }
  std::sort(differences.begin(), differences.end());
  out.makespan = (other.makespan().value - makespan) / makespan;
  out.worst = differences.back();
  out.p90 = differences[(differences.size() - 1) * 9 / 10];
  if (out.parting) Investigation(schedule, load, reference).explain(*out.parting, first_op);
  return out;
}

}  // namespace zebroid
