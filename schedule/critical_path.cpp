#include "schedule/critical_path.hpp"

#include <algorithm>
#include <array>
#include <map>
#include <utility>

namespace zebroid {
namespace {

constexpr std::uint32_t none = UINT32_MAX;

/// What an op of a program comes after.
struct Order {
  Reads reads;
  std::vector<std::uint32_t> before_on_stream;  // [ops]
  std::vector<std::uint32_t> listed_before;     // [ops] the exchange before an exchange
  std::map<std::uint64_t, std::uint32_t> exchanges;

  Order(const Schedule& schedule, const Program& program)
      : reads(zebroid::reads(schedule, program)),
        before_on_stream(program.size(), none),
        listed_before(program.size(), none) {
    std::array<std::uint32_t, stream_count> last{};
    last.fill(none);
    std::uint32_t exchange = none;
    for (std::uint32_t i = 0; i < program.size(); ++i) {
      std::uint32_t& on_stream = last.at(static_cast<std::size_t>(stream_of(program[i])));
      before_on_stream[i] = std::exchange(on_stream, i);
      if (!is_exchange(program[i].work)) continue;
      listed_before[i] = std::exchange(exchange, i);
      exchanges.try_emplace(key_of(program[i]), i);
    }
  }
};

/// A moment that another one waited for: an op's end, or its launch.
struct Moment {
  RankId rank;
  std::uint32_t op = none;
  bool is_launch = false;
};

class Walk {
 public:
  Walk(const Schedule& schedule, const Timeline& timeline)
      : schedule_(schedule), timeline_(timeline) {
    for (const Program& program : schedule.programs) orders_.emplace_back(schedule, program);
  }

  std::vector<CriticalStep> run() const {
    std::vector<CriticalStep> out;
    for (Moment at = last(); at.op != none;) {
      const Moment op = at.is_launch ? at : last_member(at);
      const Moment before = what_let(op);
      const Seconds begin = before.op != none ? time_of(before) : Seconds{};
      const Seconds end = time_of(at);
      if (end > begin) out.push_back({op.rank, op.op, begin, end});
      at = before;
    }
    std::reverse(out.begin(), out.end());
    return out;
  }

 private:
  const OpTimes& times(const Moment& at) const { return timeline_.ranks[at.rank.value][at.op]; }
  Seconds time_of(const Moment& at) const {
    return at.is_launch ? times(at).ready : times(at).ended;
  }
  const Order& order_of(RankId rank) const { return orders_[schedule_.ranks[rank.value].program]; }

  Moment last() const {
    Moment out;
    for (std::uint32_t r = 0; r < timeline_.ranks.size(); ++r) {
      for (std::uint32_t i = 0; i < timeline_.ranks[r].size(); ++i) {
        const Moment here{{r}, i, false};
        if (out.op == none || times(here).ended > times(out).ended) out = here;
      }
    }
    return out;
  }

  /// Of an exchange the op of the member that launched it last; any other op itself.
  Moment last_member(const Moment& at) const {
    const Op& op = schedule_.program_of(at.rank)[at.op];
    if (!is_exchange(op.work)) return at;
    Moment out = at;
    for (const RankId rank : schedule_.groups[schedule_.group_of(at.rank, op).value]) {
      const auto theirs = order_of(rank).exchanges.find(key_of(op));
      if (theirs == order_of(rank).exchanges.end()) continue;
      const Moment member{rank, theirs->second, false};
      if (times(member).ready > times(out).ready) out = member;
    }
    return out;
  }

  /// The latest of all that an op waited for before it could be launched or run; its op is none
  /// when there is nothing.
  Moment what_let(const Moment& at) const {
    const Order& order = order_of(at.rank);
    Moment out;
    const auto consider = [&](std::uint32_t op, bool is_launch) {
      if (op == none) return;
      const Moment other{at.rank, op, is_launch};
      if (out.op == none || time_of(other) > time_of(out)) out = other;
    };
    consider(order.before_on_stream[at.op], false);
    for (std::uint32_t k = order.reads.first[at.op]; k < order.reads.first[at.op + 1]; ++k) {
      consider(order.reads.ops[k], false);
    }
    consider(order.listed_before[at.op], true);
    return out;
  }

  const Schedule& schedule_;
  const Timeline& timeline_;
  std::vector<Order> orders_;  // [programs]
};

}  // namespace

std::vector<CriticalStep> critical_path(const Schedule& schedule, const Timeline& timeline) {
  return Walk(schedule, timeline).run();
}

}  // namespace zebroid
