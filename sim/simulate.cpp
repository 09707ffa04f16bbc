#include "sim/simulate.hpp"

#include <fmt/format.h>

#include <cmath>
#include <cstring>
#include <set>
#include <type_traits>

#include "core/error.hpp"
#include "core/json.hpp"
#include "core/process.hpp"
#include "schedule/verify.hpp"
#include "sim/engines.hpp"

namespace zebroid {
namespace {

/// Refuses a network that cannot carry the schedule's exchanges.
void check_network(const Schedule& schedule, const Network& network) {
  Faults faults;
  std::set<std::string> names;
  for (const Port& port : network.ports()) {
    if (!names.insert(port.name).second) {
      faults.add(fmt::format("network: two ports are called '{}'", port.name));
    }
    if (!std::isfinite(port.bandwidth.value) || port.bandwidth.value <= 0) {
      faults.add(fmt::format("network: port '{}': expected a bandwidth above 0 bytes/s, got {}",
                             port.name, port.bandwidth.value));
    }
  }
  std::set<std::pair<GpuId, GpuId>> apart;
  for (const auto& group : schedule.groups) {
    for (const RankId a : group) {
      for (const RankId b : group) {
        const GpuId from = schedule.ranks[a.value].gpu;
        const GpuId to = schedule.ranks[b.value].gpu;
        if (a == b || !network.path(from, to).empty() || !apart.insert({from, to}).second) continue;
        faults.add(
            fmt::format("network: no port lies between gpu{} and gpu{}, whose ranks {} and {} "
                        "exchange data",
                        from.value, to.value, a.value, b.value));
      }
    }
  }
  faults.throw_if_any();
}

// A timeline crosses from one process to its fork as it lies in memory: no text could be closer.
static_assert(std::is_trivially_copyable_v<OpTimes>);

std::string packed(const Timeline& timeline) {
  std::string out;
  for (const auto& ops : timeline.ranks) {
    out.append(reinterpret_cast<const char*>(ops.data()), ops.size() * sizeof(OpTimes));
  }
  return out + timeline.origin;
}

Timeline unpacked(const std::string& text, const Schedule& schedule) {
  Timeline out;
  const char* at = text.data();
  for (std::uint32_t r = 0; r < schedule.ranks.size(); ++r) {
    auto& ops = out.ranks.emplace_back(schedule.program_of({r}).size());
    const std::size_t bytes = ops.size() * sizeof(OpTimes);
    if (bytes > 0) std::memcpy(ops.data(), at, bytes);
    at += bytes;
  }
  out.origin.assign(at, text.data() + text.size());
  return out;
}

Timeline simulate_apart(const Schedule& schedule, const Load& load,
                        const SimulateOptions& options) {
  require_engine(Engine::simgrid);
  const ProcessOptions process{.silent = true, .poll = options.poll, .what = "SimGrid's process"};
  const std::string timeline = run_in_process(
      [&] { return packed(simulate_with_simgrid(schedule, load, options)); }, process);
  return unpacked(timeline, schedule);
}

}  // namespace

#ifndef ZEBROID_HAS_SIMGRID
Timeline simulate_with_simgrid(const Schedule& /*schedule*/, const Load& /*load*/,
                               const SimulateOptions& /*options*/) {
  throw Error(ErrorKind::internal, "require_engine() comes first");
}
#endif

const std::vector<std::string>& engine_names() {
  static const std::vector<std::string> names = {"fast", "simgrid"};
  return names;
}

const std::vector<std::string>& fidelity_names() {
  static const std::vector<std::string> names = {"auto", "pair", "port", "profile"};
  return names;
}

bool has_simgrid() {
#ifdef ZEBROID_HAS_SIMGRID
  return true;
#else
  return false;
#endif
}

void require_engine(Engine engine) {
  if (engine == Engine::fast || has_simgrid()) return;
  throw Error(ErrorKind::hardware,
              "the engine simgrid is not here: this zebroid was built without SimGrid; install "
              "libsimgrid-dev and build again, or use --engine fast");
}

Fidelity simgrid_fidelity(Fidelity fidelity, const Schedule& schedule) {
  constexpr std::size_t most_ranks = 16;  // beyond, flows for each pair take SimGrid minutes
  if (fidelity != Fidelity::automatic) return fidelity;
  return schedule.ranks.size() > most_ranks ? Fidelity::port : Fidelity::pair;
}

Timeline simulate(const Schedule& schedule, const Load& load, const SimulateOptions& options) {
  if (!options.verified) refuse_faults(schedule, "simulate");
  if (!options.verified || options.engine == Engine::simgrid) {
    check_network(schedule, load.network());
  }
  const auto refuse = [](std::string_view engine, std::string_view fidelities) {
    throw Error(ErrorKind::input,
                fmt::format("the engine {} has the fidelities auto, {}", engine, fidelities));
  };
  SimulateOptions exact = options;
  exact.timeline = true;
  if (options.engine == Engine::fast) {
    if (options.fidelity == Fidelity::port) refuse("fast", "pair and profile");
    return simulate_fast(schedule, load, exact);
  }
  if (options.fidelity == Fidelity::profile) refuse("simgrid", "pair and port");
  exact.fidelity = simgrid_fidelity(options.fidelity, schedule);
  return simulate_apart(schedule, load, exact);
}

}  // namespace zebroid
