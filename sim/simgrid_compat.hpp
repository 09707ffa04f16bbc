#pragma once

// SimGrid from 3.32 (Debian 12) to 4.x behind one set of names. Included by sim/simgrid.cpp alone.

#include <simgrid/version.h>
#include <xbt/log.h>

#include <functional>
#include <simgrid/s4u.hpp>
#include <string>
#include <vector>

namespace zebroid::sg_compat {

namespace sg4 = simgrid::s4u;

/// Exact max-min sharing without latency, protocol overhead or reverse traffic, whole system solved
/// at once: the lazy solver misses links that flows share beyond their first.
inline void set_model() {
#if SIMGRID_VERSION >= 33600
  sg4::Engine::set_config("network/model:raw");
#else
  sg4::Engine::set_config("network/model:CM02");
  sg4::Engine::set_config("network/crosstraffic:0");
  sg4::Engine::set_config("network/TCP-gamma:1e30");
#endif
  sg4::Engine::set_config("network/optim:Full");
  sg4::Engine::set_config("cpu/optim:Full");
}

inline sg4::NetZone* add_star(sg4::Engine& engine) {
#if SIMGRID_VERSION >= 40000
  return engine.get_netzone_root()->add_netzone_star("gpus");
#else
  (void)engine;
  return sg4::create_star_zone("gpus");
#endif
}

inline sg4::Host* add_host(sg4::NetZone& zone, const std::string& name,
                           const std::vector<double>& speeds) {
#if SIMGRID_VERSION >= 40000
  return zone.add_host(name, speeds);
#else
  return zone.create_host(name, speeds);
#endif
}

inline sg4::Link* add_link(sg4::NetZone& zone, const std::string& name, double bandwidth) {
#if SIMGRID_VERSION >= 40000
  return zone.add_link(name, bandwidth)->set_latency(0.0);
#else
  return zone.create_link(name, bandwidth)->set_latency(0.0);
#endif
}

/// Everything that a host sends crosses these links.
inline void route_out(sg4::NetZone& zone, sg4::Host* from,
                      const std::vector<sg4::LinkInRoute>& links) {
#if SIMGRID_VERSION >= 40000
  zone.add_route(from, nullptr, links, false);
#else
  zone.add_route(from->get_netpoint(), nullptr, nullptr, nullptr, links, false);
#endif
}

/// Everything that a host receives crosses these links.
inline void route_in(sg4::NetZone& zone, sg4::Host* to,
                     const std::vector<sg4::LinkInRoute>& links) {
#if SIMGRID_VERSION >= 40000
  zone.add_route(nullptr, to, links, false);
#else
  zone.add_route(nullptr, to->get_netpoint(), nullptr, nullptr, links, false);
#endif
}

inline void seal(sg4::Engine& engine, sg4::NetZone& zone) {
  zone.seal();
#if SIMGRID_VERSION >= 40000
  engine.seal_platform();
#else
  (void)engine;
#endif
}

/// Calls back when an execution or communication has ended, well or not.
inline void on_done(const std::function<void(const sg4::Activity&)>& callback) {
#if SIMGRID_VERSION >= 33400
  sg4::Exec::on_completion_cb([callback](const sg4::Exec& exec) { callback(exec); });
  sg4::Comm::on_completion_cb([callback](const sg4::Comm& comm) { callback(comm); });
#else
  sg4::Activity::on_completion_cb(callback);
#endif
}

}  // namespace zebroid::sg_compat
