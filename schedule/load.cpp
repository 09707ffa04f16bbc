#include "schedule/load.hpp"

namespace zebroid {

std::vector<Message> Load::messages(GroupId group, const std::vector<RankId>& members,
                                    const Op& op) const {
  std::vector<Message> out;
  const auto size = static_cast<std::uint32_t>(members.size());
  for (std::uint32_t from = 0; from < size; ++from) {
    for (std::uint32_t to = 0; to < size; ++to) {
      if (from == to) continue;
      const Bytes sent = bytes(group, op, members[from], members[to]);
      if (sent.value != 0) out.push_back({from, to, sent});
    }
  }
  return out;
}

}  // namespace zebroid
