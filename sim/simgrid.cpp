#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <deque>
#include <map>
#include <simgrid/kernel/Timer.hpp>
#include <utility>

#include "core/error.hpp"
#include "sim/engines.hpp"
#include "sim/rule_engine.hpp"
#include "sim/simgrid_compat.hpp"

namespace zebroid {
namespace {

namespace sg4 = simgrid::s4u;

/// A GPU's side of the paths to peers that are equally far away: a host behind these links.
struct Side {
  std::vector<PortId> ports;
  bool is_out = false;
  sg4::Host* host = nullptr;
};

/// The platform: a star. Each rank has a host that computes; each GPU has a host for every side of
/// its paths, since what a host of a star sends, or receives, always crosses the same links.
class Platform {
 public:
  Platform(const Network& network, const std::vector<GpuId>& gpu_of,
           const std::vector<double>& sm_shares)
      : network_(network), zone_(sg_compat::add_star(*sg4::Engine::get_instance())) {
    for (const Port& port : network.ports()) {
      links_.push_back(sg_compat::add_link(*zone_, port.name, port.bandwidth.value));
    }
    for (std::size_t r = 0; r < gpu_of.size(); ++r) {
      compute_.push_back(
          sg_compat::add_host(*zone_, fmt::format("rank{}", r), {1.0, 1.0 - sm_shares[r]}));
    }
    sink_ = sg_compat::add_host(*zone_, "sink", {1.0});
    sg_compat::route_out(*zone_, sink_, {});
    sg_compat::route_in(*zone_, sink_, {});
    add_sides(gpu_of);
    sg_compat::seal(*sg4::Engine::get_instance(), *zone_);
  }

  sg4::Host* compute(std::uint32_t rank) const { return compute_[rank]; }
  sg4::Host* sink() const { return sink_; }
  /// The sender's, or the receiver's, side of the path between two GPUs.
  std::uint32_t out_side(GpuId from, GpuId to) const { return out_of_[at(from, to)]; }
  std::uint32_t in_side(GpuId from, GpuId to) const { return in_of_[at(from, to)]; }
  const Side& side(std::uint32_t s) const { return sides_[s]; }
  std::size_t sides() const { return sides_.size(); }

 private:
  std::size_t at(GpuId from, GpuId to) const {
    return std::size_t{index_.at(from.value)} * gpus_ + index_.at(to.value);
  }

  void add_sides(const std::vector<GpuId>& gpu_of) {
    std::map<std::uint32_t, GpuId> gpus;
    for (const GpuId gpu : gpu_of) gpus.emplace(gpu.value, gpu);
    gpus_ = gpus.size();
    std::uint32_t next = 0;
    index_.resize(gpus.empty() ? 0 : gpus.rbegin()->first + 1U);
    for (const auto& [value, gpu] : gpus) index_[value] = next++;
    out_of_.resize(gpus_ * gpus_);
    in_of_.resize(gpus_ * gpus_);
    for (const auto& [a, from] : gpus) {
      for (const auto& [b, to] : gpus) {
        if (from == to) continue;
        const Path path = network_.path(from, to);
        const PortId* const middle = path.begin() + path.sender_ports();
        out_of_[at(from, to)] = find_or_add(from, true, {path.begin(), middle});
        in_of_[at(from, to)] = find_or_add(to, false, {middle, path.end()});
      }
    }
  }

  std::uint32_t find_or_add(GpuId gpu, bool out, std::vector<PortId> ports) {
    auto& known = sides_of_[{gpu.value, out}];
    for (const std::uint32_t s : known) {
      if (sides_[s].ports == ports) return s;
    }
    std::vector<sg4::LinkInRoute> route;
    for (const PortId port : ports) route.emplace_back(links_[port.value]);
    const auto added = static_cast<std::uint32_t>(sides_.size());
    sg4::Host* const host = sg_compat::add_host(*zone_, fmt::format("side{}", added), {1.0});
    (out ? sg_compat::route_out : sg_compat::route_in)(*zone_, host, route);
    sides_.push_back({std::move(ports), out, host});
    known.push_back(added);
    return added;
  }

  const Network& network_;
  sg4::NetZone* zone_;
  std::vector<sg4::Link*> links_;    // [ports]
  std::vector<sg4::Host*> compute_;  // [ranks]
  sg4::Host* sink_ = nullptr;
  std::vector<Side> sides_;
  std::map<std::pair<std::uint32_t, bool>, std::vector<std::uint32_t>> sides_of_;
  std::size_t gpus_ = 0;
  std::vector<std::uint32_t> index_;   // [gpu] of those that have ranks
  std::vector<std::uint32_t> out_of_;  // [index * gpus + index]
  std::vector<std::uint32_t> in_of_;
};

/// What an activity of SimGrid stands for. Its address is the activity's data.
struct Task {
  sg4::ActivityPtr activity;
  std::uint32_t rank = none;  ///< of a compute op; none for a part of an exchange
  std::uint32_t exchange = 0;
  std::vector<std::uint32_t> members;  ///< that wait for this part

  static constexpr std::uint32_t none = UINT32_MAX;
};

class SimGridEngine final : RuleEngine {
 public:
  SimGridEngine(const Schedule& schedule, const Load& load, const SimulateOptions& options)
      : SimGridEngine(schedule, load, options, Wires(schedule, load, options.poll)) {}

  Timeline run() {
    sg_compat::on_done([this](const sg4::Activity& activity) { done(activity); });
    reset();
    start_what_can(0);
    sg4::Engine::get_instance()->run();
    expect_all_ended();
    return timeline(by_port_ ? "simulated by simgrid (port)" : "simulated by simgrid (pair)");
  }

 private:
  SimGridEngine(const Schedule& schedule, const Load& load, const SimulateOptions& options,
                Wires wires)
      : RuleEngine(schedule, load, options, wires, unfolded(schedule, load.network())),
        by_port_(options.fidelity == Fidelity::port),
        wires_(std::move(wires)),
        platform_(load.network(), gpus_of(schedule), sm_shares(load, schedule)),
        parts_(exchange_count()),
        volumes_(platform_.sides()) {}

  static std::vector<GpuId> gpus_of(const Schedule& schedule) {
    std::vector<GpuId> out;
    for (const Rank& rank : schedule.ranks) out.push_back(rank.gpu);
    return out;
  }
  static std::vector<double> sm_shares(const Load& load, const Schedule& schedule) {
    std::vector<double> out;
    for (std::uint32_t r = 0; r < schedule.ranks.size(); ++r) out.push_back(load.sm_share({r}));
    return out;
  }

  static double now() { return sg4::Engine::get_clock(); }

  void start_compute(std::uint32_t rank, double work, double rate) override {
    change_rate(rank, rate);
    Task& task = new_task();
    task.rank = rank;
    const sg4::ExecPtr exec = sg4::Exec::init();
    exec->set_flops_amount(work)->set_host(platform_.compute(rank));
    start(task, exec);
  }

  void change_rate(std::uint32_t rank, double rate) override {
    sg4::Host* const host = platform_.compute(rank);
    const unsigned long state = rate < 1 ? 1 : 0;
    if (host->get_pstate() != state) host->set_pstate(state);
  }

  void start_transfer(std::uint32_t x) override {
    const Seconds latency = traffic_of(x).latency;
    if (latency.value <= 0) {
      move(x);
      return;
    }
    simgrid::kernel::timer::Timer::set(now() + latency.value, [this, x] { move(x); });
  }

  void move(std::uint32_t x) {
    const Wire& wire = wires_.all()[traffic_of(x).wires.front()];
    const std::size_t first = begun_.size();
    by_port_ ? add_volumes(x, wire) : add_flows(x, wire);
    for (std::size_t i = first; i < begun_.size(); ++i) begin_part(x, begun_[i].task->members);
    for (std::size_t i = first; i < begun_.size(); ++i) {
      const auto& [task, from, to, bytes] = begun_[i];
      const sg4::CommPtr comm = sg4::Comm::sendto_init(from, to);
      comm->set_payload_size(static_cast<std::uint64_t>(bytes));
      start(*task, comm);
    }
    begun_.resize(first);
  }

  /// A part of an exchange's transfer that these members wait for begins; all parts of a transfer
  /// begin before one ends.
  void begin_part(std::uint32_t x, const std::vector<std::uint32_t>& waiting) {
    Parts& parts = parts_[x];
    parts.of.resize(members(traffic_of(x).group).size(), 0);
    ++parts.all;
    for (const std::uint32_t m : waiting) ++parts.of[m];
  }

  void end_part(std::uint32_t x, const std::vector<std::uint32_t>& waiting) {
    Parts& parts = parts_[x];
    --parts.all;
    if (exchange(x).ends_together) {
      if (parts.all > 0) return;
      for (std::uint32_t m = 0; m < parts.of.size(); ++m) end_member(x, m, now());
      return;
    }
    for (const std::uint32_t m : waiting) {
      if (--parts.of[m] == 0) end_member(x, m, now());
    }
  }

  GpuId gpu_of(const Wire& wire, std::uint32_t member) const {
    return schedule().ranks[schedule().groups[wire.group.value][member].value].gpu;
  }

  void add_flows(std::uint32_t x, const Wire& wire) {
    for (const auto [from, to, bytes] : wire.messages) {
      const GpuId a = gpu_of(wire, from);
      const GpuId b = gpu_of(wire, to);
      Task& task = new_part(x);
      task.members = {from, to};
      begun_.push_back({&task, platform_.side(platform_.out_side(a, b)).host,
                        platform_.side(platform_.in_side(a, b)).host, bytes.value});
    }
  }

  /// One volume for every member and side of its paths that has ports; it is awaited by the member
  /// and all that it exchanges bytes with.
  void add_volumes(std::uint32_t x, const Wire& wire) {
    const std::size_t n = members(traffic_of(x).group).size();
    std::vector<char> are_peers(n * n, 0);
    for (std::size_t m = 0; m < n; ++m) are_peers[m * n + m] = 1;
    for (const auto [from, to, bytes] : wire.messages) {
      const GpuId a = gpu_of(wire, from);
      const GpuId b = gpu_of(wire, to);
      are_peers[from * n + to] = are_peers[to * n + from] = 1;
      add_to_volume(platform_.out_side(a, b), from, bytes);
      add_to_volume(platform_.in_side(a, b), to, bytes);
    }
    std::sort(used_sides_.begin(), used_sides_.end());
    for (const std::uint32_t s : used_sides_) {
      auto& [member, bytes] = volumes_[s];
      const Side& side = platform_.side(s);
      if (!side.ports.empty()) {
        Task& task = new_part(x);
        task.members.clear();
        for (std::uint32_t m = 0; m < n; ++m) {
          if (are_peers[member * n + m] != 0) task.members.push_back(m);
        }
        sg4::Host* const from = side.is_out ? side.host : platform_.sink();
        sg4::Host* const to = side.is_out ? platform_.sink() : side.host;
        begun_.push_back({&task, from, to, bytes});
      }
      bytes = 0;
    }
    used_sides_.clear();
  }

  void add_to_volume(std::uint32_t side, std::uint32_t member, Bytes bytes) {
    auto& [owner, sum] = volumes_[side];
    if (sum == 0) used_sides_.push_back(side);
    owner = member;
    sum += bytes.value;
  }

  Task& new_task() {
    if (free_.empty()) {
      tasks_.emplace_back();
      return tasks_.back();
    }
    Task& task = *free_.back();
    free_.pop_back();
    return task;
  }

  Task& new_part(std::uint32_t x) {
    Task& task = new_task();
    task.rank = Task::none;
    task.exchange = x;
    return task;
  }

  template <class Pointer>
  static void start(Task& task, const Pointer& activity) {
    activity->set_data(&task);
    task.activity = activity;
    activity->start();
  }

  void done(const sg4::Activity& activity) {
    Task& task = *activity.get_data<Task>();
    ensure(activity.get_state() == sg4::Activity::State::FINISHED, "SimGrid ends what it starts");
    if (task.rank == Task::none) {
      end_part(task.exchange, task.members);
    } else {
      end_compute(task.rank, now());
    }
    release(task);
    start_what_can(now());
  }

  /// An activity must not be freed in its own callback.
  void release(Task& task) {
    ended_.push_back(std::move(task.activity));
    free_.push_back(&task);
    constexpr std::size_t many = 1024;
    if (ended_.size() == many) {
      simgrid::kernel::timer::Timer::set(now(), [this] { ended_.clear(); });
    }
  }

  struct Begun {
    Task* task;
    sg4::Host* from;
    sg4::Host* to;
    double bytes;
  };

  /// Parts of an exchange that have not ended.
  struct Parts {
    std::uint32_t all = 0;
    std::vector<std::uint32_t> of;  ///< [members]
  };

  bool by_port_;
  Wires wires_;
  Platform platform_;
  std::vector<Parts> parts_;  // [exchanges]
  struct Volume {
    std::uint32_t member = 0;
    double bytes = 0;
  };
  std::vector<Volume> volumes_;            // [sides], of the exchange that begins
  std::vector<std::uint32_t> used_sides_;  // by it
  std::deque<Task> tasks_;
  std::vector<Task*> free_;
  std::vector<Begun> begun_;
  std::vector<sg4::ActivityPtr> ended_;
};

/// The engine that a process may have, quiet and with our model.
void make_engine() {
  xbt_log_control_set("root.threshold:critical");
  static std::string name = "zebroid";  // arguments of its own: it takes some away
  static std::array<char*, 2> arguments = {name.data(), nullptr};
  int count = 1;
  static const sg4::Engine engine(&count, arguments.data());
  sg_compat::set_model();
}

}  // namespace

Timeline simulate_with_simgrid(const Schedule& schedule, const Load& load,
                               const SimulateOptions& options) {
  make_engine();
  return SimGridEngine(schedule, load, options).run();
}

}  // namespace zebroid
