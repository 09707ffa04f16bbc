// What goes wrong on one rank ends the run soon, and the report names that rank and op.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "backend/host/host_run.hpp"
#include "core/error.hpp"
#include "tests/support/training_cases.hpp"

namespace zebroid {
namespace {

using testing::Case;
using ::testing::HasSubstr;
using testing::make_case;
using testing::some_text;
using ::testing::StartsWith;
using testing::TrainingCase;
using Strategy = TrainingCase::Strategy;

constexpr double deadline_s = 1;

struct Trial {
  FaultKind kind;
  Strategy strategy;
};

const char* name_of(FaultKind kind) {
  constexpr std::array names = {"stuck", "dead", "dropped", "swapped", "miscounted", "flipped"};
  return names.at(static_cast<std::size_t>(kind));
}

/// The ops on which a fault of this kind is tried: of each work and pass of each program the first
/// and the last that it fits.
std::vector<Injection> injections(const Schedule& schedule, FaultKind kind) {
  std::vector<Injection> out;
  const bool sends = kind == FaultKind::miscounted || kind == FaultKind::flipped;
  for (std::uint32_t r = 0; r < schedule.ranks.size(); r += 2) {
    const Program& program = schedule.program_of({r});
    for (std::uint32_t i = 0; i < program.size(); ++i) {
      const Op& op = program[i];
      if ((sends || kind == FaultKind::swapped) && !is_exchange(op.work)) continue;
      if (kind == FaultKind::swapped && !next_on_stream(program, i)) continue;
      const auto holders = [&](std::uint32_t rank, const Op& of) -> const std::vector<RankId>& {
        return schedule.replicas[schedule.ranks[rank].replica].expert_on[of.layer];
      };
      // Who only receives sends nothing that could be wrong.
      const bool owner = schedule.ranks[r].sequences > 0;
      if (sends && op.work == Work::dispatch && !owner) continue;
      const auto owns = [&](std::uint32_t rank) {
        const Program& other = schedule.program_of({rank});
        return schedule.ranks[rank].replica == schedule.ranks[r].replica && rank != r &&
               std::any_of(other.begin(), other.end(), [&](const Op& its) {
                 return its.work == Work::attention && its.layer == op.layer;
               });
      };
      std::uint32_t other_owners = 0;
      for (std::uint32_t rank = 0; rank < schedule.ranks.size(); ++rank) {
        if (owns(rank)) ++other_owners;
      }
      if (sends && op.work == Work::combine && other_owners == 0) continue;
      if (sends && op.work == Work::combine &&
          std::none_of(holders(r, op).begin(), holders(r, op).end(),
                       [r](RankId holder) { return holder.value == r; })) {
        continue;
      }
      if (sends && op.work == Work::stage) {
        const bool below = std::any_of(program.begin(), program.end(), [&](const Op& other) {
          return other.work == Work::attention && other.layer + 1U == op.layer;
        });
        if (below != (op.pass == Pass::forward)) continue;
      }
      const bool known = std::any_of(out.begin(), out.end(), [&](const Injection& other) {
        const Op& its = schedule.program_of(other.rank)[other.op];
        return other.rank.value == r && its.work == op.work && its.pass == op.pass;
      });
      if (!known) out.push_back({kind, {r}, i});
    }
  }
  return out;
}

class EveryFault : public ::testing::TestWithParam<Trial> {};

TEST_P(EveryFault, IsBlamedOnItsRankAndOp) {
  const auto [kind, strategy] = GetParam();
  TrainingCase wanted{.strategy = strategy, .offload = 1, .microbatches = 2, .chunks = 2};
  if (strategy == Strategy::pp) wanted.groups = 2;
  if (strategy == Strategy::pp) wanted.chunks = 1;
  if (strategy == Strategy::zebra_in_stages) wanted.attention = 3;
  const Case c = make_case(wanted);
  std::vector<Injection> faults = injections(c.schedule, kind);
  ASSERT_GE(faults.size(), 4U);
  constexpr std::size_t most_stuck = 6;  // each takes the whole deadline
  if (kind == FaultKind::stuck) {
    const std::size_t every = (faults.size() + most_stuck - 1) / most_stuck;
    for (std::size_t i = 0; i * every < faults.size(); ++i) faults[i] = faults[i * every];
    faults.resize((faults.size() + every - 1) / every);
  }
  for (const Injection& fault : faults) {
    const std::string op = zebroid::name_of(c.schedule.program_of(fault.rank)[fault.op]);
    // All streams of a dead rank stop, each before some op.
    const std::string rank = "rank " + std::to_string(fault.rank.value) + ": ";
    const std::string blame = kind == FaultKind::dead ? rank : rank + op + ": ";
    const auto start = std::chrono::steady_clock::now();
    try {
      run_on_host(c.schedule, c.scenario, some_text(),
                  {.steps = 2,
                   .least_deadline = std::chrono::duration<double>(deadline_s),
                   .checksums = kind == FaultKind::flipped,
                   .injection = fault});
      ADD_FAILURE() << name_of(kind) << " " << blame << "was not found";
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::aborted) << error.what();
      EXPECT_THAT(error.what(), StartsWith(blame)) << name_of(kind);
      if (kind == FaultKind::dead) {
        EXPECT_THAT(error.what(), HasSubstr("the rank is dead"));
      }
    }
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    EXPECT_LT(took.count(), deadline_s + 1) << name_of(kind) << " " << blame;
  }
}

std::vector<Trial> trials() {
  std::vector<Trial> out;
  for (const FaultKind kind : {FaultKind::stuck, FaultKind::dead, FaultKind::dropped,
                               FaultKind::swapped, FaultKind::miscounted, FaultKind::flipped}) {
    for (const Strategy strategy : {Strategy::zebra, Strategy::ep, Strategy::dist_ep, Strategy::pp,
                                    Strategy::zebra_in_stages}) {
      out.push_back({kind, strategy});
    }
  }
  return out;
}

INSTANTIATE_TEST_SUITE_P(Host, EveryFault, ::testing::ValuesIn(trials()), [](const auto& of) {
  return std::string(name_of(of.param.kind)) + "_" +
         TrainingCase{.strategy = of.param.strategy}.name();
});

TEST(Faults, AFlippedBitIsSeenByTheReferenceWithoutChecksums) {
  const Case c = make_case({.microbatches = 2});
  const Injection fault = injections(c.schedule, FaultKind::flipped).front();
  try {
    run_on_host(c.schedule, c.scenario, some_text(),
                {.steps = 1, .verify = true, .injection = fault});
    ADD_FAILURE() << "not found";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::check) << error.what();
    EXPECT_THAT(error.what(), HasSubstr("the single-rank reference has"));
  }
}

TEST(Faults, TooLittleMemoryNamesRankOpAndBytes) {
  const Case c = make_case({.microbatches = 2});
  const HostRun run = run_on_host(c.schedule, c.scenario, some_text(), {.steps = 1});
  double least = run.memory.front().peak_bytes;
  for (const RankMemoryUse& use : run.memory) least = std::max(least, use.peak_bytes);
  try {
    run_on_host(c.schedule, c.scenario, some_text(),
                {.steps = 1, .memory_limit_bytes = static_cast<std::size_t>(0.8 * least)});
    ADD_FAILURE() << "it fits";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::infeasible);
    EXPECT_THAT(error.what(), ::testing::ContainsRegex("rank [0-9]+: .+[0-9]+ bytes"));
  }
}

}  // namespace
}  // namespace zebroid
