#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "schedule/load.hpp"
#include "schedule/schedule.hpp"
#include "schedule/timeline.hpp"

namespace zebroid {

enum class Engine : std::uint8_t { fast, simgrid };
const std::vector<std::string>& engine_names();  ///< in the order of the enum

/// How an exchange becomes flows. `pair`: one for each sender and receiver, which is exact.
/// `profile` (fast): as pair while an exchange shares no port with another; those that do get one
/// max-min rate each. `port` (SimGrid): for each member one volume on its ports out and one on its
/// ports in; a member ends when its volumes and those of all members that it exchanges bytes with
/// have drained. `automatic`: pair; but profile on fast when more than 16 ranks that differ share
/// ports, and port on SimGrid with more than 16 ranks.
enum class Fidelity : std::uint8_t { automatic, pair, port, profile };
const std::vector<std::string>& fidelity_names();  ///< "auto", "pair", "port", "profile"

struct SimulateOptions {
  /// An exchange is launched no earlier than the exchange listed before it on the rank. Off only to
  /// find a good order.
  bool launch_rule = true;
  /// Each rank's compute ops run in the order in which they are listed. Off only to find a good
  /// order: then, whenever the stream is free, the first listed of those that can run does.
  bool compute_in_order = true;
  /// The caller knows that verify() finds no faults.
  bool verified = false;
  Engine engine = Engine::fast;
  Fidelity fidelity = Fidelity::automatic;
  /// fast: ranks that are alike run as one. Off only to test that it changes nothing.
  bool fold = true;
  /// Keep when each op ran. simulate() always does; a FastSimulation (sim/fast.hpp) need not.
  bool timeline = true;
  std::function<void()> poll;  ///< called now and then; may throw to end the simulation
};

/// Whether this zebroid was built with SimGrid.
bool has_simgrid();
/// Throws Error(hardware), saying what to install, when it was built without the engine.
void require_engine(Engine engine);
/// What `automatic` means for SimGrid; any other fidelity as it is.
Fidelity simgrid_fidelity(Fidelity fidelity, const Schedule& schedule);
/// What a timeline of the fast engine was simulated with.
inline Fidelity fast_fidelity(const Timeline& timeline) {
  return timeline.overlap_fraction ? Fidelity::profile : Fidelity::pair;
}

/// Predicts the timeline without hardware, by the rules of docs/architecture.md. Equal inputs give
/// bit-equal timelines. SimGrid runs in a process of its own (fork), so calls are independent.
/// Throws Error(input) when verify finds faults, the network cannot carry an exchange, or the
/// engine lacks the fidelity; Error(hardware) without SimGrid; Error(internal) naming the op when a
/// rank never gets to run one.
Timeline simulate(const Schedule& schedule, const Load& load, const SimulateOptions& options = {});

}  // namespace zebroid
