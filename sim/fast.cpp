#include <algorithm>
#include <array>
#include <limits>
#include <map>
#include <queue>

#include "sim/engines.hpp"
#include "sim/max_min.hpp"
#include "sim/rule_engine.hpp"

namespace zebroid {
namespace {

constexpr double never = std::numeric_limits<double>::infinity();

/// A compute op under way, or none. Its rate may change while it runs.
struct Running {
  bool active = false;
  double left = 0;  ///< seconds of work at full rate, as of `since`
  double since = 0;
  double rate = 1;
  std::uint64_t version = 0;  ///< of its entry in the event queue; older entries are void
};

struct Flow {
  Path path;
  std::uint32_t exchange = 0;
  std::array<std::uint32_t, 2> members{};  ///< sender and receiver
  double left = 0;                         ///< bytes, as of `since`
  double since = 0;
  double rate = 0;
  double end = never;
};

/// The end of a rank's running op, or of an exchange's latency.
struct Event {
  double time = 0;
  std::uint64_t sequence = 0;
  bool is_compute = false;
  std::uint32_t which = 0;  ///< rank or exchange

  bool operator>(const Event& other) const {
    return time != other.time ? time > other.time : sequence > other.sequence;
  }
};

class FastEngine final : RuleEngine {
 public:
  FastEngine(const Schedule& schedule, const Load& load, const SimulateOptions& options)
      : RuleEngine(schedule, load, options),
        poll_(options.poll),
        running_(rank_count()),
        max_min_(load.network().ports()) {}

  Timeline run() {
    constexpr unsigned events_between_polls = 1024;
    for (unsigned n = 0;; ++n) {
      if (poll_ && n % events_between_polls == 0) poll_();
      start_what_can(now_);
      if (flows_changed_) share_ports();
      const double next = std::min(events_.empty() ? never : events_.top().time, next_flow_end_);
      if (next == never) break;
      now_ = next;
      while (!events_.empty() && events_.top().time <= now_) {
        const Event event = events_.top();
        events_.pop();
        handle(event);
      }
      if (next_flow_end_ <= now_) end_flows();
    }
    return finish("simulated by fast (pair)");
  }

 private:
  void start_compute(std::uint32_t rank, Seconds work, double rate) override {
    Running& running = running_[rank];
    running.active = true;
    running.left = work.value;
    running.since = now_;
    running.rate = rate;
    queue_compute_end(rank);
  }

  void queue_compute_end(std::uint32_t rank) {
    Running& running = running_[rank];
    running.version = ++sequence_;
    events_.push({now_ + running.left / running.rate, running.version, true, rank});
  }

  void change_rate(std::uint32_t rank, double rate) override {
    Running& running = running_[rank];
    if (!running.active || rate == running.rate) return;
    running.left = std::max(0.0, running.left - (now_ - running.since) * running.rate);
    running.since = now_;
    running.rate = rate;
    queue_compute_end(rank);
  }

  void start_transfer(std::uint32_t x, Seconds latency, std::vector<Message> messages) override {
    pending_[x] = std::move(messages);
    events_.push({now_ + latency.value, ++sequence_, false, x});
  }

  void add_flows(std::uint32_t x) {
    const auto& members = exchange(x).members;
    const auto pending = pending_.find(x);
    for (const auto& [from, to, bytes] : pending->second) {
      Flow& flow = flows_.emplace_back();
      flow.path = load().network().path(gpu_of(members[from].rank), gpu_of(members[to].rank));
      flow.exchange = x;
      flow.members = {from, to};
      flow.left = bytes.value;
      flow.since = now_;
      begin_part(x, flow.members);
    }
    pending_.erase(pending);
    flows_changed_ = true;
  }

  void handle(const Event& event) {
    if (!event.is_compute) {  // the latency of an exchange is over
      add_flows(event.which);
      return;
    }
    Running& running = running_[event.which];
    if (!running.active || running.version != event.sequence) return;
    running.active = false;
    end_compute(event.which, now_);
  }

  /// Gives all flows in flight their max-min rates. A flow whose rate stays keeps its end to the
  /// bit.
  void share_ports() {
    flows_changed_ = false;
    paths_.clear();
    for (const Flow& flow : flows_) paths_.push_back(&flow.path);
    rates_.resize(flows_.size());
    max_min_.solve(paths_, rates_);
    next_flow_end_ = never;
    for (std::size_t f = 0; f < flows_.size(); ++f) {
      Flow& flow = flows_[f];
      if (rates_[f] != flow.rate) {
        flow.left = std::max(0.0, flow.left - (now_ - flow.since) * flow.rate);
        flow.since = now_;
        flow.rate = rates_[f];
        flow.end = now_ + flow.left / flow.rate;
      }
      next_flow_end_ = std::min(next_flow_end_, flow.end);
    }
  }

  void end_flows() {
    flows_changed_ = true;
    next_flow_end_ = never;
    const auto first_ended = std::stable_partition(
        flows_.begin(), flows_.end(), [this](const Flow& flow) { return flow.end > now_; });
    for (auto flow = first_ended; flow != flows_.end(); ++flow)
      end_part(flow->exchange, flow->members, now_);
    flows_.erase(first_ended, flows_.end());
  }

  const std::function<void()>& poll_;
  std::vector<Running> running_;                           // [ranks]
  std::map<std::uint32_t, std::vector<Message>> pending_;  // exchanges in their latency
  std::vector<Flow> flows_;                                // in flight
  MaxMin max_min_;
  std::vector<const Path*> paths_;
  std::vector<double> rates_;
  std::priority_queue<Event, std::vector<Event>, std::greater<>> events_;
  double now_ = 0;
  double next_flow_end_ = never;
  bool flows_changed_ = false;
  std::uint64_t sequence_ = 0;
};

}  // namespace

Timeline simulate_fast(const Schedule& schedule, const Load& load, const SimulateOptions& options) {
  return FastEngine(schedule, load, options).run();
}

}  // namespace zebroid
