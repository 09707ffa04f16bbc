#include "schedule/exchange_times.hpp"

#include <algorithm>
#include <map>
#include <set>
#include <unordered_map>

namespace zebroid {
namespace {

std::optional<GroupShape> shape_of(const std::vector<std::uint32_t>& nodes) {
  std::map<std::uint32_t, std::uint32_t> members;
  for (const std::uint32_t node : nodes) ++members[node];
  const std::uint32_t per_node = members.begin()->second;
  const bool equal = std::all_of(members.begin(), members.end(),
                                 [&](const auto& node) { return node.second == per_node; });
  if (!equal) return std::nullopt;
  return GroupShape{static_cast<std::uint32_t>(nodes.size()), per_node};
}

/// The most bytes that any member sends or receives.
double most_of_a_member(std::size_t members, const Messages& messages) {
  std::vector<double> sent(members, 0);
  std::vector<double> received(members, 0);
  for (const Message message : messages) {
    sent[message.from] += message.bytes.value;
    received[message.to] += message.bytes.value;
  }
  return std::max(*std::max_element(sent.begin(), sent.end()),
                  *std::max_element(received.begin(), received.end()));
}

/// What nccl-tests prints as the size of a collective in which each of n ranks sends so much: the
/// buffer, of which a rank keeps its own part; a sum goes round twice.
double printed_size(MeasuredOp collective, double sent, double n) {
  const double buffer = sent * n / (n - 1);
  return collective == MeasuredOp::all_reduce ? buffer / 2 : buffer;
}

}  // namespace

ExchangeTimes::ExchangeTimes(const Schedule& schedule, const Scenario& scenario,
                             const Network& network)
    : schedule_(schedule), network_(network), kinds_(scenario.cluster.kinds.size()) {
  const Calibration& calibration = scenario.calibration;
  const std::vector<GpuSpec>& kinds = scenario.cluster.kinds;
  const std::vector<std::string> names = names_of(calibration, kinds);
  const bool any = std::any_of(names.begin(), names.end(), [&](const std::string& name) {
    return !calibration.gpus.at(name).collectives.empty();
  });
  if (!any) return;
  gpus_ = gpus_of(scenario.cluster);
  for (const GpuSpec& a : kinds) {
    for (const GpuSpec& b : kinds) {
      const GroupCalibration known = group_calibration(calibration, {&a, &b});
      pairs_.push_back({known, GroupShape{2, 1}});
      pairs_.push_back({known, GroupShape{2, 2}});
    }
  }
  std::map<std::set<std::uint32_t>, GroupCalibration> seen;
  for (const std::vector<RankId>& members : schedule.groups) {
    std::set<std::uint32_t> among;
    std::vector<std::uint32_t> nodes;
    for (const RankId member : members) {
      const Gpu& gpu = gpus_[schedule.ranks[member.value].gpu.value];
      among.insert(gpu.kind);
      nodes.push_back(gpu.node);
    }
    const auto [known, is_new] = seen.try_emplace(among);
    if (is_new) {
      std::vector<const GpuSpec*> specs;
      for (const std::uint32_t kind : among) specs.push_back(&kinds[kind]);
      known->second = group_calibration(calibration, specs);
    }
    groups_.push_back({known->second, shape_of(nodes)});
  }
}

const ExchangeTimes::Group& ExchangeTimes::pair(RankId a, RankId b) const {
  const Gpu& from = gpus_[schedule_.ranks[a.value].gpu.value];
  const Gpu& to = gpus_[schedule_.ranks[b.value].gpu.value];
  return pairs_[(from.kind * kinds_ + to.kind) * 2 + (from.node == to.node ? 1 : 0)];
}

std::optional<ExchangeTimes::Answer> ExchangeTimes::of(GroupId group, MeasuredOp collective,
                                                       const Messages& messages) const {
  if (empty() || messages.empty()) return std::nullopt;
  return collective == MeasuredOp::send_recv ? of_pairs(group, messages)
                                             : of_group(group, collective, messages);
}

std::optional<ExchangeTimes::Answer> ExchangeTimes::of_group(GroupId group, MeasuredOp collective,
                                                             const Messages& messages) const {
  const Group& own = groups_[group.value];
  if (own.known.calibration == nullptr) return std::nullopt;
  const std::size_t members = schedule_.groups[group.value].size();
  const double size =
      printed_size(collective, most_of_a_member(members, messages), static_cast<double>(members));
  return answer(own, collective, size, on_fullest_port(group, messages));
}

/// The slowest message decides; one that says nothing leaves the whole unknown.
std::optional<ExchangeTimes::Answer> ExchangeTimes::of_pairs(GroupId group,
                                                             const Messages& messages) const {
  const auto& members = schedule_.groups[group.value];
  std::optional<Answer> out;
  for (const Message message : messages) {
    Messages alone;
    alone.add(message);
    const Group& ends = pair(members[message.from], members[message.to]);
    const auto one =
        answer(ends, MeasuredOp::send_recv, message.bytes.value, on_fullest_port(group, alone));
    if (!one) return std::nullopt;
    if (!out) out = one;
    out->latency = std::max(out->latency, one->latency);
    out->evidence = out->evidence && one->evidence
                        ? std::optional(std::max(*out->evidence, *one->evidence))
                        : std::nullopt;
  }
  return out;
}

Seconds ExchangeTimes::on_fullest_port(GroupId group, const Messages& messages) const {
  const auto& members = schedule_.groups[group.value];
  std::unordered_map<std::uint32_t, double> bytes;
  for (const Message message : messages) {
    const GpuId from = schedule_.ranks[members[message.from].value].gpu;
    const GpuId to = schedule_.ranks[members[message.to].value].gpu;
    for (const PortId port : network_.path(from, to)) bytes[port.value] += message.bytes.value;
  }
  Seconds out;
  for (const auto& [port, sum] : bytes) {
    out = std::max(out, Bytes{sum} / network_.ports()[port].bandwidth);
  }
  return out;
}

std::optional<ExchangeTimes::Answer> ExchangeTimes::answer(const Group& group,
                                                           MeasuredOp collective, double size,
                                                           Seconds on_ports) const {
  if (group.known.calibration == nullptr || !group.shape) return std::nullopt;
  const auto time = collective_time(*group.known.calibration, collective, *group.shape, size);
  if (!time) return std::nullopt;
  if (time->seconds < on_ports) return Answer{};
  return Answer{time->seconds - on_ports, group.known.of_these
                                              ? time->evidence
                                              : std::max(time->evidence, Evidence::extrapolated)};
}

std::optional<CollectiveRun> collective_run(const Schedule& schedule, const Cluster& cluster,
                                            GroupId group, MeasuredOp collective,
                                            const Messages& messages) {
  if (messages.empty()) return std::nullopt;
  const std::vector<Gpu> gpus = gpus_of(cluster);
  const auto& members = schedule.groups[group.value];
  const auto node_of = [&](RankId rank) { return gpus[schedule.ranks[rank.value].gpu.value].node; };
  if (collective == MeasuredOp::send_recv) {
    Message largest;
    for (const Message message : messages) {
      if (message.bytes > largest.bytes) largest = message;
    }
    const bool one_node = node_of(members[largest.from]) == node_of(members[largest.to]);
    return CollectiveRun{collective, largest.bytes.value, {2, one_node ? 2U : 1U}};
  }
  std::vector<std::uint32_t> nodes;
  for (const RankId member : members) nodes.push_back(node_of(member));
  const auto shape = shape_of(nodes);
  if (!shape) return std::nullopt;
  return CollectiveRun{collective,
                       printed_size(collective, most_of_a_member(members.size(), messages),
                                    static_cast<double>(members.size())),
                       *shape};
}

}  // namespace zebroid
