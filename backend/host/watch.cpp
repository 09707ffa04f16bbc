#include "backend/host/watch.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <numeric>
#include <utility>

namespace zebroid {
namespace {

using FloatSeconds = std::chrono::duration<double>;

bool runs(const ThreadQueues::Snapshot& snapshot, std::uint32_t op) {
  return std::any_of(snapshot.streams.begin(), snapshot.streams.end(), [&](const auto& state) {
    return state.what == ThreadQueues::State::What::running && state.op == op;
  });
}

/// An op of the stream that should have begun before the one it is at, or no_op.
std::uint32_t passed_over(const Program& program, const ThreadQueues::Snapshot& snapshot,
                          const ThreadQueues::State& state) {
  constexpr std::uint32_t none = ThreadQueues::State::no_op;
  if (state.what == ThreadQueues::State::What::done || state.op == none) return none;
  for (std::uint32_t op = 0; op < state.op; ++op) {
    if (snapshot.begun[ended(op)] == 0 && stream_of(program[op]) == state.stream) return op;
  }
  return none;
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
      rules_(std::move(rules)) {}

void Watch::begin() {
  events_ = 0;
  progress_ = Clock::now();
}

double Watch::deadline_s(RankId rank, std::uint32_t op) const {
  const double least = rules_.least.count();
  return rules_.deadline_s.empty() ? least : std::max(least, rules_.deadline_s[rank.value][op]);
}

std::size_t Watch::look(Trouble& trouble) {
  std::vector<ThreadQueues::Snapshot> all;
  std::size_t events = 0;
  std::size_t ops = 0;
  for (const auto& queues : queues_) {
    all.push_back(queues->snapshot());
    const std::vector<char>& happened = all.back().happened;
    events += static_cast<std::size_t>(std::count(happened.begin(), happened.end(), 1));
    for (std::uint32_t op = 0; ended(op) < happened.size(); ++op) ops += happened[ended(op)] != 0;
  }
  for (std::uint32_t r = 0; r < all.size(); ++r) {
    if (judge({r}, all[r], trouble)) return ops;
  }
  if (events != events_) progress_ = Clock::now();
  events_ = events;
  if (Clock::now() - progress_ > rules_.least) judge_standstill(all, trouble);
  return ops;
}

/// An exchange to which this rank has come: it may wait for others.
bool Watch::has_come(RankId rank, std::uint32_t op) const {
  if (!is_exchange(schedule_.program_of(rank)[op].work)) return false;
  const std::vector<RankId> missing = communicator_.missing(exchanges_.of[rank.value][op]);
  return std::find(missing.begin(), missing.end(), rank) == missing.end();
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
    if (state.what != State::What::running || has_come(rank, state.op)) continue;
    const FloatSeconds took = Clock::now() - state.since;
    if (took.count() <= deadline_s(rank, state.op)) continue;
    trouble.report({ErrorKind::aborted, rank, state.op,
                    fmt::format("has not ended after {:.1f} s", took.count())});
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

/// Nothing has ended for long: who waits for nobody, or waits longest, is to blame.
void Watch::judge_standstill(const std::vector<ThreadQueues::Snapshot>& all,
                             Trouble& trouble) const {
  RankId waiting;
  const State* longest = nullptr;
  for (std::uint32_t r = 0; r < all.size(); ++r) {
    for (const State& state : all[r].streams) {
      if (state.what != State::What::running) continue;
      const RankId rank{r};
      if (!has_come(rank, state.op)) return;  // until its own deadline
      const std::uint32_t exchange = exchanges_.of[r][state.op];
      if (communicator_.missing(exchange).empty()) {
        trouble.report(
            {ErrorKind::aborted, rank, state.op, "moves no bytes although all members have come"});
        return;
      }
      if (longest != nullptr && longest->since <= state.since) continue;
      longest = &state;
      waiting = rank;
    }
  }
  if (longest == nullptr) return;
  const std::vector<RankId> missing =
      communicator_.missing(exchanges_.of[waiting.value][longest->op]);
  trouble.report({ErrorKind::aborted, waiting, longest->op,
                  fmt::format("nothing has moved for {:.1f} s; it waits for rank {}{}",
                              FloatSeconds(Clock::now() - progress_).count(), missing.front().value,
                              waits(all))});
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
      for (const RankId missing : communicator_.missing(exchanges_.of[rank.value][state.op])) {
        ranks.push_back(missing.value);
      }
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
