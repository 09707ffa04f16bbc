#pragma once

#include <cstdint>
#include <vector>

#include "schedule/schedule.hpp"

namespace zebroid {

/// One exchange: the ops of several ranks that match by group, work, pass, layer, microbatch and
/// chunk.
struct Exchange {
  struct Member {
    RankId rank;
    std::uint32_t op = 0;  ///< index into the rank's program
  };
  GroupId group;
  Op op;  ///< as the first member lists it
  std::vector<Member>
      members;  ///< ascending by rank; more or fewer than the group's members in a faulty schedule
};

struct Exchanges {
  std::vector<Exchange> all;  ///< ordered by group, then op
  static constexpr std::uint32_t none = UINT32_MAX;
  std::vector<std::vector<std::uint32_t>>
      of;  ///< [ranks][ops] -> index into `all`; none for compute ops
};

/// Needs every slot and group number of the schedule to exist. O(ops log ops).
Exchanges match_exchanges(const Schedule& schedule);

}  // namespace zebroid
