#include "planner/listing.hpp"

#include <algorithm>
#include <array>
#include <tuple>

#include "planner/builder.hpp"

namespace zebroid {
namespace {

constexpr std::uint32_t none = UINT32_MAX;

/// Merges the streams of one rank by start time; equal starts by what is read, then by the op
/// itself, so that all members of an exchange agree.
class Lister {
 public:
  Lister(const Schedule& schedule, RankId rank, const Reads& reads,
         const std::vector<OpTimes>& times)
      : program_(schedule.program_of(rank)),
        groups_(schedule.ranks[rank.value].groups),
        reads_(reads),
        times_(times),
        listed_(program_.size(), false) {
    for (std::uint32_t i = 0; i < program_.size(); ++i) {
      streams_.at(static_cast<std::size_t>(stream_of(program_[i]))).push_back(i);
    }
  }

  Program run() {
    Program out;
    out.reserve(program_.size());
    while (out.size() < program_.size()) {
      const std::uint32_t next = earliest();
      ++heads_.at(static_cast<std::size_t>(stream_of(program_[next])));
      listed_[next] = true;
      out.push_back(program_[next]);
    }
    return out;
  }

 private:
  std::uint32_t earliest() const {
    std::uint32_t best = none;
    for (std::size_t s = 0; s < stream_count; ++s) {
      if (heads_.at(s) == streams_.at(s).size()) continue;
      const std::uint32_t head = streams_.at(s)[heads_.at(s)];
      if (best == none || before(head, best)) best = head;
    }
    return best;
  }

  bool before(std::uint32_t a, std::uint32_t b) const {
    const auto key = [this](std::uint32_t i) {
      const Op& op = program_[i];
      const std::uint32_t group = op.slot == 0 ? 0 : groups_[op.slot - 1U].value;
      return std::tuple(times_[i].started, waits(i), op.pass, op.layer, op.microbatch, op.chunk,
                        op.work, group);
    };
    return key(a) < key(b);
  }

  /// Whether something that op i reads is not listed yet, which at equal starts has to go first.
  bool waits(std::uint32_t i) const {
    const auto begin = reads_.ops.begin();
    return std::any_of(begin + reads_.first[i], begin + reads_.first[i + 1],
                       [this](std::uint32_t read) { return !listed_[read]; });
  }

  const Program& program_;
  const std::vector<GroupId>& groups_;
  const Reads& reads_;
  const std::vector<OpTimes>& times_;
  std::vector<bool> listed_;
  std::array<std::vector<std::uint32_t>, stream_count> streams_;
  std::array<std::size_t, stream_count> heads_{};
};

}  // namespace

Schedule list_by_start(const Schedule& schedule, const Timeline& free_run) {
  std::vector<Reads> program_reads;
  program_reads.reserve(schedule.programs.size());
  for (const Program& program : schedule.programs) {
    program_reads.push_back(reads(schedule, program));
  }
  std::vector<Program> programs;
  programs.reserve(schedule.ranks.size());
  std::vector<std::uint32_t> listed;  // ranks that differ in program or times
  for (std::uint32_t r = 0; r < schedule.ranks.size(); ++r) {
    const auto& times = free_run.ranks[r];
    const auto same = std::find_if(listed.begin(), listed.end(), [&](std::uint32_t other) {
      return schedule.ranks[other].program == schedule.ranks[r].program &&
             schedule.ranks[other].groups == schedule.ranks[r].groups &&
             free_run.ranks[other] == times;
    });
    if (same != listed.end()) {
      programs.push_back(programs[*same]);
      continue;
    }
    listed.push_back(r);
    programs.push_back(
        Lister(schedule, {r}, program_reads[schedule.ranks[r].program], times).run());
  }
  Schedule out = schedule;
  share_programs(out, std::move(programs));
  return out;
}

}  // namespace zebroid
