#include "schedule/load.hpp"

namespace zebroid {

void Messages::add(const Message& message) {
  ++size_;
  if (!runs_.empty()) {
    auto& last = runs_.back();
    if (last.from == message.from && last.to + last.count == message.to &&
        last.bytes == message.bytes) {
      ++last.count;
      return;
    }
  }
  runs_.push_back({message.from, message.to, 1, message.bytes});
}

Messages Load::messages(GroupId group, const std::vector<RankId>& members, const Op& op) const {
  Messages out;
  const auto size = static_cast<std::uint32_t>(members.size());
  for (std::uint32_t from = 0; from < size; ++from) {
    for (std::uint32_t to = 0; to < size; ++to) {
      if (from == to) continue;
      const Bytes sent = bytes(group, op, members[from], members[to]);
      if (sent.value != 0) out.add({from, to, sent});
    }
  }
  return out;
}

}  // namespace zebroid
