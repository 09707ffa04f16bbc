#include "sim/rule_engine.hpp"

#include <fmt/format.h>

#include <cmath>
#include <utility>

#include "core/error.hpp"

namespace zebroid {

RuleEngine::RuleEngine(const Schedule& schedule, const Load& load, const SimulateOptions& options)
    : schedule_(schedule),
      load_(load),
      options_(options),
      exchanges_(match_exchanges(schedule)),
      launched_(exchanges_.all.size(), 0),
      parts_(exchanges_.all.size()) {
  for (const Program& program : schedule.programs) plans_.push_back(plan_of(schedule, program));
  for (std::uint32_t r = 0; r < schedule.ranks.size(); ++r) {
    RankState& rank = ranks_.emplace_back();
    rank.program = &schedule.program_of({r});
    rank.plan = &plans_[schedule.ranks[r].program];
    rank.waits = rank.plan->reads;
    rank.sm_share = load.sm_share({r});
    ops_ += rank.program->size();
    timeline_.ranks.emplace_back(rank.program->size());
    for (std::size_t s = 0; s < stream_count; ++s) to_try_.push_back({r, s});
  }
}

RuleEngine::ProgramPlan RuleEngine::plan_of(const Schedule& schedule, const Program& program) {
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

std::vector<RuleEngine::Message> RuleEngine::messages_of(const Exchange& exchange) const {
  std::vector<Message> out;
  const auto members = static_cast<std::uint32_t>(exchange.members.size());
  constexpr std::uint32_t many = 256;  // members; their pairs then take a while
  for (std::uint32_t from = 0; from < members; ++from) {
    if (options_.poll && members > many) options_.poll();
    for (std::uint32_t to = 0; to < members; ++to) {
      if (from == to) continue;
      const Bytes bytes = load_.bytes(exchange.group, exchange.op, exchange.members[from].rank,
                                      exchange.members[to].rank);
      ensure(std::isfinite(bytes.value) && bytes.value >= 0, "a message is not a finite size");
      if (bytes.value > 0) out.push_back({from, to, bytes});
    }
  }
  return out;
}

void RuleEngine::start_what_can(double now) {
  now_ = now;
  while (next_to_try_ < to_try_.size()) {
    const auto [rank, stream] = to_try_[next_to_try_++];
    try_start(rank, stream);
  }
  to_try_.clear();
  next_to_try_ = 0;
}

/// Starts or launches the next op of a stream when nothing keeps it.
void RuleEngine::try_start(std::uint32_t r, std::size_t stream) {
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
    begin_compute(r, op);
  }
}

void RuleEngine::begin_compute(std::uint32_t r, std::uint32_t op) {
  RankState& rank = ranks_[r];
  OpTimes& t = times(r, op);
  t.ready = t.started = {now_};
  t.rows = load_.rows({r}, (*rank.program)[op]);
  const Seconds work = load_.seconds({r}, (*rank.program)[op]);
  ensure(std::isfinite(work.value) && work.value >= 0, "a cost is not a finite time");
  if (work.value <= 0) {
    end_op(r, op, now_);
    return;
  }
  rank.running = op;
  start_compute(r, work, rank.rate());
}

/// Tells the engine when the number of exchanges in flight changed a rank's rate.
void RuleEngine::follow_rate(std::uint32_t r, double before) {
  const double rate = ranks_[r].rate();
  if (rate != before) change_rate(r, rate);
}

void RuleEngine::launch(std::uint32_t r, std::uint32_t op) {
  RankState& rank = ranks_[r];
  times(r, op).ready = {now_};
  ++rank.exchanges_launched;
  const double before = rank.rate();
  ++rank.exchanges_in_flight;
  follow_rate(r, before);
  if (options_.launch_rule && rank.exchanges_launched < rank.plan->exchanges.size()) {
    // The next exchange listed may have waited for this launch alone.
    const Op& next = (*rank.program)[rank.plan->exchanges[rank.exchanges_launched]];
    to_try_.push_back({r, static_cast<std::size_t>(stream_of(next))});
  }
  const std::uint32_t x = exchanges_.of[r][op];
  if (++launched_[x] == exchanges_.all[x].members.size()) begin_transfer(x);
}

void RuleEngine::begin_transfer(std::uint32_t x) {
  const Exchange& e = exchanges_.all[x];
  std::vector<Message> messages = messages_of(e);
  std::vector<char> takes_part(e.members.size(), 0);
  for (const Message& message : messages) {
    const auto [sender, op] = e.members[message.from];
    times(sender.value, op).sent += message.bytes;
    takes_part[message.from] = takes_part[message.to] = 1;
  }
  for (std::uint32_t m = 0; m < e.members.size(); ++m) {
    const auto [rank, op] = e.members[m];
    times(rank.value, op).started = {now_};
    const bool ends_at_once = ends_together(e.op.work) ? messages.empty() : takes_part[m] == 0;
    if (ends_at_once) end_op(rank.value, op, now_);
  }
  if (messages.empty()) return;
  const Seconds latency = load_.latency(e.group, e.op);
  ensure(std::isfinite(latency.value) && latency.value >= 0, "a latency is not a finite time");
  start_transfer(x, latency, std::move(messages));
}

void RuleEngine::end_compute(std::uint32_t rank, double now) {
  end_op(rank, ranks_[rank].running, now);
}

void RuleEngine::begin_part(std::uint32_t x, std::span<const std::uint32_t> members) {
  Parts& parts = parts_[x];
  parts.of.resize(exchanges_.all[x].members.size(), 0);
  ++parts.all;
  for (const std::uint32_t m : members) ++parts.of[m];
}

void RuleEngine::end_part(std::uint32_t x, std::span<const std::uint32_t> members, double now) {
  const Exchange& e = exchanges_.all[x];
  Parts& parts = parts_[x];
  --parts.all;
  if (ends_together(e.op.work)) {
    if (parts.all > 0) return;
    for (const auto& [rank, op] : e.members) end_op(rank.value, op, now);
    return;
  }
  for (const std::uint32_t m : members) {
    if (--parts.of[m] == 0) end_op(e.members[m].rank.value, e.members[m].op, now);
  }
}

void RuleEngine::end_op(std::uint32_t r, std::uint32_t op, double now) {
  RankState& rank = ranks_[r];
  times(r, op).ended = {now};
  const auto stream = static_cast<std::size_t>(stream_of((*rank.program)[op]));
  rank.busy.at(stream) = false;
  ++ended_;
  if (is_exchange((*rank.program)[op].work)) {
    const double before = rank.rate();
    --rank.exchanges_in_flight;
    follow_rate(r, before);
  }
  to_try_.push_back({r, stream});
  for (std::uint32_t k = rank.plan->first_reader[op]; k < rank.plan->first_reader[op + 1]; ++k) {
    const std::uint32_t reader = rank.plan->readers[k];
    if (--rank.waits[reader] == 0) {
      to_try_.push_back({r, static_cast<std::size_t>(stream_of((*rank.program)[reader]))});
    }
  }
}

Timeline RuleEngine::finish(std::string origin) {
  if (ended_ < ops_) {
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
    throw Error(ErrorKind::internal, "deadlock in simulation: an op never ends");
  }
  timeline_.origin = std::move(origin);
  return std::move(timeline_);
}

}  // namespace zebroid
