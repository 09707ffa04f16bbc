#include "sim/rule_engine.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <utility>

#include "core/error.hpp"

namespace zebroid {
namespace {

constexpr auto compute = static_cast<std::size_t>(Stream::compute);

constexpr std::uint8_t bit(std::size_t stream) { return static_cast<std::uint8_t>(1U << stream); }

constexpr std::uint8_t all_streams = (1U << stream_count) - 1;

std::size_t stream_index(const Op& op) { return static_cast<std::size_t>(stream_of(op)); }

}  // namespace

RuleEngine::RuleEngine(const Schedule& schedule, const Load& load, const SimulateOptions& options,
                       const Wires& wires, Fold fold)
    : schedule_(schedule), load_(load), options_(options), fold_(std::move(fold)) {
  for (const Program& program : schedule.programs) {
    plans_.push_back(plan_of(schedule, program, options.compute_in_order));
  }
  find_members();
  find_traffics(wires);
  find_exchanges();
  for (const RankId first : fold_.first_rank) {
    State& state = states_.emplace_back();
    state.plan = &plans_[schedule.ranks[first.value].program];
    const Costs& costs = costs_of(first);
    state.seconds = costs.seconds.data();
    std::vector<std::uint32_t> groups;
    for (const GroupId group : schedule.ranks[first.value].groups) {
      groups.push_back(fold_.group_class[group.value]);
    }
    state.exchanges =
        exchange_lists_.at({schedule.ranks[first.value].program, std::move(groups)}).data();
    sm_shares_.push_back(load.sm_share(first));
    if (!options.compute_in_order) out_of_order_.push_back(state.plan->out_of_order.front());
    if (!options.timeline) continue;
    auto& times = times_.emplace_back(schedule.program_of(first).size());
    for (std::size_t i = 0; i < times.size(); ++i) times[i].rows = costs.rows[i];
  }
  queue_.resize(std::bit_ceil(states_.size()));
}

RuleEngine::ProgramPlan RuleEngine::plan_of(const Schedule& schedule, const Program& program,
                                            bool compute_in_order) {
  ProgramPlan plan;
  const auto ops = static_cast<std::uint32_t>(program.size());
  for (const Op& op : program) ++plan.first.at(stream_index(op) + 1);
  for (std::size_t s = 0; s < stream_count; ++s) plan.first.at(s + 1) += plan.first.at(s);
  plan.steps.resize(ops);
  std::vector<std::uint32_t> step_of(ops);
  std::array<std::uint32_t, stream_count + 1> next = plan.first;
  for (std::uint32_t i = 0; i < ops; ++i) {
    const std::size_t stream = stream_index(program[i]);
    step_of[i] = next.at(stream)++;
    Step& step = plan.steps[step_of[i]];
    step.op = i;
    if (!is_exchange(program[i].work)) continue;
    step.place = static_cast<std::uint32_t>(plan.exchange_ops.size());
    plan.exchange_ops.push_back(i);
    plan.exchange_streams.push_back(bit(stream));
  }
  const Reads reads = zebroid::reads(schedule, program);
  if (!compute_in_order) plan.out_of_order.emplace_back(program, reads);
  for (std::uint32_t i = 0; i < ops; ++i) {
    Step& step = plan.steps[step_of[i]];
    for (std::uint32_t k = reads.first[i]; k < reads.first[i + 1]; ++k) {
      const std::uint32_t read = reads.ops[k];
      const std::size_t stream = stream_index(program[read]);
      const auto ended = static_cast<std::int32_t>(step_of[read] - plan.first.at(stream) + 1);
      step.needs.at(stream) = std::max(step.needs.at(stream), ended);
      plan.steps[step_of[read]].readers |= bit(stream_index(program[i]));
    }
  }
  return plan;
}

void RuleEngine::find_members() {
  for (const GroupId group : fold_.first_group) {
    auto& members = members_.emplace_back();
    for (const RankId rank : schedule_.groups[group.value]) {
      members.push_back(fold_.rank_class[rank.value]);
    }
    std::sort(members.begin(), members.end());
    members.erase(std::unique(members.begin(), members.end()), members.end());
  }
}

void RuleEngine::find_traffics(const Wires& wires) {
  KeyIndex numbers(wires.all().size());
  for (std::uint32_t w = 0; w < wires.all().size(); ++w) {
    const Wire& wire = wires.all()[w];
    const std::uint32_t group = fold_.group_class[wire.group.value];
    const std::uint32_t number = numbers.add(mix(key_of(wire.op)) + group);
    if (number == traffics_.size()) {
      Traffic& traffic = traffics_.emplace_back();
      traffic.group = group;
      fill(traffic, wire);
    }
    Traffic& traffic = traffics_[number];
    traffic.wires.push_back(w);
    if (std::find(fold_.uneven.begin(), fold_.uneven.end(), w) == fold_.uneven.end()) continue;
    traffic.is_uneven = true;
    traffic.sent_by_rank.resize(schedule_.ranks.size());
    for (const auto [from, to, bytes] : wire.messages) {
      traffic.sent_by_rank[schedule_.groups[wire.group.value][from].value] += bytes;
    }
  }
}

void RuleEngine::fill(Traffic& traffic, const Wire& wire) const {
  const auto& members = members_[traffic.group];
  const auto& ranks = schedule_.groups[wire.group.value];
  traffic.op = wire.op;
  traffic.latency = wire.latency;
  traffic.is_empty = wire.messages.empty();
  traffic.takes_part.resize(members.size(), 0);
  traffic.sent.resize(members.size());
  std::vector<std::uint32_t> member_of;                         // [ranks of the group]
  std::vector<std::uint32_t> stands_for(members.size(), none);  // [members] a rank of the group
  for (std::uint32_t i = 0; i < ranks.size(); ++i) {
    const auto at =
        std::lower_bound(members.begin(), members.end(), fold_.rank_class[ranks[i].value]);
    member_of.push_back(static_cast<std::uint32_t>(at - members.begin()));
    if (stands_for[member_of[i]] == none) stands_for[member_of[i]] = i;
  }
  for (const auto [from, to, bytes] : wire.messages) {
    const std::uint32_t m = member_of[from];
    traffic.takes_part[m] = traffic.takes_part[member_of[to]] = 1;
    if (stands_for[m] == from) traffic.sent[m] += bytes;
  }
}

void RuleEngine::find_exchanges() {
  KeyIndex traffic_numbers(traffics_.size());
  for (const Traffic& traffic : traffics_) {
    traffic_numbers.add(mix(key_of(traffic.op)) + traffic.group);
  }
  KeyIndex numbers(schedule_.programs.empty() ? 0 : schedule_.programs.front().size());
  for (const RankId first : fold_.first_rank) {
    const Rank& rank = schedule_.ranks[first.value];
    std::vector<std::uint32_t> groups;
    for (const GroupId group : rank.groups) groups.push_back(fold_.group_class[group.value]);
    const auto [list, is_new] = exchange_lists_.try_emplace({rank.program, std::move(groups)});
    if (is_new) list->second = exchanges_of(rank, numbers, traffic_numbers);
  }
  launched_.resize(exchanges_.size());
}

std::vector<std::uint32_t> RuleEngine::exchanges_of(const Rank& rank, KeyIndex& numbers,
                                                    const KeyIndex& traffic_numbers) {
  std::vector<std::uint32_t> out;
  const Program& program = schedule_.programs[rank.program];
  for (const std::uint32_t i : plans_[rank.program].exchange_ops) {
    const Op& op = program[i];
    const std::uint32_t group = fold_.group_class[rank.groups[op.slot - 1U].value];
    out.push_back(numbers.add(mix(key_of(op)) + group));
    if (out.back() < exchanges_.size()) continue;
    const Op first = load_.like(op);
    exchanges_.push_back({traffic_numbers.find(mix(key_of(first)) + group), group,
                          static_cast<std::uint32_t>(members_[group].size()), stream_of(op),
                          ends_together(op.work)});
    ensure(exchanges_.back().traffic != none, "every exchange has its traffic");
  }
  return out;
}

/// Asked once for ops that are alike, on ranks that are alike.
const RuleEngine::Costs& RuleEngine::costs_of(RankId rank) {
  const std::uint16_t number = schedule_.ranks[rank.value].program;
  const auto [at, is_new] = costs_.try_emplace({number, load_.like(rank).value});
  Costs& out = at->second;
  if (!is_new) return out;
  const Program& program = schedule_.programs[number];
  out.seconds.resize(program.size());
  if (options_.timeline) out.rows.resize(program.size());
  KeyIndex known;
  std::vector<double> seconds;
  std::vector<double> rows;
  for (std::uint32_t i = 0; i < program.size(); ++i) {
    if (is_exchange(program[i].work)) continue;
    const Op first = load_.like(program[i]);
    const std::uint32_t k = known.add(key_of(first));
    if (k == seconds.size()) {
      seconds.push_back(load_.seconds(rank, first).value);
      rows.push_back(options_.timeline ? load_.rows(rank, first) : 0);
      ensure(std::isfinite(seconds[k]) && seconds[k] >= 0, "a cost is not a finite time");
    }
    out.seconds[i] = seconds[k];
    if (options_.timeline) out.rows[i] = rows[k];
  }
  return out;
}

void RuleEngine::reset() {
  now_ = 0;
  queue_size_ = 0;
  std::fill(launched_.begin(), launched_.end(), 0);
  for (WorkConserving& order : out_of_order_) order.reset();
  for (std::uint32_t c = 0; c < states_.size(); ++c) {
    State& state = states_[c];
    state.ended.fill(0);
    state.busy = state.dirty = 0;
    state.is_queued = false;
    state.launched = state.in_flight = 0;
    mark(c, all_streams);
  }
}

void RuleEngine::mark(std::uint32_t c, std::uint8_t streams) {
  State& state = states_[c];
  state.dirty |= streams;
  if (state.is_queued) return;
  state.is_queued = true;
  queue_[(queue_begin_ + queue_size_++) & (queue_.size() - 1)] = c;
}

void RuleEngine::start_what_can(double now) {
  now_ = now;
  while (queue_size_ > 0) {
    const std::uint32_t c = queue_[queue_begin_];
    queue_begin_ = (queue_begin_ + 1) & (queue_.size() - 1);
    --queue_size_;
    State& state = states_[c];
    while (state.dirty != 0) {
      const auto stream = static_cast<std::size_t>(std::countr_zero(state.dirty));
      state.dirty &= static_cast<std::uint8_t>(state.dirty - 1);
      try_start(c, stream);
    }
    state.is_queued = false;
  }
}

/// Starts or launches the next op of a stream when nothing keeps it.
void RuleEngine::try_start(std::uint32_t c, std::size_t stream) {
  State& state = states_[c];
  const ProgramPlan& plan = *state.plan;
  if ((state.busy & bit(stream)) != 0) return;
  if (!options_.compute_in_order) [[unlikely]] {
    try_start_out_of_order(c, stream);
    return;
  }
  const std::uint32_t at = plan.first[stream] + static_cast<std::uint32_t>(state.ended[stream]);
  if (at == plan.first[stream + 1]) return;
  const Step& step = plan.steps[at];
  bool waits = false;
  for (std::size_t s = 0; s < stream_count; ++s) waits |= step.needs[s] > state.ended[s];
  if (waits) return;
  if (step.place == none) {
    state.busy |= bit(stream);
    begin_compute(c, step.op);
  } else if (may_launch(state, step)) {
    state.busy |= bit(stream);
    launch(c, step);
  }
}

/// Exchanges stay in order.
void RuleEngine::try_start_out_of_order(std::uint32_t c, std::size_t stream) {
  State& state = states_[c];
  const ProgramPlan& plan = *state.plan;
  if (stream == compute) {
    const std::uint32_t op = out_of_order_[c].next();
    if (op == WorkConserving::none) return;
    state.busy |= bit(stream);
    begin_compute(c, op);
    return;
  }
  const std::uint32_t at = plan.first[stream] + static_cast<std::uint32_t>(state.ended[stream]);
  if (at == plan.first[stream + 1]) return;
  const Step& step = plan.steps[at];
  if (!out_of_order_[c].has_inputs(step.op) || !may_launch(state, step)) return;
  state.busy |= bit(stream);
  launch(c, step);
}

void RuleEngine::begin_compute(std::uint32_t c, std::uint32_t op) {
  if (!times_.empty()) times_[c][op].ready = times_[c][op].started = {now_};
  const double work = states_[c].seconds[op];
  if (work > 0) {
    start_compute(c, work, rate(c));
  } else {
    end_step(c, compute, now_);
  }
}

/// Tells the engine when the number of exchanges in flight changed a class's rate.
void RuleEngine::count_in_flight(std::uint32_t c, std::int32_t more) {
  if (sm_shares_[c] == 0) return;
  const double before = rate(c);
  states_[c].in_flight += static_cast<std::uint32_t>(more);
  const double after = rate(c);
  if (before != after) change_rate(c, after);
}

void RuleEngine::launch(std::uint32_t c, const Step& step) {
  State& state = states_[c];
  if (!times_.empty()) times_[c][step.op].ready = {now_};
  ++state.launched;
  count_in_flight(c, 1);
  if (options_.launch_rule && state.launched < state.plan->exchange_streams.size()) {
    // The next exchange listed may have waited for this launch alone.
    mark(c, state.plan->exchange_streams[state.launched]);
  }
  const std::uint32_t x = state.exchanges[step.place];
  if (++launched_[x] == exchanges_[x].members) begin_transfer(x);
}

void RuleEngine::begin_transfer(std::uint32_t x) {
  const Traffic& traffic = traffic_of(x);
  const auto& members = members_[traffic.group];
  const auto stream = static_cast<std::size_t>(exchanges_[x].stream);
  if (!times_.empty()) {
    for (std::uint32_t m = 0; m < members.size(); ++m) {
      const State& state = states_[members[m]];
      const std::uint32_t at =
          state.plan->first[stream] + static_cast<std::uint32_t>(state.ended[stream]);
      OpTimes& times = times_[members[m]][state.plan->steps[at].op];
      times.started = {now_};
      times.sent = traffic.sent[m];
    }
  }
  const bool all_or_none = exchanges_[x].ends_together;
  for (std::uint32_t m = 0; m < members.size(); ++m) {
    const bool ends_at_once = all_or_none ? traffic.is_empty : traffic.takes_part[m] == 0;
    if (ends_at_once) end_member(x, m, now_);
  }
  if (!traffic.is_empty) start_transfer(x);
}

void RuleEngine::end_compute(std::uint32_t c, double now) { end_step(c, compute, now); }

void RuleEngine::end_member(std::uint32_t x, std::uint32_t member, double now) {
  const std::uint32_t c = members_[exchanges_[x].group][member];
  count_in_flight(c, -1);
  end_step(c, static_cast<std::size_t>(exchanges_[x].stream), now);
}

void RuleEngine::end_step(std::uint32_t c, std::size_t stream, double now) {
  if (!options_.compute_in_order) [[unlikely]] {
    end_step_out_of_order(c, stream, now);
    return;
  }
  State& state = states_[c];
  const std::uint32_t at =
      state.plan->first[stream] + static_cast<std::uint32_t>(state.ended[stream]++);
  const Step& step = state.plan->steps[at];
  if (!times_.empty()) times_[c][step.op].ended = {now};
  state.busy &= static_cast<std::uint8_t>(~bit(stream));
  mark(c, step.readers | bit(stream));
}

void RuleEngine::end_step_out_of_order(std::uint32_t c, std::size_t stream, double now) {
  State& state = states_[c];
  const std::uint32_t at =
      state.plan->first[stream] + static_cast<std::uint32_t>(state.ended[stream]++);
  const std::uint32_t op =
      stream == compute ? out_of_order_[c].running() : state.plan->steps[at].op;
  if (!times_.empty()) times_[c][op].ended = {now};
  state.busy &= static_cast<std::uint8_t>(~bit(stream));
  out_of_order_[c].end(op);
  mark(c, all_streams);
}

void RuleEngine::expect_all_ended() const {
  bool all_ended = true;
  for (std::uint32_t c = 0; c < states_.size(); ++c) {
    const State& state = states_[c];
    for (std::size_t s = 0; s < stream_count; ++s) {
      const bool is_busy = (state.busy & bit(s)) != 0;
      all_ended = all_ended && !is_busy;
      const std::uint32_t next = state.plan->first.at(s) +
                                 static_cast<std::uint32_t>(state.ended.at(s)) + (is_busy ? 1 : 0);
      if (next == state.plan->first.at(s + 1)) continue;
      const RankId rank = fold_.first_rank[c];
      const std::uint32_t op = state.plan->steps[next].op;
      throw Error(ErrorKind::internal,
                  fmt::format("deadlock in simulation: rank {} never gets to run op {} ({})",
                              rank.value, op, name_of(schedule_.program_of(rank)[op])));
    }
  }
  if (!all_ended) throw Error(ErrorKind::internal, "deadlock in simulation: an op never ends");
}

Timeline RuleEngine::timeline(std::string origin) const {
  Timeline out;
  out.origin = std::move(origin);
  out.ranks.reserve(schedule_.ranks.size());
  for (std::uint32_t r = 0; r < schedule_.ranks.size(); ++r) {
    const std::uint32_t c = fold_.rank_class[r];
    auto& times = out.ranks.emplace_back(times_[c]);
    if (fold_.uneven.empty()) continue;
    const ProgramPlan& plan = *states_[c].plan;
    for (std::size_t place = 0; place < plan.exchange_ops.size(); ++place) {
      const Traffic& traffic = traffic_of(states_[c].exchanges[place]);
      if (traffic.is_uneven) times[plan.exchange_ops[place]].sent = traffic.sent_by_rank[r];
    }
  }
  return out;
}

}  // namespace zebroid
