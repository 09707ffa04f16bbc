#include "schedule/exchanges.hpp"

#include <algorithm>
#include <tuple>

namespace zebroid {
namespace {

struct Entry {
  GroupId group;
  Op op;  ///< slot 0: members may know the group by different slots
  Exchange::Member member;
};

bool same_exchange(const Entry& a, const Entry& b) { return a.group == b.group && a.op == b.op; }

}  // namespace

Exchanges match_exchanges(const Schedule& schedule) {
  Exchanges out;
  std::vector<Entry> entries;
  for (std::uint32_t r = 0; r < schedule.ranks.size(); ++r) {
    const Program& program = schedule.program_of({r});
    out.of.emplace_back(program.size(), Exchanges::none);
    for (std::uint32_t i = 0; i < program.size(); ++i) {
      if (!is_exchange(program[i].work)) continue;
      Op op = program[i];
      op.slot = 0;
      entries.push_back({schedule.group_of({r}, program[i]), op, {{r}, i}});
    }
  }
  std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
    return std::tie(a.group, a.op, a.member.rank, a.member.op) <
           std::tie(b.group, b.op, b.member.rank, b.member.op);
  });
  for (std::size_t i = 0; i < entries.size(); ++i) {
    const auto& [group, op, member] = entries[i];
    if (i == 0 || !same_exchange(entries[i - 1], entries[i])) {
      out.all.push_back({group, schedule.program_of(member.rank)[member.op], {}});
    }
    out.all.back().members.push_back(member);
    out.of[member.rank.value][member.op] = static_cast<std::uint32_t>(out.all.size() - 1);
  }
  return out;
}

}  // namespace zebroid
