#include "report/gantt.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <tuple>
#include <utility>

#include "core/error.hpp"

namespace zebroid {
namespace {

constexpr std::string_view white = "#fff";
constexpr GanttPalette blue = {{"#3d7fc9", "#79aee6"}, {white, "#0b2545"}};
constexpr GanttPalette light_blue = {{"#b3cfee", "#dbe8f7"}, {"#0b2545", "#0b2545"}};
constexpr GanttPalette dark_blue = {{"#143d73", "#2a5fa3"}, {white, white}};
constexpr GanttPalette orange = {{"#e07b1f", "#f5a95c"}, {white, "#4a2203"}};
constexpr GanttPalette light_orange = {{"#f8cf9f", "#fdeacf"}, {"#4a2203", "#4a2203"}};
constexpr GanttPalette dark_orange = {{"#97400b", "#bf5f1b"}, {white, white}};
constexpr GanttPalette green = {{"#2f8f4e", "#69b781"}, {white, "#06301a"}};
constexpr GanttPalette black = {{"#3a3f47", "#3a3f47"}, {white, white}};
constexpr GanttPalette teal = {{"#0e9aa7", "#6fcbd3"}, {white, white}};
constexpr GanttPalette violet = {{"#8b4fb8", "#c39ddd"}, {white, white}};
constexpr GanttPalette olive = {{"#8c7a00", "#c4b13a"}, {white, white}};
constexpr GanttPalette yellow = {{"#c9a800", "#e6d25c"}, {white, white}};
constexpr GanttPalette red = {{"#c2416b", "#c2416b"}, {white, white}};
constexpr GanttPalette grey = {{"#7d8590", "#7d8590"}, {white, white}};

constexpr GanttLane compute = GanttLane::compute;
constexpr std::array<GanttLook, 16> looks = {{
    {"attention", "forward", compute, "af", "attention forward", blue},
    {"attention", "recompute", compute, "ar", "attention recompute", light_blue},
    {"attention", "backward", compute, "ab", "attention backward", dark_blue},
    {"expert", "forward", compute, "ef", "experts forward", orange},
    {"expert", "recompute", compute, "er", "experts recompute", light_orange},
    {"expert", "backward", compute, "eb", "experts backward", dark_orange},
    {"head", "", compute, "h", "head", green},
    {"step", "", compute, "u", "optimizer step", black},
    {"dispatch", "", GanttLane::dispatch, "d", "dispatch", teal},
    {"combine", "", GanttLane::combine, "c", "combine", violet},
    {"stage", "backward", GanttLane::stage_down, "gd", "stage backward", olive},
    {"stage", "", GanttLane::stage_up, "gu", "stage forward", yellow},
    {"reduce_shared", "", GanttLane::sync, "s", "gradient sums", red},
    {"reduce_experts", "", GanttLane::sync, "s", "gradient sums", red},
    {"reduce_norm", "", GanttLane::sync, "s", "gradient sums", red},
    {"gather", "", GanttLane::sync, "p", "parameter gather", grey},
}};

std::size_t look_of(const std::string& work, const std::string& pass) {
  const auto* found = std::find_if(looks.begin(), looks.end(), [&](const GanttLook& look) {
    return look.work == work && (look.pass.empty() || look.pass == pass);
  });
  if (found == looks.end()) {
    throw Error(ErrorKind::input, fmt::format("unknown op '{} {}' in a timeline", work, pass));
  }
  return static_cast<std::size_t>(found - looks.begin());
}

/// The ops of a program without times.
std::vector<GanttOp> read_program(const Json& program) {
  constexpr std::size_t layer = 3;
  constexpr std::size_t microbatch = 4;
  constexpr std::size_t chunk = 5;
  std::vector<GanttOp> out;
  for (const Json& op : program) {
    out.push_back({.look = look_of(op.at(0).get<std::string>(), op.at(1).get<std::string>()),
                   .layer = op.at(layer).get<unsigned>(),
                   .microbatch = op.at(microbatch).get<unsigned>(),
                   .chunk = op.at(chunk).get<unsigned>()});
  }
  return out;
}

/// Where each band's ops come from; no ops yet.
std::vector<GanttBand> read_ranks(const Json& timeline) {
  const Json& programs = timeline.at("schedule").at("ranks");
  const Json& ranks = timeline.at("ranks");
  std::vector<GanttBand> out;
  for (std::size_t r = 0; r < ranks.size(); ++r) {
    GanttBand& band = out.emplace_back();
    band.rank = r;
    band.gpu = ranks.at(r).at("gpu").get<std::string>();
    band.role = ranks.at(r).at("role").get<std::string>();
    band.program = programs.at(r).at("program").get<std::size_t>();
  }
  return out;
}

/// Attention first, further roles as they come.
void group_by_role(std::vector<GanttBand>& bands) {
  std::map<std::string, std::size_t> order = {{"attention", 0}};
  for (const GanttBand& band : bands) order.try_emplace(band.role, order.size());
  std::stable_sort(bands.begin(), bands.end(), [&](const GanttBand& a, const GanttBand& b) {
    return order.at(a.role) < order.at(b.role);
  });
}

void read_times(const Json& rank, const std::vector<GanttOp>& program, GanttBand& band) {
  for (const char* key : {"ready_s", "started_s", "ended_s", "sent_bytes", "rows"}) {
    if (rank.at(key).size() == program.size()) continue;
    throw Error(ErrorKind::input, fmt::format("rank {} of a timeline: {} has {} numbers for {} ops",
                                              band.rank, key, rank.at(key).size(), program.size()));
  }
  for (std::size_t i = 0; i < program.size(); ++i) {
    GanttOp op = program[i];
    op.ready_s = rank.at("ready_s").at(i).get<double>();
    op.started_s = rank.at("started_s").at(i).get<double>();
    op.ended_s = rank.at("ended_s").at(i).get<double>();
    op.sent_bytes = rank.at("sent_bytes").at(i).get<double>();
    op.rows = rank.at("rows").at(i).get<double>();
    if (!(op.ended_s > op.started_s)) continue;
    const GanttLane lane = gantt_looks()[op.look].lane;
    band.lanes.at(static_cast<std::size_t>(lane)).push_back(op);
  }
  for (auto& lane : band.lanes) {
    std::stable_sort(lane.begin(), lane.end(),
                     [](const GanttOp& a, const GanttOp& b) { return a.started_s < b.started_s; });
  }
}

Gantt read(const Json& timeline, std::size_t most) {
  constexpr std::size_t few = 4;
  const Json& schedule = timeline.at("schedule");
  std::vector<GanttBand> bands = read_ranks(timeline);
  group_by_role(bands);
  Gantt out;
  out.origin = timeline.at("origin").get<std::string>();
  out.iteration_s = timeline.at("iteration_s").get<double>();
  out.ranks = bands.size();
  out.layers = schedule.at("layers").get<unsigned>();
  out.microbatches = schedule.at("microbatches").get<unsigned>();
  out.chunks = schedule.at("chunks").get<unsigned>();
  if (bands.size() <= most) {
    out.bands = std::move(bands);
  } else {
    for (const std::size_t b : choose_bands(bands, most, few)) out.bands.push_back(bands[b]);
  }
  std::map<std::size_t, std::vector<GanttOp>> programs;
  for (GanttBand& band : out.bands) {
    const auto [program, is_new] = programs.try_emplace(band.program);
    if (is_new) program->second = read_program(schedule.at("programs").at(band.program));
    read_times(timeline.at("ranks").at(band.rank), program->second, band);
  }
  return out;
}

}  // namespace

std::span<const GanttLook> gantt_looks() { return looks; }

Gantt read_gantt(const Json& timeline, std::size_t most) {
  try {
    return read(timeline, most);
  } catch (const Json::exception& fault) {
    throw Error(ErrorKind::input,
                fmt::format("not a zebroid.timeline/1 document: {}", fault.what()));
  }
}

std::vector<std::size_t> choose_bands(const std::vector<GanttBand>& bands, std::size_t most,
                                      std::size_t each) {
  // How many came before of the same class, and of the same role and GPU.
  using Turn = std::tuple<std::size_t, std::size_t, std::size_t>;
  std::map<std::tuple<std::string, std::string, std::size_t>, std::size_t> of_class;
  std::map<std::pair<std::string, std::string>, std::size_t> of_pool;
  std::vector<Turn> turns;
  for (std::size_t b = 0; b < bands.size(); ++b) {
    const GanttBand& band = bands[b];
    const std::size_t in_class = of_class[{band.role, band.gpu, band.program}]++;
    if (in_class >= each) continue;
    turns.emplace_back(in_class, of_pool[{band.role, band.gpu}]++, b);
  }
  std::sort(turns.begin(), turns.end());
  if (turns.size() > most) turns.resize(most);
  std::vector<std::size_t> out;
  out.reserve(turns.size());
  for (const Turn& turn : turns) out.push_back(std::get<2>(turn));
  std::sort(out.begin(), out.end());
  return out;
}

}  // namespace zebroid
