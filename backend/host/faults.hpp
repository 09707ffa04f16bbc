#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "schedule/schedule.hpp"

namespace zebroid {

/// What can go wrong on one rank on purpose, to see that it is found.
enum class FaultKind : std::uint8_t {
  stuck,       ///< the op never ends, until the run is stopped
  dead,        ///< the rank stops before the op, for good
  dropped,     ///< the op and the news of its end are lost
  swapped,     ///< the op, an exchange, changes places with the next one of its stream
  miscounted,  ///< the op sends one row less than its routing says, or one element
  flipped,     ///< one bit of what the op sends changes on the way
  hung,        ///< the op never ends, whatever happens: its thread is lost
};

/// A fault in every step that the run comes to.
struct Injection {
  FaultKind kind = FaultKind::stuck;
  RankId rank;
  std::uint32_t op = 0;  ///< index into the rank's program
};

/// The op after this one on its stream, if any.
std::optional<std::uint32_t> next_on_stream(const Program& program, std::uint32_t op);

/// "KIND:RANK:OP", as "stuck:3:expert 1.0": the first op of that name on that rank. Throws
/// Error(input) when there is none, or the fault does not fit the op.
Injection read_injection(std::string_view text, const Schedule& schedule);

}  // namespace zebroid
