#include "backend/host/watch.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <utility>

namespace zebroid {
namespace {

bool runs(const ThreadQueues::Snapshot& snapshot, std::uint32_t op) {
  return std::any_of(snapshot.streams.begin(), snapshot.streams.end(), [&](const auto& state) {
    return state.what == ThreadQueues::State::What::running && state.op == op;
  });
}

std::vector<std::uint32_t> places_of(const Program& program) {
  std::array<std::uint32_t, stream_count> next{};
  std::vector<std::uint32_t> out;
  for (const Op& op : program) out.push_back(next.at(static_cast<std::size_t>(stream_of(op)))++);
  return out;
}

/// An op of the stream that should have begun before the one it is at, or no_op.
std::uint32_t passed_over(const Program& program, const ThreadQueues::Snapshot& snapshot,
                          const ThreadQueues::State& state) {
  constexpr std::uint32_t none = ThreadQueues::State::no_op;
  if (state.op == none) return none;
  for (std::uint32_t op = 0; op < state.op; ++op) {
    if (snapshot.begun[ended(op)] == 0 && stream_of(program[op]) == state.stream) return op;
  }
  return none;
}

/// Whether a stream that runs no op waits for nothing but a core.
bool goes_on(const ThreadQueues::Snapshot& snapshot, const ThreadQueues::State& state) {
  using What = ThreadQueues::State::What;
  return state.what == What::starting ||
         (state.what == What::waiting && snapshot.happened[state.event] != 0);
}

/// The stream that died first, or nullptr.
const ThreadQueues::State* first_dead(const ThreadQueues::Snapshot& snapshot) {
  const ThreadQueues::State* out = nullptr;
  for (const ThreadQueues::State& state : snapshot.streams) {
    if (state.what != ThreadQueues::State::What::dead) continue;
    if (out == nullptr || state.since < out->since) out = &state;
  }
  return out;
}

}  // namespace

Watch::Watch(const Schedule& schedule, const Exchanges& exchanges,
             const std::vector<std::unique_ptr<ThreadQueues>>& queues,
             const Communicator& communicator, Rules rules)
    : schedule_(schedule),
      exchanges_(exchanges),
      queues_(queues),
      communicator_(communicator),
      rules_(std::move(rules)) {
  for (const Program& program : schedule.programs) place_.push_back(places_of(program));
}

void Watch::begin() {
  ++iteration_;
  moved_ = 0;
  progress_ = last_look_ = resumed_ = Clock::now();
}

double Watch::deadline_s(RankId rank, std::uint32_t op) const {
  const double least = rules_.least.count();
  return rules_.deadline_s.empty() ? least : std::max(least, rules_.deadline_s[rank.value][op]);
}

/// While this process ran.
double Watch::seconds_since(Clock::time_point start) const {
  return std::chrono::duration<double>(last_look_ - std::max(start, resumed_)).count();
}

std::size_t Watch::look(Trouble& trouble) {
  constexpr std::chrono::seconds stopped{2};  // far longer than the time between two looks
  const Clock::time_point now = Clock::now();
  if (now - last_look_ > stopped) resumed_ = progress_ = now;
  last_look_ = now;
  std::uint64_t moved = communicator_.moved_bytes();
  std::size_t ops = 0;
  for (std::uint32_t r = 0; r < queues_.size(); ++r) {
    const auto counts = queues_[r]->snapshot(ThreadQueues::Detail::counts);
    moved += counts.events;
    ops += counts.ops_ended;
    if (!is_suspicious({r}, counts)) continue;
    if (judge({r}, queues_[r]->snapshot(ThreadQueues::Detail::events), trouble)) return ops;
  }
  if (moved != moved_) progress_ = now;
  moved_ = moved;
  if (seconds_since(progress_) > rules_.least.count()) judge_standstill(trouble);
  return ops;
}

std::vector<RankId> Watch::missing(RankId rank, std::uint32_t op) const {
  return communicator_.missing(exchanges_.of[rank.value][op], iteration_ - 1);
}

/// An exchange to which this rank has come: it may wait for others.
bool Watch::has_come(RankId rank, std::uint32_t op) const {
  if (!is_exchange(schedule_.program_of(rank)[op].work)) return false;
  const std::vector<RankId> others = missing(rank, op);
  return std::find(others.begin(), others.end(), rank) == others.end();
}

bool Watch::is_late(RankId rank, const State& state) const {
  return state.what == State::What::running &&
         seconds_since(state.since) > deadline_s(rank, state.op) && !has_come(rank, state.op);
}

/// Whether the rank has to be looked at in detail, which takes longer.
bool Watch::is_suspicious(RankId rank, const ThreadQueues::Snapshot& counts) const {
  const auto& place = place_[schedule_.ranks[rank.value].program];
  std::size_t running = 0;
  for (const State& state : counts.streams) {
    if (state.what == State::What::dead || is_late(rank, state)) return true;
    const std::size_t has_begun = state.what == State::What::running ? 1 : 0;
    running += has_begun;
    if (state.op != State::no_op && state.begun != place[state.op] + has_begun) return true;
  }
  return counts.ops_begun != counts.ops_ended + running;
}

/// What one rank alone shows to be wrong; true when nothing more is to be looked for now.
bool Watch::judge(RankId rank, const ThreadQueues::Snapshot& snapshot, Trouble& trouble) const {
  const Program& program = schedule_.program_of(rank);
  if (const State* dead = first_dead(snapshot)) {
    constexpr std::chrono::milliseconds moment{100};  // until those that died with it are seen too
    if (Clock::now() - dead->since < moment) return true;
    trouble.report({ErrorKind::aborted, rank, dead->op,
                    fmt::format("the rank is dead: its stream {} ended before this op",
                                name_of(dead->stream))});
    return true;
  }
  for (const State& state : snapshot.streams) {
    const std::uint32_t passed = passed_over(program, snapshot, state);
    if (passed != State::no_op) {
      trouble.report(
          {ErrorKind::aborted, rank, passed,
           fmt::format("out of turn: {} came in its place", name_of(program[state.op]))});
      return true;
    }
    if (!is_late(rank, state)) continue;
    trouble.report({ErrorKind::aborted, rank, state.op,
                    fmt::format("has not ended after {:.1f} s", seconds_since(state.since))});
    return true;
  }
  for (std::uint32_t op = 0; op < program.size(); ++op) {
    if (snapshot.begun[ended(op)] == 0 || snapshot.happened[ended(op)] != 0) continue;
    if (runs(snapshot, op)) continue;
    trouble.report({ErrorKind::aborted, rank, op, "was lost: its stream went on without its end"});
    return true;
  }
  return false;
}

/// Nothing has moved for long: who waits for nobody, or waits longest, is to blame.
void Watch::judge_standstill(Trouble& trouble) const {
  std::vector<ThreadQueues::Snapshot> all;
  for (const auto& queues : queues_) all.push_back(queues->snapshot(ThreadQueues::Detail::events));
  RankId waiting;
  const State* longest = nullptr;
  std::vector<RankId> others;  // of `longest`
  for (std::uint32_t r = 0; r < all.size(); ++r) {
    const RankId rank{r};
    for (const State& state : all[r].streams) {
      if (goes_on(all[r], state)) return;
      if (state.what != State::What::running) continue;
      if (!has_come(rank, state.op)) return;  // until its own deadline
      std::vector<RankId> missing_here = missing(rank, state.op);
      if (missing_here.empty()) {
        if (seconds_since(progress_) <= deadline_s(rank, state.op)) return;
        trouble.report(
            {ErrorKind::aborted, rank, state.op, "moves no bytes although all members have come"});
        return;
      }
      if (longest != nullptr && longest->since <= state.since) continue;
      longest = &state;
      waiting = rank;
      others = std::move(missing_here);
    }
  }
  if (longest == nullptr) return;
  trouble.report({ErrorKind::aborted, waiting, longest->op,
                  fmt::format("nothing has moved for {:.1f} s; it waits for rank {}{}",
                              seconds_since(progress_), others.front().value, waits(all))});
}

std::string Watch::describe(RankId rank, const State& state) const {
  const Program& program = schedule_.program_of(rank);
  std::string out = fmt::format("\n  rank {} {}: ", rank.value, name_of(state.stream));
  if (state.what == State::What::waiting) {
    const std::uint32_t awaited = state.event / 2;
    out += fmt::format(
        "{} waits for {} of {}", state.op != State::no_op ? name_of(program[state.op]) : "the end",
        state.event == ended(awaited) ? "the end" : "the launch", name_of(program[awaited]));
  } else if (state.op != State::no_op) {
    out += name_of(program[state.op]);
    if (is_exchange(program[state.op].work)) {
      std::vector<std::uint32_t> ranks;
      for (const RankId other : missing(rank, state.op)) ranks.push_back(other.value);
      out += fmt::format(" waits for ranks {}", fmt::join(ranks, ", "));
    }
  }
  return out;
}

std::string Watch::waits(const std::vector<ThreadQueues::Snapshot>& all) const {
  constexpr int most_shown = 12;
  std::string out;
  int shown = 0;
  for (std::uint32_t r = 0; r < all.size(); ++r) {
    for (const State& state : all[r].streams) {
      if (state.what == State::What::done) continue;
      if (++shown > most_shown) return out + "\n  ...";
      out += describe({r}, state);
    }
  }
  return out;
}

}  // namespace zebroid
