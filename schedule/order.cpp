#include "schedule/order.hpp"

#include <algorithm>
#include <optional>
#include <span>

#include "schedule/exchanges.hpp"
#include "schedule/order_graph.hpp"

namespace zebroid {
namespace {

constexpr auto sync_stream = static_cast<std::size_t>(Stream::sync);

std::size_t stream_index(const Op& op) { return static_cast<std::size_t>(stream_of(op)); }

void merge(StreamClock& into, const StreamClock& clock) {
  for (std::size_t s = 0; s < stream_count; ++s) into.at(s) = std::max(into.at(s), clock.at(s));
}

/// What the ops of one program come behind on any rank that runs it.
struct Before {
  std::vector<std::optional<std::uint32_t>> on_stream;  ///< [ops]
  std::vector<std::optional<std::uint32_t>> launched;   ///< [ops] exchange listed before
};

Before find_before(const Program& program) {
  Before out;
  std::array<std::optional<std::uint32_t>, stream_count> last;
  std::optional<std::uint32_t> last_exchange;
  for (std::uint32_t i = 0; i < program.size(); ++i) {
    auto& before = last.at(stream_index(program[i]));
    out.on_stream.push_back(before);
    before = i;
    const bool exchanges = is_exchange(program[i].work);
    out.launched.push_back(exchanges ? last_exchange : std::nullopt);
    if (exchanges) last_exchange = i;
  }
  return out;
}

class Clocks {
 public:
  explicit Clocks(const Schedule& schedule)
      : schedule_(schedule), exchanges_(match_exchanges(schedule)) {
    for (const Program& program : schedule.programs) {
      reads_.push_back(reads(schedule, program));
      before_.push_back(find_before(program));
    }
    for (const auto& group : schedule.groups) listed_.emplace_back(group.size());
    for (std::uint32_t r = 0; r < schedule.ranks.size(); ++r) add_rank(r);
  }

  std::vector<LocalOrder> run() {
    const OrderGraph graph(schedule_, exchanges_, reads_);
    for (const std::uint32_t node : graph.in_order()) {
      if (graph.is_op(node)) {
        start(graph.op_of(node));
      } else {
        end(exchanges_.all[graph.exchange_of(node)]);
      }
    }
    return std::move(out_);
  }

 private:
  using ByStream = std::array<std::vector<std::uint32_t>, stream_count>;

  void add_rank(std::uint32_t r) {
    const Program& program = schedule_.program_of({r});
    LocalOrder& order = out_.emplace_back();
    order.at_start.resize(program.size());
    order.at_end.resize(program.size());
    StreamClock count{};
    for (std::uint32_t i = 0; i < program.size(); ++i) {
      const std::size_t stream = stream_index(program[i]);
      order.position.push_back(count.at(stream)++);
      if (!is_exchange(program[i].work)) continue;
      const GroupId group = schedule_.group_of({r}, program[i]);
      const auto& members = schedule_.groups[group.value];
      const auto place = std::lower_bound(members.begin(), members.end(), RankId{r});
      listed_[group.value][static_cast<std::size_t>(place - members.begin())].at(stream).push_back(
          i);
    }
  }

  void start(Exchange::Member member) {
    const auto [rank, op] = member;
    LocalOrder& order = out_[rank.value];
    const std::uint16_t program = schedule_.ranks[rank.value].program;
    StreamClock& clock = order.at_start[op];
    if (const auto before = before_[program].on_stream[op]) merge(clock, order.at_end[*before]);
    if (const auto before = before_[program].launched[op]) merge(clock, order.at_start[*before]);
    const Reads& reads = reads_[program];
    for (std::uint32_t k = reads.first[op]; k < reads.first[op + 1]; ++k) {
      merge(clock, order.at_end[reads.ops[k]]);
    }
    const Op& what = schedule_.program_of(rank)[op];
    if (is_exchange(what.work)) return;
    order.at_end[op] = clock;
    order.at_end[op].at(stream_index(what)) = order.position[op] + 1;
  }

  /// It moves when all members have launched it: then what each of them knew has come true.
  void end(const Exchange& exchange) {
    for (const auto& [rank, op] : exchange.members) {
      LocalOrder& order = out_[rank.value];
      order.at_end[op] = order.at_start[op];
      order.at_end[op].at(stream_index(exchange.op)) = order.position[op] + 1;
    }
    if (exchange.members.size() < 2) return;
    for (std::size_t s = 0; s < stream_count; ++s) tell(exchange, s);
  }

  /// Exchanges of the group on a stream, in the same order on all members, that have surely ended
  /// on a member.
  std::uint32_t ended_on(const Exchange& exchange, std::size_t member, std::size_t stream) const {
    const auto& listed = listed_[exchange.group.value][member].at(stream);
    const auto [rank, op] = exchange.members[member];
    const LocalOrder& order = out_[rank.value];
    const std::uint32_t ended = order.at_start[op].at(stream);
    const auto first_not = std::partition_point(
        listed.begin(), listed.end(), [&](std::uint32_t i) { return order.position[i] < ended; });
    return static_cast<std::uint32_t>(first_not - listed.begin());
  }

  /// What has ended on all others has ended on a member too. Others than the one that knows least
  /// learn nothing by that.
  void tell(const Exchange& exchange, std::size_t stream) {
    const auto& listed = listed_[exchange.group.value];
    if (listed.front().at(stream).empty()) return;
    std::uint32_t most = 0;
    std::uint32_t least = UINT32_MAX;
    std::uint32_t least_of_others = UINT32_MAX;
    for (std::size_t m = 0; m < exchange.members.size(); ++m) {
      const std::uint32_t count = ended_on(exchange, m, stream);
      most = std::max(most, count);
      least_of_others = std::min(least_of_others, std::max(count, least));
      least = std::min(least, count);
    }
    // Sums and gathers end on all members together.
    const std::uint32_t ended = stream == sync_stream ? most : least_of_others;
    if (ended == 0) return;
    for (std::size_t m = 0; m < exchange.members.size(); ++m) {
      const auto [rank, op] = exchange.members[m];
      LocalOrder& order = out_[rank.value];
      merge(order.at_end[op], order.at_end[listed[m].at(stream)[ended - 1]]);
    }
  }

  const Schedule& schedule_;
  Exchanges exchanges_;
  std::vector<Reads> reads_;    // [programs]
  std::vector<Before> before_;  // [programs]
  std::vector<std::vector<ByStream>>
      listed_;  // [groups][members] ops that are exchanges of the group
  std::vector<LocalOrder> out_;
};

}  // namespace

std::vector<LocalOrder> local_orders(const Schedule& schedule) { return Clocks(schedule).run(); }

}  // namespace zebroid
