#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "planner/ways.hpp"

namespace zebroid {

/// By how much a time of this grade may be off, as a share of it (docs/adr/011-verdicts.md).
double error_of(Evidence evidence);

/// What a verdict assumes about one class of costs: one kernel class on one GPU kind, or all links.
struct Assumption {
  std::string gpu;                    ///< "" = the network
  std::optional<KernelClass> kernel;  ///< nothing = the network
  Evidence evidence = Evidence::roofline;
  double rate = 1;  ///< that it runs at, as a multiple of what was assumed
};
std::string name_of(const Assumption& assumption);  ///< "attention_core on V100-16GB 25 % slower"

/// Each class of costs that the scenario has, slower and faster by the error of its grade.
std::vector<Assumption> assumptions_of(const Scenario& scenario);

/// Tokens per second of a way as it was planned, when an assumption is off so.
double tokens_per_s(const Way& way, const Assumption& assumption, const Scorer& score);
/// The same when routing is drawn anew.
double tokens_per_s(const Way& way, const RoutingRequest& routing, const Scorer& score);

}  // namespace zebroid
