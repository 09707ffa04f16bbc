#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <utility>
#include <vector>

#include "schedule/verify.hpp"
#include "tests/support/brute_force.hpp"
#include "tests/support/schedules.hpp"

namespace zebroid {
namespace {

std::vector<Schedule> originals() {
  std::vector<Schedule> out;
  for (testing::Case& it : testing::small_cases()) out.push_back(std::move(it.schedule));
  out.push_back(testing::two_stages().schedule);
  return out;
}

std::uint32_t below(std::mt19937_64& bits, std::size_t n) {
  return static_cast<std::uint32_t>(bits() % n);
}

void give(Schedule& schedule, std::uint32_t r, Program program) {
  schedule.ranks[r].program = static_cast<std::uint16_t>(schedule.programs.size());
  schedule.programs.push_back(std::move(program));
}

/// Changes the exchange that is op `i` of rank `r` in the same way on all its members: it is lost,
/// or changes places with another one of its group. No rank lacks its partner then.
Schedule mutate_everywhere(Schedule out, std::uint32_t r, std::uint32_t i, std::mt19937_64& bits) {
  const Op one = out.program_of({r})[i];
  const GroupId group = out.group_of({r}, one);
  std::vector<Op> others;
  for (const Op& op : out.program_of({r})) {
    if (op.slot == one.slot) others.push_back(op);
  }
  const Op other = others[below(bits, others.size())];
  const bool lost = below(bits, 2) == 0;
  for (const RankId rank : out.groups[group.value]) {
    Program program = out.program_of(rank);
    const auto find = [&](Op op) {
      const auto& slots = out.ranks[rank.value].groups;
      op.slot = static_cast<std::uint8_t>(
          1 + (std::find(slots.begin(), slots.end(), group) - slots.begin()));
      return std::find(program.begin(), program.end(), op);
    };
    const auto at = find(one);
    const auto with = find(other);
    if (at == program.end() || with == program.end()) continue;  // mutated before
    if (lost) {
      program.erase(at);
    } else {
      std::iter_swap(at, with);
    }
    give(out, rank.value, std::move(program));
  }
  return out;
}

/// Changes one rank's program in one place, or one exchange on all its members.
Schedule mutate(const Schedule& original, std::mt19937_64& bits) {
  Schedule out = original;
  const std::uint32_t r = below(bits, out.ranks.size());
  Program program = out.program_of({r});
  const std::uint32_t i = below(bits, program.size());
  switch (below(bits, 9)) {
    case 0:  // two ops change places
    case 1:
      std::swap(program[i], program[below(bits, program.size())]);
      break;
    case 2:  // an op and a near one
    case 3:
      std::swap(program[i],
                program[std::min<std::size_t>(i + 1 + below(bits, 4), program.size() - 1)]);
      break;
    case 4: {  // an op moves
      const Op op = program[i];
      program.erase(program.begin() + i);
      program.insert(program.begin() + below(bits, program.size() + 1), op);
      break;
    }
    case 5:  // an op is lost
      program.erase(program.begin() + i);
      break;
    case 6: {  // an op comes twice
      const Op op = program[i];
      program.insert(program.begin() + below(bits, program.size() + 1), op);
      break;
    }
    case 7:
      if (is_exchange(program[i].work)) return mutate_everywhere(std::move(out), r, i, bits);
      break;
    default: {  // an op turns into another
      Op& op = program[i];
      const std::uint32_t field = below(bits, 4);
      if (field == 0) op.layer = static_cast<std::uint16_t>(below(bits, out.layers));
      if (field == 1) op.microbatch = static_cast<std::uint16_t>(below(bits, out.microbatches));
      if (field == 2) op.chunk = static_cast<std::uint16_t>(below(bits, out.chunks));
      if (field == 3 && op.slot > 0) {
        op.slot = static_cast<std::uint8_t>(1 + below(bits, out.ranks[r].groups.size()));
      }
      break;
    }
  }
  give(out, r, std::move(program));
  return out;
}

void compare_on_mutants(std::size_t mutants) {
  const std::vector<Schedule> schedules = originals();
  std::mt19937_64 bits(20261124);
  std::size_t accepted = 0;
  for (std::size_t n = 0; n < mutants; ++n) {
    const Schedule& original = schedules[n % schedules.size()];
    Schedule mutant = mutate(original, bits);
    if (below(bits, 4) == 0) mutant = mutate(mutant, bits);
    const std::vector<Fault> faults = verify(mutant);
    const bool runs =
        testing::lists_what_is_needed(mutant, original) && testing::runs_to_the_end(mutant);
    accepted += faults.empty() ? 1 : 0;
    ASSERT_EQ(faults.empty(), runs) << "mutant " << n << ": verify says "
                                    << (faults.empty() ? "no faults" : faults.front().message);
  }
  // The mutants are a fair mix: neither verdict is rare.
  EXPECT_GT(accepted, mutants / 10);
  EXPECT_LT(accepted, mutants * 9 / 10);
}

TEST(Verify, AcceptsTheOriginals) {
  for (const Schedule& schedule : originals()) {
    const std::vector<Fault> faults = verify(schedule);
    EXPECT_TRUE(faults.empty()) << faults.front().message;
    EXPECT_TRUE(testing::runs_to_the_end(schedule));
  }
}

TEST(Verify, AgreesWithBruteForceOnAHundredThousandMutants) { compare_on_mutants(100'000); }

TEST(VerifyLong, AgreesWithBruteForceOnAMillionMutants) { compare_on_mutants(1'000'000); }

}  // namespace
}  // namespace zebroid
