#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/json.hpp"
#include "core/units.hpp"
#include "schedule/schedule.hpp"

namespace zebroid {

/// When one op ran on one rank, from the start of the iteration.
struct OpTimes {
  Seconds ready;    ///< launched on this rank; waiting = started - ready
  Seconds started;  ///< all members had reached it; for compute = ready
  Seconds ended;
  Bytes sent;       ///< by this rank in an exchange
  double rows = 0;  ///< token copies of an expert op

  friend bool operator==(const OpTimes&, const OpTimes&) = default;
};

/// One iteration as predicted or measured.
struct Timeline {
  std::string origin;                       ///< "simulated by fast (pair)", "measured on ..."
  std::vector<std::vector<OpTimes>> ranks;  ///< [ranks][ops of the rank's program]
  /// Where the sharing of ports was approximated (profile): the share of the time that exchanges
  /// spent moving bytes in which they shared a port with another one.
  std::optional<double> overlap_fraction;

  /// End of the last op, 0 when there is none.
  Seconds makespan() const;

  friend bool operator==(const Timeline&, const Timeline&) = default;
};

/// Where one rank's time goes, as shares of the makespan; busy + exposed + bubble = 1.
/// An idle gap before a compute op belongs to the op that it waits for: exposed communication while
/// that op's transfer runs, bubble while it waits for a peer or for computed data; where it waited
/// for another exchange of this rank (a sum before the norm), the time before goes to that one.
/// Idle time after the last compute op is bubble.
struct Utilization {
  double busy = 0;       ///< the compute stream runs
  double effective = 0;  ///< busy without recomputation
  double exposed = 0;
  double bubble = 0;
};
std::vector<Utilization> utilization(const Schedule& schedule, const Timeline& timeline);

}  // namespace zebroid
