#include "planner/listing.hpp"

#include <algorithm>
#include <tuple>

#include "planner/builder.hpp"

namespace zebroid {
namespace {

/// Lists one rank's exchanges by start time, equal ones as they were listed: in an order common to
/// all members that no data runs against. Compute ops, as their stream has them, go in between.
class Lister {
 public:
  Lister(const Schedule& schedule, RankId rank, const Reads& reads,
         const std::vector<OpTimes>& times)
      : program_(schedule.program_of(rank)),
        reads_(reads),
        times_(times),
        listed_(program_.size(), false) {
    for (std::uint32_t i = 0; i < program_.size(); ++i) {
      (is_exchange(program_[i].work) ? exchanges_ : computes_).push_back(i);
    }
    std::stable_sort(exchanges_.begin(), exchanges_.end(), [&](std::uint32_t a, std::uint32_t b) {
      return times_[a].started < times_[b].started;
    });
  }

  Program run() {
    Program out;
    out.reserve(program_.size());
    auto exchange = exchanges_.begin();
    auto compute = computes_.begin();
    while (out.size() < program_.size()) {
      const bool computes = exchange == exchanges_.end() ||
                            (compute != computes_.end() && goes_first(*compute, *exchange));
      const std::uint32_t next = computes ? *compute++ : *exchange++;
      listed_[next] = true;
      out.push_back(program_[next]);
    }
    return out;
  }

 private:
  bool goes_first(std::uint32_t compute, std::uint32_t exchange) const {
    const auto key = [this](std::uint32_t i) {
      const Op& op = program_[i];
      return std::tuple(times_[i].started, waits(i), op.pass, op.layer, op.microbatch, op.chunk,
                        op.work);
    };
    return key(compute) < key(exchange);
  }

  /// Whether something that op i reads is not listed yet, which at equal starts has to go first.
  bool waits(std::uint32_t i) const {
    const auto begin = reads_.ops.begin();
    return std::any_of(begin + reads_.first[i], begin + reads_.first[i + 1],
                       [this](std::uint32_t read) { return !listed_[read]; });
  }

  const Program& program_;
  const Reads& reads_;
  const std::vector<OpTimes>& times_;
  std::vector<bool> listed_;
  std::vector<std::uint32_t> computes_;
  std::vector<std::uint32_t> exchanges_;
};

/// Reorders every rank's program; ranks that run one alike are asked once.
/// program_of(rank, its times) -> Program.
template <class Reorder>
Schedule reordered(const Schedule& schedule, const Timeline& run, const Reorder& program_of) {
  std::vector<Program> programs;
  programs.reserve(schedule.ranks.size());
  std::vector<std::uint32_t> listed;  // ranks that differ in program or times
  for (std::uint32_t r = 0; r < schedule.ranks.size(); ++r) {
    const auto& times = run.ranks[r];
    const auto same = std::find_if(listed.begin(), listed.end(), [&](std::uint32_t other) {
      return schedule.ranks[other].program == schedule.ranks[r].program &&
             schedule.ranks[other].groups == schedule.ranks[r].groups && run.ranks[other] == times;
    });
    if (same != listed.end()) {
      programs.push_back(programs[*same]);
      continue;
    }
    listed.push_back(r);
    programs.push_back(program_of(RankId{r}, times));
  }
  Schedule out = schedule;
  share_programs(out, std::move(programs));
  return out;
}

/// Ops that take no time go before one that starts with them, and among themselves as listed: then
/// nothing comes before what it reads.
Program by_start(const Program& program, const std::vector<OpTimes>& times) {
  std::vector<std::uint32_t> computes;
  for (std::uint32_t i = 0; i < program.size(); ++i) {
    if (!is_exchange(program[i].work)) computes.push_back(i);
  }
  std::vector<std::uint32_t> places = computes;
  std::stable_sort(computes.begin(), computes.end(), [&](std::uint32_t a, std::uint32_t b) {
    return std::pair(times[a].started, times[a].ended) <
           std::pair(times[b].started, times[b].ended);
  });
  Program out = program;
  for (std::size_t k = 0; k < places.size(); ++k) out[places[k]] = program[computes[k]];
  return out;
}

}  // namespace

Schedule list_by_start(const Schedule& schedule, const Timeline& free_run) {
  std::vector<Reads> program_reads;
  program_reads.reserve(schedule.programs.size());
  for (const Program& program : schedule.programs) {
    program_reads.push_back(reads(schedule, program));
  }
  return reordered(schedule, free_run, [&](RankId rank, const std::vector<OpTimes>& times) {
    return Lister(schedule, rank, program_reads[schedule.ranks[rank.value].program], times).run();
  });
}

Schedule order_by_start(const Schedule& schedule, const Timeline& run) {
  return reordered(schedule, run, [&](RankId rank, const std::vector<OpTimes>& times) {
    return by_start(schedule.program_of(rank), times);
  });
}

}  // namespace zebroid
