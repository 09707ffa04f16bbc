#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <map>
#include <queue>

#include "core/error.hpp"
#include "schedule/exchanges.hpp"
#include "schedule/verify.hpp"
#include "sim/max_min.hpp"
#include "sim/simulate.hpp"

namespace zebroid {
namespace {

constexpr double never = std::numeric_limits<double>::infinity();

/// What a program fixes for every rank that runs it.
struct ProgramPlan {
  std::array<std::vector<std::uint32_t>, stream_count> stream;  ///< ops in order
  std::vector<std::uint32_t> exchanges;                         ///< in order
  std::vector<std::uint32_t> reads;                             ///< [ops] how many ops it reads
  std::vector<std::uint32_t> first_reader;                      ///< [ops + 1] into readers
  std::vector<std::uint32_t> readers;
};

ProgramPlan plan_of(const Schedule& schedule, const Program& program) {
  ProgramPlan plan;
  const Reads reads = zebroid::reads(schedule, program);
  const auto ops = static_cast<std::uint32_t>(program.size());
  plan.first_reader.assign(ops + 1U, 0);
  for (std::uint32_t i = 0; i < ops; ++i) {
    plan.stream.at(static_cast<std::size_t>(stream_of(program[i]))).push_back(i);
    if (is_exchange(program[i].work)) plan.exchanges.push_back(i);
    plan.reads.push_back(reads.first[i + 1] - reads.first[i]);
    for (std::uint32_t k = reads.first[i]; k < reads.first[i + 1]; ++k) {
      ++plan.first_reader[reads.ops[k] + 1];
    }
  }
  for (std::uint32_t i = 0; i < ops; ++i) plan.first_reader[i + 1] += plan.first_reader[i];
  plan.readers.resize(reads.ops.size());
  std::vector<std::uint32_t> at(plan.first_reader.begin(), plan.first_reader.end() - 1);
  for (std::uint32_t i = 0; i < ops; ++i) {
    for (std::uint32_t k = reads.first[i]; k < reads.first[i + 1]; ++k) {
      plan.readers[at[reads.ops[k]]++] = i;
    }
  }
  return plan;
}

/// A compute op under way, or none. Its rate may change while it runs.
struct Running {
  bool active = false;
  std::uint32_t op = 0;
  double left = 0;  ///< seconds of work at full rate, as of `since`
  double since = 0;
  double rate = 1;
  std::uint64_t version = 0;  ///< of its entry in the event queue; older entries are void
};

struct RankState {
  const Program* program = nullptr;
  const ProgramPlan* plan = nullptr;
  std::vector<std::uint32_t> waits;  ///< [ops] reads that have not ended
  std::array<std::uint32_t, stream_count> cursor{};
  std::array<bool, stream_count> busy{};
  std::uint32_t exchanges_launched = 0;
  std::uint32_t exchanges_in_flight = 0;
  double sm_share = 0;
  Running running;
};

struct ExchangeState {
  std::uint32_t launched = 0;
  std::uint32_t flows_left = 0;
  std::vector<std::uint32_t> own_flows_left;  ///< [members]
};

struct Flow {
  Path path;
  std::uint32_t exchange = 0;
  std::uint32_t from = 0;  ///< member of the exchange
  std::uint32_t to = 0;
  double left = 0;  ///< bytes, as of `since`
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

class FastEngine {
 public:
  FastEngine(const Schedule& schedule, const Load& load, const SimulateOptions& options)
      : schedule_(schedule),
        load_(load),
        options_(options),
        exchanges_(match_exchanges(schedule)),
        exchange_states_(exchanges_.all.size()),
        max_min_(load.network().ports()) {
    for (const Program& program : schedule.programs) plans_.push_back(plan_of(schedule, program));
    for (std::uint32_t r = 0; r < schedule.ranks.size(); ++r) {
      RankState& rank = ranks_.emplace_back();
      rank.program = &schedule.program_of({r});
      rank.plan = &plans_[schedule.ranks[r].program];
      rank.waits = rank.plan->reads;
      rank.sm_share = load.sm_share({r});
      timeline_.ranks.emplace_back(rank.program->size());
      for (std::size_t s = 0; s < stream_count; ++s) to_try_.push_back({r, s});
    }
  }

  Timeline run() {
    for (;;) {
      while (next_to_try_ < to_try_.size()) {
        const auto [rank, stream] = to_try_[next_to_try_++];
        try_start(rank, stream);
      }
      to_try_.clear();
      next_to_try_ = 0;
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
    check_all_ended();
    timeline_.origin = "simulated by fast (pair)";
    return std::move(timeline_);
  }

 private:
  struct Try {
    std::uint32_t rank;
    std::size_t stream;
  };

  OpTimes& times(std::uint32_t rank, std::uint32_t op) { return timeline_.ranks[rank][op]; }

  /// Starts or launches the next op of a stream when nothing keeps it.
  void try_start(std::uint32_t r, std::size_t stream) {
    RankState& rank = ranks_[r];
    const auto& order = rank.plan->stream.at(stream);
    if (rank.busy.at(stream) || rank.cursor.at(stream) == order.size()) return;
    const std::uint32_t op = order[rank.cursor.at(stream)];
    if (rank.waits[op] > 0) return;
    const bool exchange = is_exchange((*rank.program)[op].work);
    if (exchange && options_.launch_rule && rank.plan->exchanges[rank.exchanges_launched] != op) {
      return;
    }
    ++rank.cursor.at(stream);
    rank.busy.at(stream) = true;
    if (exchange) {
      launch(r, op);
    } else {
      start_compute(r, op);
    }
  }

  void start_compute(std::uint32_t r, std::uint32_t op) {
    RankState& rank = ranks_[r];
    OpTimes& t = times(r, op);
    t.ready = t.started = {now_};
    t.rows = load_.rows({r}, (*rank.program)[op]);
    const double seconds = load_.seconds({r}, (*rank.program)[op]).value;
    ensure(std::isfinite(seconds) && seconds >= 0, "a cost is not a finite time");
    if (seconds <= 0) {
      end_op(r, op);
      return;
    }
    Running& running = rank.running;
    running.active = true;
    running.op = op;
    running.left = seconds;
    running.since = now_;
    running.rate = compute_rate(rank);
    queue_compute_end(r);
  }

  static double compute_rate(const RankState& rank) {
    return rank.exchanges_in_flight > 0 ? 1 - rank.sm_share : 1;
  }

  void queue_compute_end(std::uint32_t r) {
    Running& running = ranks_[r].running;
    running.version = ++sequence_;
    events_.push({now_ + running.left / running.rate, running.version, true, r});
  }

  /// Follows a change of the number of exchanges in flight.
  void change_compute_rate(std::uint32_t r) {
    RankState& rank = ranks_[r];
    Running& running = rank.running;
    const double rate = compute_rate(rank);
    if (!running.active || rate == running.rate) return;
    running.left = std::max(0.0, running.left - (now_ - running.since) * running.rate);
    running.since = now_;
    running.rate = rate;
    queue_compute_end(r);
  }

  void launch(std::uint32_t r, std::uint32_t op) {
    RankState& rank = ranks_[r];
    times(r, op).ready = {now_};
    ++rank.exchanges_launched;
    ++rank.exchanges_in_flight;
    change_compute_rate(r);
    if (options_.launch_rule && rank.exchanges_launched < rank.plan->exchanges.size()) {
      // The next exchange listed may have waited for this launch alone.
      const Op& next = (*rank.program)[rank.plan->exchanges[rank.exchanges_launched]];
      to_try_.push_back({r, static_cast<std::size_t>(stream_of(next))});
    }
    const std::uint32_t x = exchanges_.of[r][op];
    if (++exchange_states_[x].launched == exchanges_.all[x].members.size()) start_transfer(x);
  }

  void start_transfer(std::uint32_t x) {
    const Exchange& exchange = exchanges_.all[x];
    ExchangeState& state = exchange_states_[x];
    const auto members = static_cast<std::uint32_t>(exchange.members.size());
    state.own_flows_left.assign(members, 0);
    std::vector<Flow>& flows = pending_[x];
    for (std::uint32_t from = 0; from < members; ++from) {
      for (std::uint32_t to = 0; to < members; ++to) {
        if (from != to) add_flow(x, from, to, flows);
      }
    }
    state.flows_left = static_cast<std::uint32_t>(flows.size());
    for (std::uint32_t m = 0; m < members; ++m) {
      const auto [rank, op] = exchange.members[m];
      times(rank.value, op).started = {now_};
      const bool has_no_part =
          ends_together(exchange.op.work) ? flows.empty() : state.own_flows_left[m] == 0;
      if (has_no_part) end_op(rank.value, op);
    }
    if (flows.empty()) {
      pending_.erase(x);
      return;
    }
    const double latency = load_.latency(exchange.group, exchange.op).value;
    ensure(std::isfinite(latency) && latency >= 0, "a latency is not a finite time");
    events_.push({now_ + latency, ++sequence_, false, x});
  }

  void add_flow(std::uint32_t x, std::uint32_t from, std::uint32_t to, std::vector<Flow>& flows) {
    const Exchange& exchange = exchanges_.all[x];
    const auto [sender, sender_op] = exchange.members[from];
    const RankId receiver = exchange.members[to].rank;
    const Bytes bytes = load_.bytes(exchange.group, exchange.op, sender, receiver);
    ensure(std::isfinite(bytes.value) && bytes.value >= 0, "a message is not a finite size");
    if (bytes.value <= 0) return;
    times(sender.value, sender_op).sent += bytes;
    ++exchange_states_[x].own_flows_left[from];
    ++exchange_states_[x].own_flows_left[to];
    Flow& flow = flows.emplace_back();
    flow.path = load_.network().path(schedule_.ranks[sender.value].gpu,
                                     schedule_.ranks[receiver.value].gpu);
    flow.exchange = x;
    flow.from = from;
    flow.to = to;
    flow.left = bytes.value;
  }

  void handle(const Event& event) {
    if (!event.is_compute) {  // the latency of an exchange is over
      const auto pending = pending_.find(event.which);
      for (Flow& flow : pending->second) {
        flow.since = now_;
        flows_.push_back(flow);
      }
      pending_.erase(pending);
      flows_changed_ = true;
      return;
    }
    Running& running = ranks_[event.which].running;
    if (!running.active || running.version != event.sequence) return;
    running.active = false;
    end_op(event.which, running.op);
  }

  void end_op(std::uint32_t r, std::uint32_t op) {
    RankState& rank = ranks_[r];
    times(r, op).ended = {now_};
    const auto stream = static_cast<std::size_t>(stream_of((*rank.program)[op]));
    rank.busy.at(stream) = false;
    ++ended_;
    if (is_exchange((*rank.program)[op].work)) {
      --rank.exchanges_in_flight;
      change_compute_rate(r);
    }
    to_try_.push_back({r, stream});
    for (std::uint32_t k = rank.plan->first_reader[op]; k < rank.plan->first_reader[op + 1]; ++k) {
      const std::uint32_t reader = rank.plan->readers[k];
      if (--rank.waits[reader] == 0) {
        to_try_.push_back({r, static_cast<std::size_t>(stream_of((*rank.program)[reader]))});
      }
    }
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
    for (auto flow = first_ended; flow != flows_.end(); ++flow) end_flow(*flow);
    flows_.erase(first_ended, flows_.end());
  }

  void end_flow(const Flow& flow) {
    const Exchange& exchange = exchanges_.all[flow.exchange];
    ExchangeState& state = exchange_states_[flow.exchange];
    --state.flows_left;
    if (ends_together(exchange.op.work)) {
      if (state.flows_left > 0) return;
      for (const auto& [rank, op] : exchange.members) end_op(rank.value, op);
      return;
    }
    for (const std::uint32_t m : {flow.from, flow.to}) {
      const auto [rank, op] = exchange.members[m];
      if (--state.own_flows_left[m] == 0) end_op(rank.value, op);
    }
  }

  void check_all_ended() const {
    std::size_t ops = 0;
    for (const RankState& rank : ranks_) ops += rank.program->size();
    if (ended_ == ops) return;
    for (std::uint32_t r = 0; r < ranks_.size(); ++r) {
      const RankState& rank = ranks_[r];
      for (std::size_t s = 0; s < stream_count; ++s) {
        if (rank.cursor.at(s) == rank.plan->stream.at(s).size()) continue;
        const std::uint32_t op = rank.plan->stream.at(s)[rank.cursor.at(s)];
        throw Error(
            ErrorKind::internal,
            fmt::format("deadlock in simulation: rank {} never gets to run op {} ({}); {} of "
                        "the ops that it reads have not ended",
                        r, op, name_of((*rank.program)[op]), rank.waits[op]));
      }
    }
    throw Error(ErrorKind::internal, "deadlock in simulation: an exchange never ends");
  }

  const Schedule& schedule_;
  const Load& load_;
  const SimulateOptions& options_;
  std::vector<ProgramPlan> plans_;
  Exchanges exchanges_;
  std::vector<RankState> ranks_;
  std::vector<ExchangeState> exchange_states_;
  std::map<std::uint32_t, std::vector<Flow>> pending_;  // exchanges in their latency
  std::vector<Flow> flows_;                             // in flight
  MaxMin max_min_;
  std::vector<const Path*> paths_;
  std::vector<double> rates_;
  std::priority_queue<Event, std::vector<Event>, std::greater<>> events_;
  std::vector<Try> to_try_;
  std::size_t next_to_try_ = 0;
  double now_ = 0;
  double next_flow_end_ = never;
  bool flows_changed_ = false;
  std::uint64_t sequence_ = 0;
  std::size_t ended_ = 0;
  Timeline timeline_;
};

}  // namespace

Timeline simulate(const Schedule& schedule, const Load& load, const SimulateOptions& options) {
  if (!options.verified) refuse_faults(schedule, "simulate");
  return FastEngine(schedule, load, options).run();
}

}  // namespace zebroid
