#include "sim/fast.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "core/error.hpp"
#include "sim/engines.hpp"
#include "sim/event_heap.hpp"
#include "sim/profile.hpp"
#include "sim/rule_engine.hpp"

namespace zebroid {
namespace {

constexpr double never = EventHeap::never;
constexpr std::size_t most_unequal_ranks = 16;  ///< that share ports, for pair by default

/// A compute op under way. Its rate may change while it runs.
struct Running {
  double left = 0;  ///< seconds of work at full rate, as of `since`
  double since = 0;
  double rate = 1;
};

/// What a group of each class runs on one stream: never more than one exchange at a time.
struct Lane {
  enum class State : std::uint8_t {
    idle,
    latency,
    alone,  ///< by its profile
    joint,  ///< flow by flow with those it meets
  };
  State state = State::idle;
  std::uint32_t exchange = 0;
  const Profile* profile = nullptr;
  double begun = 0;            ///< its first byte
  std::uint32_t next_end = 0;  ///< of the profile
  double done = 0;             ///< seconds of the profile, as of `since`
  double since = 0;
  double speed = 1;                ///< seconds of the profile per second
  bool shares_ports = false;       ///< with other lanes, by profile
  bool is_found = false;           ///< by the search for lanes that are connected
  double shared = 0;               ///< seconds in which it did
  std::uint32_t live_flows = 0;    ///< joint
  std::uint32_t first_member = 0;  ///< of its members' counts of live flows

  bool moves() const { return state == State::alone || state == State::joint; }
};

/// A flow of an exchange that meets others on its ports.
struct JointFlow {
  std::uint32_t lane = 0;
  std::array<std::uint32_t, 2> members{};
  double left = 0;  ///< bytes, as of `since`
  double since = 0;
  double rate = 0;
  double end = never;
};

/// Speeds of lanes that share ports follow from their traffics alone, and recur.
class SpeedMemo {
 public:
  static constexpr std::size_t most_lanes = 4;
  struct Entry {
    std::size_t lanes = 0;
    std::array<std::uint32_t, most_lanes> traffics{};
    std::array<double, most_lanes> speeds{};

    bool is_for(std::span<const std::uint32_t> others) const {
      return std::equal(others.begin(), others.end(), traffics.begin(), traffics.begin() + lanes);
    }
  };

  Entry& at(std::span<const std::uint32_t> traffics) {
    std::uint64_t hash = 0;
    for (const std::uint32_t traffic : traffics) hash = mix(hash ^ traffic);
    return entries_[hash % entries_.size()];
  }

 private:
  std::vector<Entry> entries_ = std::vector<Entry>(1024);
};

/// Wires that the fold left out do share ports, or differ.
struct TooCoarse {};

std::vector<const Wire*> pick(const Wires& wires, const std::vector<std::uint32_t>& numbers) {
  std::vector<const Wire*> out;
  for (const std::uint32_t w : numbers) out.push_back(&wires.all()[w]);
  return out;
}

}  // namespace

class FastSimulation::Engine final : RuleEngine {
 public:
  /// Throws TooCoarse when the load does not allow the strictness; so does run().
  Engine(const Schedule& schedule, const Load& load, const SimulateOptions& options,
         Strictness strictness)
      : Engine(schedule, load, options, Wires(schedule, load, options.poll), strictness) {}

  Seconds run();
  Timeline timeline() const;
  Fidelity fidelity() const { return fidelity_; }
  std::size_t rank_classes() const { return class_count(); }
  double overlap_fraction() const { return moved_ > 0 ? shared_ / moved_ : 0; }

 private:
  Engine(const Schedule& schedule, const Load& load, const SimulateOptions& options,
         const Wires& wires, Strictness strictness);

  // What is fixed before the start.
  void make_lanes();
  std::size_t unequal_ranks_that_share() const;
  void prepare_pair(const Wires& wires);
  void prepare_profile();
  std::vector<double> ends_of(std::uint32_t traffic, const Wires& wires);
  void make_profile(std::uint32_t traffic, const Wires& wires);
  std::uint32_t member_of(const Traffic& traffic, std::uint32_t rank_class) const;

  // Events.
  std::uint32_t source_of_lane(std::uint32_t l) const { return class_count() + l; }
  std::uint32_t source_of_joint() const {
    return class_count() + static_cast<std::uint32_t>(lanes_.size());
  }
  void handle(std::uint32_t source);
  void start_compute(std::uint32_t c, double work, double rate) override;
  void change_rate(std::uint32_t c, double rate) override;
  void start_transfer(std::uint32_t x) override;
  void begin_to_move(std::uint32_t l);
  void end_some_members(std::uint32_t l);
  void await_end(std::uint32_t l);
  void leave(std::uint32_t l);

  // Profile: one speed for each exchange.
  void share_speeds(std::uint32_t around);
  void find_connected(std::uint32_t around);
  void find_speeds();

  // Pair: all flows of exchanges that meet.
  void join(std::uint32_t l);
  void share_ports();
  void end_joint_flows();
  void end_joint_member(std::uint32_t l, std::uint32_t member);

  std::function<void()> poll_;
  Fidelity fidelity_ = Fidelity::pair;
  std::vector<Profile> profiles_;       // [traffics]
  std::vector<Flows> flows_;            // [traffics], for pair
  std::vector<std::uint32_t> lane_of_;  // [exchanges]
  std::vector<Lane> lanes_;
  EventHeap heap_;                        // classes, then lanes, then joint flows
  std::vector<Running> running_;          // [classes]
  std::vector<std::uint32_t> beginning_;  // lanes whose latency is over
  double now_ = 0;
  double moved_ = 0;   // seconds of all lanes
  double shared_ = 0;  // of these, seconds in which they shared ports

  MaxMin max_min_;  // of joint flows, or of lanes
  std::vector<Crossings> paths_;
  std::vector<double> rates_;
  std::vector<double> most_;
  std::vector<JointFlow> joint_;
  bool joint_changed_ = false;
  std::vector<std::uint32_t> live_of_member_;  // flows, lane by lane
  Filling filling_{{}, 0};
  std::vector<std::uint32_t> sharers_;  // lanes that are connected
  std::vector<std::uint32_t> sharing_traffics_;
  SpeedMemo memo_;
};

FastSimulation::Engine::Engine(const Schedule& schedule, const Load& load,
                               const SimulateOptions& options, const Wires& wires,
                               Strictness strictness)
    : RuleEngine(schedule, load, options, wires,
                 options.fold ? fold(schedule, load, wires, strictness)
                              : unfolded(schedule, load.network())),
      poll_(options.poll),
      fidelity_(options.fidelity),
      heap_(0) {
  make_lanes();
  for (const Traffic& traffic : traffics()) {
    Profile& profile = profiles_.emplace_back();
    PortLoads loads = load_ports(schedule, load.network(), folded(), pick(wires, traffic.wires));
    profile.loads = std::move(loads.bytes);
    profile.ports = std::move(loads.touched);
    profile.is_uneven = traffic.is_uneven;
  }
  if (fidelity_ == Fidelity::automatic) {
    fidelity_ =
        unequal_ranks_that_share() > most_unequal_ranks ? Fidelity::profile : Fidelity::pair;
  }
  fidelity_ == Fidelity::pair ? prepare_pair(wires) : prepare_profile();
  for (std::uint32_t t = 0; t < traffics().size(); ++t) make_profile(t, wires);
  heap_ = EventHeap(class_count() + lanes_.size() + 1);
  running_.resize(class_count());
  beginning_.reserve(lanes_.size());
}

void FastSimulation::Engine::make_lanes() {
  KeyIndex numbers;
  std::uint32_t members_of_all = 0;
  for (std::uint32_t x = 0; x < exchange_count(); ++x) {
    const std::uint32_t group = traffic_of(x).group;
    const auto stream = static_cast<std::size_t>(exchange(x).stream);
    lane_of_.push_back(numbers.add(group * stream_count + stream));
    if (lane_of_.back() < lanes_.size()) continue;
    lanes_.emplace_back().first_member = members_of_all;
    members_of_all += static_cast<std::uint32_t>(members(group).size());
  }
  live_of_member_.resize(members_of_all);
}

/// Of the ranks that differ those whose exchanges may meet others on their ports.
std::size_t FastSimulation::Engine::unequal_ranks_that_share() const {
  std::vector<PortSet> ports(lanes_.size(), PortSet(folded().first_port.size()));
  std::vector<std::uint32_t> group_of(lanes_.size());
  for (std::uint32_t x = 0; x < exchange_count(); ++x) {
    ports[lane_of_[x]].add(profiles_[exchange(x).traffic].ports);
    group_of[lane_of_[x]] = traffic_of(x).group;
  }
  std::vector<char> shares(class_count(), 0);
  for (std::size_t a = 0; a < lanes_.size(); ++a) {
    for (std::size_t b = 0; b < lanes_.size(); ++b) {
      if (a == b || !ports[a].meets(ports[b])) continue;
      for (const std::uint32_t c : members(group_of[a])) shares[c] = 1;
      break;
    }
  }
  return static_cast<std::size_t>(std::count(shares.begin(), shares.end(), 1));
}

void FastSimulation::Engine::prepare_pair(const Wires& wires) {
  std::size_t most = 0;
  for (const Traffic& traffic : traffics()) {
    flows_.emplace_back();
    if (traffic.is_uneven) continue;
    flows_.back() = make_flows(schedule(), load().network(), folded(), pick(wires, traffic.wires));
    most = std::max(most, flows_.back().all.size());
    for (Flows::Flow& flow : flows_.back().all) {
      flow.from = member_of(traffic, flow.from);
      flow.to = member_of(traffic, flow.to);
    }
  }
  std::vector<std::size_t> most_in_lane(lanes_.size(), 0);
  for (std::uint32_t x = 0; x < exchange_count(); ++x) {
    std::size_t& in_lane = most_in_lane[lane_of_[x]];
    in_lane = std::max(in_lane, flows_[exchange(x).traffic].all.size());
  }
  std::size_t live = 0;
  for (const std::size_t flows : most_in_lane) live += flows;
  joint_.reserve(live);
  paths_.resize(live);
  rates_.resize(live);
  max_min_ = MaxMin(bandwidths(load().network(), folded()), live);
  filling_ = Filling(bandwidths(load().network(), folded()), most);
}

void FastSimulation::Engine::prepare_profile() {
  max_min_ = MaxMin(bandwidths(load().network(), folded()), lanes_.size());
  paths_.resize(lanes_.size());
  rates_.resize(lanes_.size());
  most_.resize(lanes_.size());
  sharers_.reserve(lanes_.size());
  sharing_traffics_.reserve(lanes_.size());
}

std::uint32_t FastSimulation::Engine::member_of(const Traffic& traffic,
                                                std::uint32_t rank_class) const {
  const auto& classes = members(traffic.group);
  return static_cast<std::uint32_t>(std::lower_bound(classes.begin(), classes.end(), rank_class) -
                                    classes.begin());
}

/// When each member has its last byte.
std::vector<double> FastSimulation::Engine::ends_of(std::uint32_t t, const Wires& wires) {
  const Traffic& traffic = traffics()[t];
  std::vector<double> out(members(traffic.group).size(), 0);
  if (fidelity_ == Fidelity::pair && !traffic.is_uneven) {
    filling_.run(flows_[t], never, 0);
    for (std::size_t f = 0; f < flows_[t].all.size(); ++f) {
      for (const std::uint32_t m : {flows_[t].all[f].from, flows_[t].all[f].to}) {
        out[m] = std::max(out[m], filling_.ended(f));
      }
    }
    return out;
  }
  const Wire& wire = wires.all()[traffic.wires.front()];
  const auto& ranks = schedule().groups[wire.group.value];
  const std::vector<double> ends = ends_of_wire(schedule(), load().network(), wire);
  for (std::size_t i = 0; i < ranks.size(); ++i) {
    double& end = out[member_of(traffic, folded().rank_class[ranks[i].value])];
    end = std::max(end, ends[i]);
  }
  if (!traffic.is_uneven) return out;
  const double last = *std::max_element(ends.begin(), ends.end());
  for (const std::uint32_t w : traffic.wires) {
    const auto others = ends_of_wire(schedule(), load().network(), wires.all()[w]);
    if (*std::max_element(others.begin(), others.end()) != last) throw TooCoarse();
  }
  return out;
}

void FastSimulation::Engine::make_profile(std::uint32_t t, const Wires& wires) {
  const Traffic& traffic = traffics()[t];
  if (traffic.is_empty) return;
  Profile& profile = profiles_[t];
  std::vector<double> ends = ends_of(t, wires);
  const bool together = ends_together(traffic.op.work);
  if (together) std::fill(ends.begin(), ends.end(), *std::max_element(ends.begin(), ends.end()));
  for (std::uint32_t m = 0; m < ends.size(); ++m) {
    if (together || traffic.takes_part[m] != 0) profile.members.push_back(m);
  }
  std::stable_sort(profile.members.begin(), profile.members.end(),
                   [&](std::uint32_t a, std::uint32_t b) { return ends[a] < ends[b]; });
  constexpr double same = 1 + 1e-12;
  for (std::uint32_t i = 0; i < profile.members.size(); ++i) {
    const double end = ends[profile.members[i]];
    if (profile.ends.empty() || end > profile.ends.back().time * same) {
      profile.ends.push_back({end, i, 0});
    }
    ++profile.ends.back().members;
  }
  double messages = 0;
  double bytes = 0;
  for (const std::uint32_t w : traffic.wires) {
    for (const Message message : wires.all()[w].messages) bytes += message.bytes.value;
    messages += static_cast<double>(wires.all()[w].messages.size());
  }
  profile.flow_rate = bytes / messages / profile.total();
  for (Crossing& load : profile.loads) load.weight /= profile.total() * profile.flow_rate;
}

Seconds FastSimulation::Engine::run() {
  reset();
  heap_.clear();
  joint_.clear();
  joint_changed_ = false;
  beginning_.clear();
  for (Lane& lane : lanes_) lane.state = Lane::State::idle;
  now_ = moved_ = shared_ = 0;
  constexpr unsigned events_between_polls = 1024;
  for (unsigned n = 0;; ++n) {
    if (poll_ && n % events_between_polls == 0) poll_();
    start_what_can(now_);
    if (joint_changed_) share_ports();
    const double next = heap_.next();
    if (next == never) break;
    now_ = next;
    while (heap_.next() <= now_) handle(heap_.first());
    for (const std::uint32_t l : beginning_) begin_to_move(l);
    beginning_.clear();
  }
  expect_all_ended();
  return {makespan()};
}

Timeline FastSimulation::Engine::timeline() const {
  const bool by_profile = fidelity_ == Fidelity::profile;
  Timeline out =
      RuleEngine::timeline(by_profile ? "simulated by fast (profile)" : "simulated by fast (pair)");
  if (by_profile) out.overlap_fraction = overlap_fraction();
  return out;
}

void FastSimulation::Engine::handle(std::uint32_t source) {
  heap_.remove(source);
  if (source < class_count()) {
    end_compute(source, now_);
  } else if (source == source_of_joint()) {
    end_joint_flows();
  } else if (const std::uint32_t l = source - class_count();
             lanes_[l].state == Lane::State::latency) {
    beginning_.push_back(l);
  } else {
    end_some_members(l);
  }
}

void FastSimulation::Engine::start_compute(std::uint32_t c, double work, double rate) {
  running_[c] = {work, now_, rate};
  heap_.set(c, now_ + work / rate);
}

void FastSimulation::Engine::change_rate(std::uint32_t c, double rate) {
  if (!heap_.holds(c)) return;
  Running& running = running_[c];
  running.left = std::max(0.0, running.left - (now_ - running.since) * running.rate);
  running.since = now_;
  running.rate = rate;
  heap_.set(c, now_ + running.left / rate);
}

void FastSimulation::Engine::start_transfer(std::uint32_t x) {
  Lane& lane = lanes_[lane_of_[x]];
  lane.state = Lane::State::latency;
  lane.exchange = x;
  lane.profile = &profiles_[exchange(x).traffic];
  heap_.set(source_of_lane(lane_of_[x]), now_ + traffic_of(x).latency.value);
}

void FastSimulation::Engine::begin_to_move(std::uint32_t l) {
  Lane& lane = lanes_[l];
  lane.state = Lane::State::alone;
  lane.begun = lane.since = now_;
  lane.next_end = 0;
  lane.done = lane.shared = 0;
  lane.speed = 1;
  lane.shares_ports = false;
  bool meets = false;
  for (std::uint32_t other = 0; other < lanes_.size(); ++other) {
    if (other == l || !lanes_[other].moves()) continue;
    if (!lanes_[other].profile->ports.meets(lane.profile->ports)) continue;
    meets = true;
    if (lane.profile->is_uneven || lanes_[other].profile->is_uneven) throw TooCoarse();
    if (fidelity_ == Fidelity::profile) break;
    if (lanes_[other].state == Lane::State::alone) join(other);
  }
  if (!meets) {
    await_end(l);
  } else if (fidelity_ == Fidelity::profile) {
    share_speeds(l);
  } else {
    join(l);
  }
}

void FastSimulation::Engine::await_end(std::uint32_t l) {
  const Lane& lane = lanes_[l];
  const double rest = std::max(0.0, lane.profile->ends[lane.next_end].time - lane.done);
  heap_.set(source_of_lane(l), lane.since + rest / lane.speed);
}

void FastSimulation::Engine::end_some_members(std::uint32_t l) {
  Lane& lane = lanes_[l];
  const Profile::End& end = lane.profile->ends[lane.next_end++];
  if (lane.shares_ports) lane.shared += now_ - lane.since;
  lane.done = end.time;
  lane.since = now_;
  if (lane.next_end < lane.profile->ends.size()) {
    await_end(l);
  } else {
    leave(l);
  }
  for (std::uint32_t i = end.first_member; i < end.first_member + end.members; ++i) {
    end_member(lane.exchange, lane.profile->members[i], now_);
  }
}

/// A lane's exchange has ended.
void FastSimulation::Engine::leave(std::uint32_t l) {
  Lane& lane = lanes_[l];
  lane.state = Lane::State::idle;
  moved_ += now_ - lane.begun;
  shared_ += lane.shared;
  if (lane.shares_ports) share_speeds(l);
}

/// Gives all lanes that are connected with this one by shared ports, or were, their speeds.
void FastSimulation::Engine::share_speeds(std::uint32_t around) {
  find_connected(around);
  for (const std::uint32_t l : sharers_) {
    Lane& lane = lanes_[l];
    lane.done += (now_ - lane.since) * lane.speed;
    if (lane.shares_ports) lane.shared += now_ - lane.since;
    lane.since = now_;
    lane.is_found = false;
  }
  find_speeds();
  for (const std::uint32_t l : sharers_) {
    Lane& lane = lanes_[l];
    lane.shares_ports = std::any_of(sharers_.begin(), sharers_.end(), [&](std::uint32_t other) {
      return other != l && lanes_[other].profile->ports.meets(lane.profile->ports);
    });
    await_end(l);
  }
}

void FastSimulation::Engine::find_connected(std::uint32_t around) {
  sharers_.clear();
  const auto add_those_met_by = [this](std::uint32_t l) {
    for (std::uint32_t other = 0; other < lanes_.size(); ++other) {
      Lane& lane = lanes_[other];
      if (!lane.moves() || lane.is_found) continue;
      if (other != l && !lane.profile->ports.meets(lanes_[l].profile->ports)) continue;
      lane.is_found = true;
      sharers_.push_back(other);
    }
  };
  add_those_met_by(around);
  for (std::size_t i = 0; i < sharers_.size(); ++i) add_those_met_by(sharers_[i]);
}

void FastSimulation::Engine::find_speeds() {
  std::sort(sharers_.begin(), sharers_.end(), [this](std::uint32_t a, std::uint32_t b) {
    return std::pair(lanes_[a].profile, a) < std::pair(lanes_[b].profile, b);
  });
  sharing_traffics_.clear();
  for (const std::uint32_t l : sharers_) {
    sharing_traffics_.push_back(exchange(lanes_[l].exchange).traffic);
  }
  SpeedMemo::Entry& known = memo_.at(sharing_traffics_);
  if (known.is_for(sharing_traffics_)) {
    for (std::size_t i = 0; i < sharers_.size(); ++i)
      lanes_[sharers_[i]].speed = known.speeds.at(i);
    return;
  }
  const std::size_t count = sharers_.size();
  for (std::size_t i = 0; i < count; ++i) paths_[i] = lanes_[sharers_[i]].profile->loads;
  for (std::size_t i = 0; i < count; ++i) most_[i] = lanes_[sharers_[i]].profile->flow_rate;
  max_min_.solve(std::span(paths_).first(count), std::span(rates_).first(count),
                 std::span(most_).first(count));
  for (std::size_t i = 0; i < count; ++i) {
    rates_[i] /= most_[i];
    lanes_[sharers_[i]].speed = rates_[i];
  }
  if (count > SpeedMemo::most_lanes) return;
  known.lanes = count;
  std::copy(sharing_traffics_.begin(), sharing_traffics_.end(), known.traffics.begin());
  std::copy_n(rates_.begin(), count, known.speeds.begin());
}

/// From now on an exchange goes flow by flow.
void FastSimulation::Engine::join(std::uint32_t l) {
  Lane& lane = lanes_[l];
  const Traffic& traffic = traffic_of(lane.exchange);
  const Flows& flows = flows_[exchange(lane.exchange).traffic];
  lane.state = Lane::State::joint;
  heap_.remove(source_of_lane(l));
  const double passed = now_ - lane.begun;
  if (passed > 0) filling_.run(flows, passed, 0);
  // Members wait for their live flows, but not those that have ended.
  const auto live = std::span(live_of_member_).subspan(lane.first_member, traffic.sent.size());
  constexpr std::uint32_t has_ended = UINT32_MAX;
  std::fill(live.begin(), live.end(), has_ended);
  const std::uint32_t ended =
      lane.next_end > 0 ? lane.profile->ends[lane.next_end].first_member : 0;
  for (std::uint32_t i = ended; i < lane.profile->members.size(); ++i) {
    live[lane.profile->members[i]] = 0;
  }
  lane.live_flows = 0;
  for (std::uint32_t f = 0; f < flows.all.size(); ++f) {
    if (passed > 0 && filling_.ended(f) != never) continue;
    const std::array members{flows.all[f].from, flows.all[f].to};
    if (live[members[0]] == has_ended && live[members[1]] == has_ended) continue;
    JointFlow& flow = joint_.emplace_back();
    paths_[joint_.size() - 1] = flows.of(flows.all[f]);
    flow.lane = l;
    flow.members = members;
    flow.left = passed > 0 ? filling_.left(f) : flows.all[f].bytes;
    flow.since = now_;
    ++lane.live_flows;
    for (const std::uint32_t m : members) live[m] += live[m] == has_ended ? 0 : 1;
  }
  joint_changed_ = true;
  for (std::uint32_t i = ended; i < lane.profile->members.size(); ++i) {
    const std::uint32_t m = lane.profile->members[i];
    if (live[m] == 0 && (!exchange(lane.exchange).ends_together || lane.live_flows == 0)) {
      live[m] = has_ended;
      end_member(lane.exchange, m, now_);
    }
  }
  if (lane.live_flows == 0) leave(l);
}

/// Gives all joint flows their max-min rates. A flow whose rate stays keeps its end to the bit.
void FastSimulation::Engine::share_ports() {
  joint_changed_ = false;
  const std::size_t count = joint_.size();
  max_min_.solve(std::span(paths_).first(count), std::span(rates_).first(count));
  double next = never;
  for (std::size_t f = 0; f < count; ++f) {
    JointFlow& flow = joint_[f];
    if (rates_[f] != flow.rate) {
      flow.left = std::max(0.0, flow.left - (now_ - flow.since) * flow.rate);
      flow.since = now_;
      flow.rate = rates_[f];
      flow.end = now_ + flow.left / flow.rate;
    }
    next = std::min(next, flow.end);
  }
  if (count > 0) heap_.set(source_of_joint(), next);
}

void FastSimulation::Engine::end_joint_flows() {
  constexpr double rounding = 1 + 1e-14;  // symmetric flows end together
  joint_changed_ = true;
  std::size_t kept = 0;
  for (std::size_t f = 0; f < joint_.size(); ++f) {
    const JointFlow flow = joint_[f];
    if (flow.end > now_ * rounding) {
      paths_[kept] = paths_[f];
      joint_[kept++] = flow;
      continue;
    }
    Lane& lane = lanes_[flow.lane];
    --lane.live_flows;
    for (const std::uint32_t m : flow.members) end_joint_member(flow.lane, m);
    if (lane.live_flows > 0) continue;
    if (exchange(lane.exchange).ends_together) {
      for (const std::uint32_t m : lane.profile->members) end_member(lane.exchange, m, now_);
    }
    leave(flow.lane);
  }
  joint_.resize(kept);
}

/// One of a member's flows has ended.
void FastSimulation::Engine::end_joint_member(std::uint32_t l, std::uint32_t member) {
  const Lane& lane = lanes_[l];
  std::uint32_t& live = live_of_member_[lane.first_member + member];
  constexpr std::uint32_t has_ended = UINT32_MAX;
  if (live == has_ended || --live > 0) return;
  live = has_ended;
  if (!exchange(lane.exchange).ends_together) end_member(lane.exchange, member, now_);
}

FastSimulation::FastSimulation(const Schedule& schedule, const Load& load,
                               const SimulateOptions& options)
    : schedule_(&schedule), load_(&load), options_(options) {
  try {
    make(Strictness::without_norm);
  } catch (const TooCoarse&) {
    make(Strictness::all_wires);
  }
}
FastSimulation::FastSimulation(FastSimulation&&) noexcept = default;
FastSimulation& FastSimulation::operator=(FastSimulation&&) noexcept = default;
FastSimulation::~FastSimulation() = default;

void FastSimulation::make(Strictness strictness) {
  engine_ = std::make_unique<Engine>(*schedule_, *load_, options_, strictness);
}

Seconds FastSimulation::run() {
  try {
    return engine_->run();
  } catch (const TooCoarse&) {
    make(Strictness::all_wires);
    return engine_->run();
  }
}

Timeline FastSimulation::timeline() const { return engine_->timeline(); }
Fidelity FastSimulation::fidelity() const { return engine_->fidelity(); }
std::size_t FastSimulation::rank_classes() const { return engine_->rank_classes(); }
double FastSimulation::overlap_fraction() const { return engine_->overlap_fraction(); }

Timeline simulate_fast(const Schedule& schedule, const Load& load, const SimulateOptions& options) {
  FastSimulation simulation(schedule, load, options);
  simulation.run();
  return simulation.timeline();
}

}  // namespace zebroid
