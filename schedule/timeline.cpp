#include "schedule/timeline.hpp"

#include <algorithm>
#include <array>
#include <utility>

namespace zebroid {
namespace {

/// What each op of a program waits for: its reads and the op before it on its stream.
class Waits {
 public:
  Waits(const Schedule& schedule, const Program& program)
      : program_(program), reads_(reads(schedule, program)), before_(program.size(), none) {
    std::array<std::uint32_t, stream_count> last{};
    last.fill(none);
    for (std::uint32_t i = 0; i < program.size(); ++i) {
      std::uint32_t& previous = last.at(static_cast<std::size_t>(stream_of(program[i])));
      before_[i] = std::exchange(previous, i);
    }
  }

  /// The op that op i waited for last, or `none`; a compute op counts its reads only.
  std::uint32_t last(std::uint32_t i, const std::vector<OpTimes>& times) const {
    std::uint32_t found = is_exchange(program_[i].work) ? before_[i] : none;
    for (std::uint32_t k = reads_.first[i]; k < reads_.first[i + 1]; ++k) {
      const std::uint32_t read = reads_.ops[k];
      if (found == none || times[read].ended > times[found].ended) found = read;
    }
    return found;
  }

  static constexpr std::uint32_t none = UINT32_MAX;

 private:
  const Program& program_;
  Reads reads_;
  std::vector<std::uint32_t> before_;
};

/// The part of the idle gap [from, to) before op i in which a transfer that it waits for runs.
Seconds exposed_in_gap(const Program& program, const Waits& waits,
                       const std::vector<OpTimes>& times, std::uint32_t i, Seconds from) {
  Seconds exposed;
  Seconds to = times[i].started;
  for (std::uint32_t op = waits.last(i, times); op != Waits::none && is_exchange(program[op].work);
       op = waits.last(op, times)) {
    const Seconds begin = std::max(from, times[op].started);
    const Seconds end = std::min(to, times[op].ended);
    if (end > begin) exposed += end - begin;
    to = std::min(to, times[op].started);
    if (times[op].ready <= from) break;
  }
  return exposed;
}

Utilization of_rank(const Program& program, const Waits& waits, const std::vector<OpTimes>& times,
                    Seconds makespan) {
  if (makespan.value <= 0) return {.busy = 0, .effective = 0, .exposed = 0, .bubble = 1};
  Seconds busy;
  Seconds recompute;
  Seconds exposed;
  Seconds idle_since;
  for (std::uint32_t i = 0; i < program.size(); ++i) {
    if (is_exchange(program[i].work)) continue;
    const OpTimes& op = times[i];
    busy += op.ended - op.started;
    if (program[i].pass == Pass::recompute) recompute += op.ended - op.started;
    if (op.started > idle_since) exposed += exposed_in_gap(program, waits, times, i, idle_since);
    idle_since = std::max(idle_since, op.ended);
  }
  const double busy_share = busy / makespan;
  const double exposed_share = exposed / makespan;
  return {.busy = busy_share,
          .effective = (busy - recompute) / makespan,
          .exposed = exposed_share,
          .bubble = std::max(0.0, 1 - busy_share - exposed_share)};
}

}  // namespace

Seconds Timeline::makespan() const {
  Seconds end;
  for (const auto& rank : ranks) {
    for (const OpTimes& op : rank) end = std::max(end, op.ended);
  }
  return end;
}

std::vector<Utilization> utilization(const Schedule& schedule, const Timeline& timeline) {
  std::vector<Waits> waits;
  waits.reserve(schedule.programs.size());
  for (const Program& program : schedule.programs) waits.emplace_back(schedule, program);
  const Seconds makespan = timeline.makespan();
  std::vector<Utilization> out;
  out.reserve(schedule.ranks.size());
  for (std::size_t r = 0; r < schedule.ranks.size(); ++r) {
    const std::uint16_t program = schedule.ranks[r].program;
    out.push_back(of_rank(schedule.programs[program], waits[program], timeline.ranks[r], makespan));
  }
  return out;
}

}  // namespace zebroid
