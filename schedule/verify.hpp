#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "schedule/schedule.hpp"

namespace zebroid {

/// Sequences of a rank's share that microbatch `microbatch` of `microbatches` holds: a sequence is
/// never split.
constexpr std::uint32_t sequences_in(std::uint32_t sequences, std::uint32_t microbatch,
                                     std::uint32_t microbatches) {
  const auto upto = [&](std::uint64_t j) { return j * sequences / microbatches; };
  return static_cast<std::uint32_t>(upto(microbatch + 1ULL) - upto(microbatch));
}

/// Something that keeps a schedule from running, or from being one whole training step.
struct Fault {
  std::string message;  ///< names the ranks and ops at fault
};

/// All faults of a schedule; empty when it can run on any engine or backend. What it accepts cannot
/// deadlock under the rules of docs/architecture.md: the graph of data, stream order, launch order
/// and rendezvous has no cycle. Of a kind of fault that repeats, the first few are listed. O(ops
/// log ops).
std::vector<Fault> verify(const Schedule& schedule);

/// Throws Error(input) listing the faults, when there are any; it calls the schedule `name`.
void refuse_faults(const Schedule& schedule, const std::string& name);

}  // namespace zebroid
