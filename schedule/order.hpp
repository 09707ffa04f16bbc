#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "schedule/schedule.hpp"

namespace zebroid {

/// How many ops of each stream of one rank, its first ones, have ended.
using StreamClock = std::array<std::uint32_t, stream_count>;

/// What has surely ended on one rank, whatever takes how long.
struct LocalOrder {
  std::vector<StreamClock> at_start;    ///< [ops] when it starts; of an exchange, is launched there
  std::vector<StreamClock> at_end;      ///< [ops] when it has ended there; counts itself
  std::vector<std::uint32_t> position;  ///< [ops] in its stream
};

/// Of every rank, by rules 1 to 3 of docs/architecture.md, "What a schedule means". An exchange
/// tells its members what the others knew at its launch of earlier exchanges of the same group: one
/// that has ended on all others has no flow left, and a sum that ended on one member ended on all.
/// The schedule has no faults. Nearly linear in ops and reads, with 52 bytes an op.
std::vector<LocalOrder> local_orders(const Schedule& schedule);

}  // namespace zebroid
