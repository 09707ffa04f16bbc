#include "traces/perfetto.hpp"

#include <fmt/format.h>

#include <array>
#include <cmath>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "core/error.hpp"
#include "schedule/files.hpp"

namespace zebroid {
namespace {

constexpr std::size_t most_ops_with_arrows = 20'000;

using Nanoseconds = std::int64_t;

Nanoseconds nanoseconds(Seconds seconds) { return std::llround(seconds.value * 1e9); }
double microseconds(Nanoseconds ns) { return static_cast<double>(ns) / 1e3; }

// Perfetto treats process 0, and a thread whose id is that of a process, in its own ways
// (google/perfetto#394).
constexpr std::uint32_t ids_per_rank = 10;
std::uint32_t process_of(std::size_t rank) {
  return static_cast<std::uint32_t>(rank + 1) * ids_per_rank;
}
std::uint32_t thread_of(std::size_t rank, Stream stream) {
  return process_of(rank) + 1 + static_cast<std::uint32_t>(stream);
}

/// The same for all layers and microbatches: viewers colour and group by name.
std::string slice_name(const Op& op) {
  constexpr std::array<std::string_view, 3> marks = {"", "*", "'"};
  return fmt::format("{}{}", name_of(op.work), marks.at(static_cast<std::size_t>(op.pass)));
}

std::string_view category(const Op& op) {
  return is_exchange(op.work) ? name_of(stream_of(op)) : name_of(op.work);
}

Json arguments(const Op& op, const OpTimes& times) {
  Json out = {{"layer", op.layer}, {"microbatch", op.microbatch}, {"chunk", op.chunk}};
  if (times.rows > 0) out["rows"] = times.rows;
  if (is_exchange(op.work)) {
    out["bytes"] = times.sent.value;
    out["waiting_us"] = microseconds(nanoseconds(times.started) - nanoseconds(times.ready));
  }
  return out;
}

class TraceWriter {
 public:
  TraceWriter(const Timeline& timeline, const Schedule& schedule, const Scenario& scenario)
      : timeline_(timeline), schedule_(schedule) {
    std::size_t ops = 0;
    for (const auto& rank : timeline.ranks) ops += rank.size();
    has_arrows_ = ops <= most_ops_with_arrows;
    if (has_arrows_) {
      for (const Program& program : schedule.programs) reads_.push_back(reads(schedule, program));
    }
    const std::vector<Gpu> gpus = gpus_of(scenario.cluster);
    const std::vector<std::string> rank_roles = roles(schedule);
    for (std::size_t r = 0; r < schedule.ranks.size(); ++r) {
      const Gpu& gpu = gpus[schedule.ranks[r].gpu.value];
      name_rank(
          r,
          fmt::format("rank {} · {} · {}", r, scenario.cluster.kinds[gpu.kind].name, rank_roles[r]),
          gpu.node);
    }
  }

  Json run() {
    for (std::size_t r = 0; r < timeline_.ranks.size(); ++r) slices(r);
    Json other = {{"origin", timeline_.origin}, {"iteration_s", timeline_.makespan().value}};
    if (!has_arrows_)
      other["arrows"] = fmt::format("left out: more than {} ops", most_ops_with_arrows);
    Json out;
    out["traceEvents"] = std::move(events_);
    out["displayTimeUnit"] = "ns";
    out["otherData"] = std::move(other);
    return out;
  }

 private:
  static constexpr std::uint32_t none = UINT32_MAX;

  const Program& program(std::size_t rank) const {
    return schedule_.programs[schedule_.ranks[rank].program];
  }

  void metadata(std::string_view name, std::uint32_t process, std::uint32_t thread, Json args) {
    events_.push_back({{"ph", "M"},
                       {"name", name},
                       {"pid", process},
                       {"tid", thread},
                       {"args", std::move(args)}});
  }

  void name_rank(std::size_t rank, const std::string& name, std::uint32_t node) {
    const std::uint32_t process = process_of(rank);
    const std::uint32_t main_thread = thread_of(rank, Stream::compute);
    metadata("process_name", process, main_thread, {{"name", name}});
    metadata("process_labels", process, main_thread, {{"labels", fmt::format("node {}", node)}});
    metadata("process_sort_index", process, main_thread, {{"sort_index", rank}});
    std::array<bool, stream_count> used{};
    for (const Op& op : program(rank)) used.at(static_cast<std::size_t>(stream_of(op))) = true;
    for (std::size_t s = 0; s < stream_count; ++s) {
      if (!used.at(s)) continue;
      const auto stream = static_cast<Stream>(s);
      metadata("thread_name", process, thread_of(rank, stream), {{"name", name_of(stream)}});
      metadata("thread_sort_index", process, thread_of(rank, stream), {{"sort_index", s}});
    }
  }

  Json event(std::string_view phase, std::size_t rank, const Op& op, Nanoseconds at) const {
    return {{"ph", phase},
            {"pid", process_of(rank)},
            {"tid", thread_of(rank, stream_of(op))},
            {"ts", microseconds(at)}};
  }

  void slices(std::size_t rank) {
    std::array<std::uint32_t, stream_count> last{};
    last.fill(none);
    for (std::uint32_t i = 0; i < program(rank).size(); ++i) {
      const Op& op = program(rank)[i];
      const OpTimes& times = timeline_.ranks[rank][i];
      const Nanoseconds start = nanoseconds(times.started);
      const Nanoseconds end = nanoseconds(times.ended);
      if (end <= start) continue;
      std::uint32_t& before = last.at(static_cast<std::size_t>(stream_of(op)));
      if (before != none) refuse_overlap(rank, before, i);
      Json slice = event("X", rank, op, start);
      slice["dur"] = microseconds(end - start);
      slice["name"] = slice_name(op);
      slice["cat"] = category(op);
      slice["args"] = arguments(op, times);
      events_.push_back(std::move(slice));
      if (has_arrows_ && !is_exchange(op.work)) arrow(rank, before, i);
      before = i;
    }
  }

  void refuse_overlap(std::size_t rank, std::uint32_t before, std::uint32_t op) const {
    const auto& times = timeline_.ranks[rank];
    if (nanoseconds(times[before].ended) <= nanoseconds(times[op].started)) return;
    throw Error(ErrorKind::input,
                fmt::format("rank {}: {} starts before {} of the same stream has ended", rank,
                            name_of(program(rank)[op]), name_of(program(rank)[before])));
  }

  /// The op that compute op i waited for: its last-ended read, where that ended after the op before
  /// on the stream.
  std::uint32_t waited_for(std::size_t rank, std::uint32_t before, std::uint32_t i) const {
    const Reads& reads = reads_[schedule_.ranks[rank].program];
    const auto& times = timeline_.ranks[rank];
    std::uint32_t found = none;
    for (std::uint32_t k = reads.first[i]; k < reads.first[i + 1]; ++k) {
      const std::uint32_t read = reads.ops[k];
      if (found == none || times[read].ended > times[found].ended) found = read;
    }
    const bool binds =
        found != none && (before == none || times[found].ended > times[before].ended);
    const bool has_slice =
        found != none && nanoseconds(times[found].ended) > nanoseconds(times[found].started);
    return binds && has_slice ? found : none;
  }

  void arrow(std::size_t rank, std::uint32_t before, std::uint32_t i) {
    const std::uint32_t from = waited_for(rank, before, i);
    if (from == none) return;
    const auto& times = timeline_.ranks[rank];
    // A slice no longer holds the moment at which it ends.
    Json start = event("s", rank, program(rank)[from], nanoseconds(times[from].ended) - 1);
    Json finish = event("f", rank, program(rank)[i], nanoseconds(times[i].started));
    finish["bp"] = "e";
    for (Json* half : {&start, &finish}) {
      (*half)["name"] = "waited for";
      (*half)["cat"] = "flow";
      (*half)["id"] = arrows_;
    }
    ++arrows_;
    events_.push_back(std::move(start));
    events_.push_back(std::move(finish));
  }

  const Timeline& timeline_;
  const Schedule& schedule_;
  bool has_arrows_ = true;
  std::vector<Reads> reads_;  ///< [programs]
  Json events_ = Json::array();
  std::uint32_t arrows_ = 1;
};

}  // namespace

Json perfetto_trace(const Timeline& timeline, const Schedule& schedule, const Scenario& scenario) {
  return TraceWriter(timeline, schedule, scenario).run();
}

}  // namespace zebroid
