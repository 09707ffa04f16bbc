#pragma once

#include <optional>
#include <string>
#include <vector>

#include "schedule/load.hpp"
#include "schedule/schedule.hpp"
#include "schedule/timeline.hpp"

namespace zebroid {

/// Where two timelines of one schedule part first, and what was shared there.
struct Parting {
  RankId rank;
  Op op;
  Seconds reference;  ///< from start to end of the op
  Seconds other;
  std::string port;  ///< that holds the op's transfer up longest; "" for compute
  std::vector<std::string> shared_with;  ///< exchanges under way that cross this port, at most 3
};

/// How far two timelines of one schedule are apart, in shares of the reference's makespan.
struct Agreement {
  double makespan = 0;  ///< of the other one, less the reference's; may be negative
  double p90 = 0;       ///< of the ops' ends
  double worst = 0;
  std::optional<Parting> parting;  ///< nothing when no op's duration differs by 1e-9
};

/// Compares op by op. `load` is what both were simulated with.
Agreement compare(const Schedule& schedule, const Load& load, const Timeline& reference,
                  const Timeline& other);

}  // namespace zebroid
