#include "traces/perfetto.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "core/error.hpp"

namespace zebroid {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

Scenario one_a40_and_one_v100() {
  Scenario out;
  out.cluster.kinds = {{.name = "A40"}, {.name = "V100-16GB"}};
  out.cluster.rows = {{.gpu = "A40", .count = 1}, {.gpu = "V100-16GB", .count = 1}};
  return out;
}

OpTimes times(double ready_ms, double started_ms, double ended_ms, double sent_bytes = 0) {
  return {.ready = {ready_ms * 1e-3},
          .started = {started_ms * 1e-3},
          .ended = {ended_ms * 1e-3},
          .sent = {sent_bytes}};
}

struct Case {
  Scenario scenario = one_a40_and_one_v100();
  Schedule schedule;
  Timeline timeline;

  Json trace() const { return perfetto_trace(timeline, schedule, scenario); }
};

/// One layer forward and back on an attention and an expert rank; times in ms:
/// A 0..2, D 2..3 (the expert rank waits from 0), E 3..6, C 6..7, then attention' 7..9 and a gap.
Case one_layer() {
  Case out;
  Schedule& schedule = out.schedule;
  schedule.layers = 1;
  schedule.experts = 1;
  schedule.microbatches = 1;
  schedule.chunks = 1;
  schedule.programs = {{{.work = Work::attention},
                        {.work = Work::dispatch, .slot = 1},
                        {.work = Work::combine, .slot = 1},
                        {.work = Work::head},
                        {.work = Work::attention, .pass = Pass::recompute},
                        {.work = Work::attention, .pass = Pass::backward}},
                       {{.work = Work::dispatch, .slot = 1},
                        {.work = Work::expert},
                        {.work = Work::combine, .slot = 1}}};
  schedule.replicas = {{{{RankId{1}}}}};
  schedule.ranks = {{.gpu = {0}, .program = 0, .sequences = 1, .groups = {{0}}},
                    {.gpu = {1}, .program = 1, .groups = {{0}}}};
  schedule.groups = {{{0}, {1}}};
  out.timeline.origin = "simulated by hand";
  out.timeline.ranks = {{times(0, 0, 2), times(2, 2, 3, 4096), times(3, 6, 7), times(7, 7, 8),
                         times(8, 8, 9), times(9, 9, 11)},
                        {times(0, 2, 3), times(3, 3, 6), times(6, 6, 7, 8192)}};
  out.timeline.ranks[1][1].rows = 64;
  return out;
}

std::vector<Json> events_of(const Json& trace, const std::string& phase) {
  std::vector<Json> out;
  for (const Json& event : trace["traceEvents"]) {
    if (event["ph"] == phase) out.push_back(event);
  }
  return out;
}

Json slice_named(const Json& trace, const std::string& name) {
  for (const Json& slice : events_of(trace, "X")) {
    if (slice["name"] == name) return slice;
  }
  ADD_FAILURE() << "no slice " << name;
  return {};
}

TEST(PerfettoTrace, HasASliceForEveryOpThatTakesTime) {
  Case example = one_layer();
  EXPECT_THAT(events_of(example.trace(), "X"), SizeIs(9));
  example.timeline.ranks[1][1].ended = example.timeline.ranks[1][1].started;
  EXPECT_THAT(events_of(example.trace(), "X"), SizeIs(8));
}

TEST(PerfettoTrace, GivesMicrosecondsRoundedToNanoseconds) {
  Case example = one_layer();
  example.timeline.ranks[0][0] = {.ended = {0.0012345678}};
  const Json slice = slice_named(example.trace(), "attention");
  EXPECT_EQ(slice["ts"].dump(), "0.0");
  EXPECT_EQ(slice["dur"].dump(), "1234.568");
}

TEST(PerfettoTrace, NamesAProcessPerRank) {
  std::map<unsigned, std::string> names;
  std::map<unsigned, unsigned> order;
  for (const Json& event : events_of(one_layer().trace(), "M")) {
    const auto process = event["pid"].get<unsigned>();
    if (event["name"] == "process_name") names[process] = event["args"]["name"].get<std::string>();
    if (event["name"] == "process_sort_index")
      order[process] = event["args"]["sort_index"].get<unsigned>();
  }
  EXPECT_EQ(names, (std::map<unsigned, std::string>{{10, "rank 0 · A40 · attention"},
                                                    {20, "rank 1 · V100-16GB · expert"}}));
  EXPECT_EQ(order, (std::map<unsigned, unsigned>{{10, 0}, {20, 1}}));
}

TEST(PerfettoTrace, NamesAThreadPerStreamThatIsUsed) {
  std::map<unsigned, std::string> names;
  const Json trace = one_layer().trace();
  for (const Json& event : events_of(trace, "M")) {
    if (event["name"] == "thread_name")
      names[event["tid"].get<unsigned>()] = event["args"]["name"].get<std::string>();
  }
  EXPECT_EQ(names, (std::map<unsigned, std::string>{{11, "compute"},
                                                    {12, "dispatch"},
                                                    {13, "combine"},
                                                    {21, "compute"},
                                                    {22, "dispatch"},
                                                    {23, "combine"}}));
  for (const Json& slice : events_of(trace, "X"))
    EXPECT_TRUE(names.contains(slice["tid"].get<unsigned>()));
}

TEST(PerfettoTrace, UsesNoIdThatPerfettoTreatsInItsOwnWay) {
  std::set<unsigned> processes;
  std::set<unsigned> threads;
  const Json trace = one_layer().trace();
  for (const Json& event : trace["traceEvents"]) {
    processes.insert(event["pid"].get<unsigned>());
    threads.insert(event["tid"].get<unsigned>());
  }
  EXPECT_FALSE(processes.contains(0));
  for (const unsigned process : processes) EXPECT_FALSE(threads.contains(process));
}

TEST(PerfettoTrace, KeepsNamesFewAndPutsIndicesIntoArguments) {
  const Json slice = slice_named(one_layer().trace(), "expert");
  EXPECT_EQ(slice["cat"], "expert");
  EXPECT_EQ(slice["args"], (Json{{"layer", 0}, {"microbatch", 0}, {"chunk", 0}, {"rows", 64.0}}));
  slice_named(one_layer().trace(), "attention*");
  slice_named(one_layer().trace(), "attention'");
}

TEST(PerfettoTrace, DrawsAnExchangesTransferAndKeepsItsWaitingAsAnArgument) {
  for (const Json& slice : events_of(one_layer().trace(), "X")) {
    if (slice["name"] != "dispatch") continue;
    const bool sends = slice["pid"] == 10;
    EXPECT_DOUBLE_EQ(slice["ts"].get<double>(), 2000);
    EXPECT_DOUBLE_EQ(slice["dur"].get<double>(), 1000);
    EXPECT_DOUBLE_EQ(slice["args"]["waiting_us"].get<double>(), sends ? 0 : 2000);
    EXPECT_DOUBLE_EQ(slice["args"]["bytes"].get<double>(), sends ? 4096 : 0);
  }
}

TEST(PerfettoTrace, OrdersTheSlicesOfAThreadWithoutOverlap) {
  std::map<unsigned, double> ends;
  for (const Json& slice : events_of(one_layer().trace(), "X")) {
    double& end = ends[slice["tid"].get<unsigned>()];
    EXPECT_GE(slice["ts"].get<double>(), end);
    end = slice["ts"].get<double>() + slice["dur"].get<double>();
  }
  EXPECT_THAT(ends, SizeIs(6));
}

TEST(PerfettoTrace, RefusesOpsOfOneStreamThatOverlap) {
  Case example = one_layer();
  example.timeline.ranks[0][3] = times(6, 6, 8.5);
  try {
    example.trace();
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::input);
    EXPECT_THAT(error.what(), HasSubstr("rank 0: attention* 0.0 starts before head 0.0"));
  }
}

TEST(PerfettoTrace, PointsFromTheExchangeThatAComputeOpWaitedFor) {
  const Json trace = one_layer().trace();
  const auto starts = events_of(trace, "s");
  const auto finishes = events_of(trace, "f");
  ASSERT_THAT(starts, SizeIs(2));
  ASSERT_THAT(finishes, SizeIs(2));
  // combine -> head on rank 0, dispatch -> expert on rank 1; each start lies within its slice.
  EXPECT_EQ(starts[0]["tid"], 13);
  EXPECT_DOUBLE_EQ(starts[0]["ts"].get<double>(), 6999.999);
  EXPECT_EQ(finishes[0]["tid"], 11);
  EXPECT_DOUBLE_EQ(finishes[0]["ts"].get<double>(), 7000);
  EXPECT_EQ(starts[1]["tid"], 22);
  EXPECT_EQ(finishes[1]["tid"], 21);
  for (std::size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(starts[i]["id"], finishes[i]["id"]);
    EXPECT_EQ(finishes[i]["bp"], "e");
  }
  EXPECT_NE(starts[0]["id"], starts[1]["id"]);
}

TEST(PerfettoTrace, PointsFromNothingThatAnOpDidNotWaitFor) {
  Case example = one_layer();
  example.timeline.ranks[0][0] = times(0, 0, 7);  // as long as the combine: that did not bind
  example.timeline.ranks[1].clear();
  example.schedule.programs[1].clear();
  EXPECT_THAT(events_of(example.trace(), "s"), IsEmpty());
}

TEST(PerfettoTrace, DrawsNoArrowsInLongTimelinesAndSaysSo) {
  Case example = one_layer();
  Program& program = example.schedule.programs[1];
  auto& ended = example.timeline.ranks[1];
  while (program.size() <= 20'000) {
    const double start = 10 + static_cast<double>(program.size());
    program.push_back(
        {.work = Work::expert, .microbatch = static_cast<std::uint16_t>(program.size())});
    ended.push_back(times(start, start, start + 1));
  }
  const Json trace = example.trace();
  EXPECT_THAT(events_of(trace, "s"), IsEmpty());
  EXPECT_THAT(trace["otherData"]["arrows"].get<std::string>(), HasSubstr("20000"));
}

TEST(PerfettoTrace, SaysWhereItComesFrom) {
  const Json trace = one_layer().trace();
  EXPECT_EQ(trace["displayTimeUnit"], "ns");
  EXPECT_EQ(trace["otherData"]["origin"], "simulated by hand");
  EXPECT_DOUBLE_EQ(trace["otherData"]["iteration_s"].get<double>(), 0.011);
}

}  // namespace
}  // namespace zebroid
