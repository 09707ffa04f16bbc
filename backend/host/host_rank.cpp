#include "backend/host/host_rank.hpp"

#include <fmt/format.h>

#include <string>
#include <thread>
#include <utility>

#include "backend/executor.hpp"
#include "core/error.hpp"
#include "core/hash.hpp"

namespace zebroid {
namespace {

/// A program in which an op has changed places with the next one of its stream, and what its ops
/// are in the real one.
struct Issued {
  Program program;
  std::vector<std::uint32_t> real;  // [ops]
};

Issued swapped(const Program& program, std::uint32_t op) {
  Issued out{program, std::vector<std::uint32_t>(program.size())};
  for (std::uint32_t i = 0; i < program.size(); ++i) out.real[i] = i;
  const std::uint32_t other = next_on_stream(program, op).value_or(op);
  std::swap(out.program[op], out.program[other]);
  std::swap(out.real[op], out.real[other]);
  return out;
}

/// Queues a changed program under the names that its ops have in the real one.
class RenamedQueues final : public Queues {
 public:
  RenamedQueues(Queues& queues, const std::vector<std::uint32_t>& real)
      : queues_(queues), real_(real) {}

  void wait(Stream stream, Event event) override { queues_.wait(stream, real(event)); }
  void record(Stream stream, Event event) override { queues_.record(stream, real(event)); }
  void run(Stream stream, std::uint32_t op) override { queues_.run(stream, real_[op]); }

 private:
  Event real(Event event) const { return launched(real_[event / 2]) + event % 2; }

  Queues& queues_;
  const std::vector<std::uint32_t>& real_;
};

}  // namespace

template <class Real>
HostRank<Real>::HostRank(const Context& context, RankId rank)
    : context_(context),
      rank_(rank),
      program_(context.job.schedule.program_of(rank)),
      arena_(context.options.memory_limit_bytes),
      memory_(context.job.model, program_, context.values, arena_),
      parameters_(context.job, context.norm, rank, arena_),
      state_{context.job, rank,        program_,       context.index,
             memory_,     parameters_, context.routes, context.amounts},
      compute_(state_),
      exchanges_(state_, context.communicator, injection()),
      times_(program_.size()),
      started_(program_.size()) {}

template <class Real>
std::unique_ptr<ThreadQueues> HostRank<Real>::make_queues() {
  const bool swaps = injection() != nullptr && injection()->kind == FaultKind::swapped;
  auto out = std::make_unique<ThreadQueues>(
      static_cast<std::uint32_t>(2 * program_.size()), [this](std::uint32_t op) { run(op); },
      context_.trouble);
  if (swaps) {
    const Issued changed = swapped(program_, injection()->op);
    RenamedQueues renamed(*out, changed.real);
    issue(changed.program, reads(context_.job.schedule, changed.program), renamed);
  } else {
    issue(program_, context_.reads, *out);
  }
  if (injection() != nullptr && injection()->kind == FaultKind::dropped) {
    out->drop(injection()->op);
  }
  return out;
}

template <class Real>
void HostRank<Real>::begin(std::uint64_t step) {
  step_ = step;
  memory_.begin();
  parameters_.begin();
  compute_.begin(step);
}

template <class Real>
std::vector<OpTimes> HostRank<Real>::times(const ThreadQueues& queues,
                                           Clock::time_point start) const {
  const std::vector<Clock::time_point> at = queues.times();
  const auto seconds = [&](Clock::time_point point) {
    return Seconds{std::chrono::duration<double>(point - start).count()};
  };
  std::vector<OpTimes> out = times_;
  for (std::uint32_t i = 0; i < out.size(); ++i) {
    out[i].ready = seconds(at[launched(i)]);
    out[i].ended = seconds(at[ended(i)]);
    out[i].started = is_exchange(program_[i].work) ? seconds(started_[i]) : out[i].ready;
  }
  return out;
}

template <class Real>
const Injection* HostRank<Real>::injection() const {
  const auto& injection = context_.options.injection;
  return injection && injection->rank == rank_ ? &*injection : nullptr;
}

template <class Real>
bool HostRank<Real>::fails(FaultKind kind, std::uint32_t op) const {
  const Injection* fault = injection();
  return fault != nullptr && fault->kind == kind && fault->op == op;
}

/// On the thread of the op's stream.
template <class Real>
void HostRank<Real>::run(std::uint32_t op) {
  try {
    disturb(op);
    run_op(op);
    return;
  } catch (const MissingValue& missing) {
    context_.trouble.report(
        {ErrorKind::aborted, rank_, missing.writer,
         fmt::format("was lost: {} finds nothing that it left", name_of(program_[op]))});
  } catch (const OutOfMemory& lack) {
    context_.trouble.report({ErrorKind::infeasible, rank_, op, lack.what()});
  } catch (const Error& error) {
    context_.trouble.report({error.kind(), rank_, op, error.what()});
  } catch (const std::exception& error) {
    context_.trouble.report({ErrorKind::internal, rank_, op, error.what()});
  }
  throw Stopped{};
}

template <class Real>
void HostRank<Real>::run_op(std::uint32_t op) {
  const Op& of = program_[op];
  if (is_exchange(of.work)) {
    const auto done = exchanges_.run(op);
    started_[op] = done.started;
    times_[op].sent = {static_cast<double>(done.sent_bytes)};
    return;
  }
  Counts counts{.tokens = state_.amounts.tokens(rank_, of)};
  if (of.work == Work::expert) {
    counts.rows = state_.amounts.rows(rank_, of);
    counts.experts = static_cast<double>(context_.job.layout.experts_of(rank_, of.layer).size());
  }
  memory_.take(op, counts);
  compute_.run(op);
  memory_.finish(op);
  times_[op].rows = counts.rows;
}

/// Delays and faults that were asked for.
template <class Real>
void HostRank<Real>::disturb(std::uint32_t op) {
  if (context_.options.delay_seed) {
    constexpr std::uint64_t most_us = 300;
    const std::uint64_t draw =
        mix(*context_.options.delay_seed + mix(rank_.value + mix(op + mix(step_))));
    if (draw % 2 == 0) {
      std::this_thread::sleep_for(std::chrono::microseconds(draw / 2 % most_us));
    }
  }
  if (fails(FaultKind::dead, op)) dead_ = true;
  if (dead_) throw Stopped{};
  const bool hangs = fails(FaultKind::hung, op);
  if (!hangs && !fails(FaultKind::stuck, op)) return;
  while (hangs || !context_.trouble.stopped()) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  throw Stopped{};
}

template class HostRank<float>;
template class HostRank<double>;

}  // namespace zebroid
