#include "report/gantt_svg.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <regex>

#include "core/error.hpp"
#include "tests/report/xml_fault.hpp"

namespace zebroid {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

struct TimedOp {
  const char* work;
  const char* pass;
  unsigned microbatch;
  double ready_s;
  double started_s;
  double ended_s;
  double sent_bytes = 0;
};

/// A timeline document without ranks.
Json timeline_of(double iteration_s) {
  return {{"schema", "zebroid.timeline/1"},
          {"origin", "simulated by fast (pair)"},
          {"iteration_s", iteration_s},
          {"ranks", Json::array()},
          {"schedule",
           {{"layers", 1},
            {"microbatches", 2},
            {"chunks", 1},
            {"programs", Json::array()},
            {"ranks", Json::array()}}}};
}

/// Adds a rank with a program of its own.
void add_rank(Json& timeline, const std::string& gpu, const std::string& role,
              const std::vector<TimedOp>& ops) {
  Json program = Json::array();
  Json rank = {{"gpu", gpu},
               {"node", 0},
               {"role", role},
               {"ready_s", Json::array()},
               {"started_s", Json::array()},
               {"ended_s", Json::array()},
               {"sent_bytes", Json::array()},
               {"rows", Json::array()}};
  for (const TimedOp& op : ops) {
    program.push_back({op.work, op.pass, 0, 0, op.microbatch, 0});
    rank["ready_s"].push_back(op.ready_s);
    rank["started_s"].push_back(op.started_s);
    rank["ended_s"].push_back(op.ended_s);
    rank["sent_bytes"].push_back(op.sent_bytes);
    rank["rows"].push_back(0.0);
  }
  Json& schedule = timeline["schedule"];
  schedule["ranks"].push_back({{"program", schedule["programs"].size()}});
  schedule["programs"].push_back(std::move(program));
  timeline["ranks"].push_back(std::move(rank));
}

/// 10 ms on one attention and one expert rank.
Json small_timeline() {
  Json out = timeline_of(0.010);
  add_rank(out, "A40", "attention",
           {{"attention", "forward", 0, 0, 0, 0.002},
            {"attention", "forward", 1, 0.002, 0.002, 0.005},
            {"dispatch", "forward", 0, 0.002, 0.003, 0.0045, 1024.0 * 1024.0},
            {"dispatch", "forward", 1, 0.005, 0.005, 0.006},
            {"step", "backward", 0, 0.009, 0.009, 0.010}});
  add_rank(out, "V100-16GB", "expert",
           {{"dispatch", "forward", 0, 0.003, 0.003, 0.0045},
            {"dispatch", "forward", 1, 0.0045, 0.005, 0.006},
            {"expert", "forward", 0, 0.0045, 0.0045, 0.007},
            {"expert", "forward", 1, 0.007, 0.007, 0.007}});  // no tokens came
  return out;
}

struct Box {
  std::string css;
  double x;
  double y;
  double width;
  double height;
  std::string tooltip;
};

std::vector<Box> boxes(const std::string& svg) {
  static const std::regex pattern(
      "<rect class=\"x (\\w+)\" x=\"([^\"]+)\" y=\"([^\"]+)\" width=\"([^\"]+)\" "
      "height=\"([^\"]+)\">"
      "<title>([^<]*)</title></rect>");
  std::vector<Box> out;
  for (std::sregex_iterator m(svg.begin(), svg.end(), pattern), end; m != end; ++m) {
    out.push_back({m->str(1), std::stod(m->str(2)), std::stod(m->str(3)), std::stod(m->str(4)),
                   std::stod(m->str(5)), m->str(6)});
  }
  return out;
}

Box box_with(const std::string& svg, const std::string& tooltip) {
  for (const Box& box : boxes(svg)) {
    if (box.tooltip.starts_with(tooltip)) return box;
  }
  ADD_FAILURE() << "no box " << tooltip;
  return {};
}

std::size_t count(const std::string& text, const std::string& part) {
  std::size_t n = 0;
  for (auto at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++n;
  return n;
}

TEST(GanttSvg, DrawsABoxForEveryOpThatTakesTime) {
  EXPECT_THAT(boxes(gantt_svg(small_timeline())), SizeIs(8));
}

TEST(GanttSvg, PlacesBoxesInProportionToTime) {
  const std::string svg = gantt_svg(small_timeline());
  const Box first = box_with(svg, "attention forward: layer 0, microbatch 0");
  const Box second = box_with(svg, "attention forward: layer 0, microbatch 1");
  const Box last = box_with(svg, "optimizer step");
  const double millisecond = first.width / 2;
  EXPECT_NEAR(second.x, first.x + 2 * millisecond, 0.02);
  EXPECT_NEAR(second.width, 3 * millisecond, 0.02);
  EXPECT_NEAR(last.x, first.x + 9 * millisecond, 0.05);
  EXPECT_NEAR(box_with(svg, "experts forward").x, first.x + 4.5 * millisecond, 0.03);
}

TEST(GanttSvg, DrawsNoBoxOverAnother) {
  std::map<double, std::vector<Box>> lanes;
  for (const Box& box : boxes(gantt_svg(small_timeline()))) lanes[box.y].push_back(box);
  EXPECT_THAT(lanes, SizeIs(4));
  double bottom = 0;
  for (auto& [y, lane] : lanes) {
    EXPECT_GE(y, bottom);
    bottom = y + lane.front().height;
    std::sort(lane.begin(), lane.end(), [](const Box& a, const Box& b) { return a.x < b.x; });
    for (std::size_t i = 1; i < lane.size(); ++i) {
      EXPECT_LE(lane[i - 1].x + lane[i - 1].width, lane[i].x + 0.011);
    }
  }
}

TEST(GanttSvg, ShadesEvenAndOddMicrobatchesDifferently) {
  const std::string svg = gantt_svg(small_timeline());
  EXPECT_EQ(box_with(svg, "attention forward: layer 0, microbatch 0").css, "af0");
  EXPECT_EQ(box_with(svg, "attention forward: layer 0, microbatch 1").css, "af1");
  std::smatch even;
  std::smatch odd;
  ASSERT_TRUE(std::regex_search(svg, even, std::regex("\\.af0\\{fill:(#\\w+)\\}")));
  ASSERT_TRUE(std::regex_search(svg, odd, std::regex("\\.af1\\{fill:(#\\w+)\\}")));
  EXPECT_NE(even.str(1), odd.str(1));
}

TEST(GanttSvg, WritesTheMicrobatchIntoWideBoxesOfTheComputeLane) {
  const std::string svg = gantt_svg(small_timeline());
  EXPECT_THAT(svg, HasSubstr("class=\"n af1n\">1</text>"));
  EXPECT_THAT(svg, HasSubstr("class=\"n ef0n\">0</text>"));
  EXPECT_THAT(svg, Not(HasSubstr("class=\"n d0n\">")));
}

TEST(GanttSvg, SaysInATooltipWhatWhenAndHowMuch) {
  EXPECT_EQ(box_with(gantt_svg(small_timeline()), "dispatch: layer 0, microbatch 0").tooltip,
            "dispatch: layer 0, microbatch 0\nstart 3.000 ms, duration 1.500 ms, waited 1.000 "
            "ms\nsent 1.0 MiB");
}

TEST(GanttSvg, LeadsALineFromTheLaunchOfAnExchangeToItsStart) {
  const std::string svg = gantt_svg(small_timeline());
  const Box box = box_with(svg, "dispatch: layer 0, microbatch 0");
  const double millisecond = box.width / 1.5;
  std::smatch line;
  ASSERT_TRUE(std::regex_search(
      svg, line, std::regex("<path class=\"d0 w\" d=\"M([0-9.]+) [0-9.]+h([0-9.]+)v")));
  EXPECT_NEAR(std::stod(line.str(1)), box.x - millisecond, 0.03);
  EXPECT_NEAR(std::stod(line.str(2)), millisecond, 0.03);
}

TEST(GanttSvg, LabelsRanksAndPutsAttentionFirst) {
  Json timeline = timeline_of(0.001);
  add_rank(timeline, "V100-16GB", "expert", {{"expert", "forward", 0, 0, 0, 0.001}});
  add_rank(timeline, "A40", "attention", {{"attention", "forward", 0, 0, 0, 0.0005}});
  const std::string svg = gantt_svg(timeline);
  const auto attention = svg.find("rank 1</tspan> · A40 · attention");
  const auto expert = svg.find("rank 0</tspan> · V100-16GB · expert");
  ASSERT_NE(attention, std::string::npos);
  ASSERT_NE(expert, std::string::npos);
  EXPECT_LT(attention, expert);
  EXPECT_THAT(svg, HasSubstr(">50 %</text>"));
  EXPECT_THAT(svg, HasSubstr(">100 %</text>"));
}

TEST(GanttSvg, NamesOriginAndIterationTime) {
  const std::string svg = gantt_svg(small_timeline());
  EXPECT_THAT(svg, HasSubstr("One training iteration: 10.0 ms"));
  EXPECT_THAT(svg, HasSubstr("simulated by fast (pair) · 2 ranks · 1 layer · 2 microbatches"));
}

TEST(GanttSvg, PutsOnlyWhatOccursIntoTheLegend) {
  const std::string svg = gantt_svg(small_timeline());
  EXPECT_THAT(svg, HasSubstr(">dispatch</text>"));
  EXPECT_THAT(svg, Not(HasSubstr(">combine</text>")));
  EXPECT_THAT(svg, Not(HasSubstr("stage")));
}

TEST(GanttSvg, GivesRoundTimesToTheAxis) {
  const std::string svg = gantt_svg(small_timeline());
  EXPECT_THAT(svg, HasSubstr(">0 ms</text>"));
  EXPECT_THAT(svg, HasSubstr(">5</text>"));
  EXPECT_THAT(svg, HasSubstr(">10</text>"));
}

TEST(GanttSvg, IsWellFormedAndSafeWhateverTheNames) {
  Json timeline = timeline_of(0.001);
  timeline["origin"] = "measured on <host & \"co\">\x01</text><script>";
  add_rank(timeline, "<A&\">", "at<ten", {{"attention", "forward", 0, 0, 0, 0.001}});
  const std::string svg = gantt_svg(timeline);
  EXPECT_EQ(xml_fault(svg), "");
  EXPECT_THAT(svg, Not(HasSubstr("<script")));
  EXPECT_THAT(svg, HasSubstr("&lt;A&amp;&quot;&gt;"));
  EXPECT_EQ(svg.find('\x01'), std::string::npos);
}

TEST(GanttSvg, TheCheckerOfTheseTestsSeesBrokenXml) {
  EXPECT_EQ(xml_fault("<a b=\"c\"><d/>&amp;</a>"), "");
  EXPECT_NE(xml_fault("<a><b></a></b>"), "");
  EXPECT_NE(xml_fault("<a>&</a>"), "");
  EXPECT_NE(xml_fault("<a>1 < 2</a>"), "");
  EXPECT_NE(xml_fault("<a>"), "");
}

TEST(GanttSvg, PaintsItsOwnBackground) {
  EXPECT_THAT(gantt_svg(small_timeline()),
              HasSubstr("<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>"));
}

TEST(GanttSvg, DrawsAnIterationWithoutWork) {
  Json timeline = timeline_of(0);
  add_rank(timeline, "A40", "all", {{"attention", "forward", 0, 0, 0, 0}});
  const std::string svg = gantt_svg(timeline);
  EXPECT_EQ(xml_fault(svg), "");
  EXPECT_THAT(boxes(svg), IsEmpty());
  EXPECT_THAT(svg, Not(HasSubstr("attention forward")));
  EXPECT_THAT(svg, Not(HasSubstr("nan")));
}

TEST(GanttSvg, DrawsSomeRanksOfEveryKindWhenThereAreMany) {
  Json timeline = timeline_of(0.001);
  for (int r = 0; r < 30; ++r) {
    add_rank(timeline, "A40", "attention", {{"attention", "forward", 0, 0, 0, 0.001}});
    timeline["schedule"]["ranks"].back()["program"] = 0;
  }
  add_rank(timeline, "V100-16GB", "expert", {{"expert", "forward", 0, 0, 0, 0.001}});
  const std::string svg = gantt_svg(timeline);
  EXPECT_THAT(svg, HasSubstr("Drawn: 5 of 31 ranks"));
  EXPECT_EQ(count(svg, "· A40 · attention"), 4);
  EXPECT_EQ(count(svg, "rank 30</tspan> · V100-16GB · expert"), 1);
}

/// `ops` attention ops of 1 ms with a head op in the middle, one after the other.
Json long_timeline(unsigned ops) {
  Json timeline = timeline_of(0.001 * ops);
  std::vector<TimedOp> program;
  for (unsigned i = 0; i < ops; ++i) {
    program.push_back({i == ops / 2 ? "head" : "attention", "forward", i % 8, 0.001 * i, 0.001 * i,
                       0.001 * (i + 1)});
  }
  add_rank(timeline, "A40", "all", program);
  return timeline;
}

TEST(GanttSvg, EnlargesTheTurnWhenBoxesAreTooNarrowToRead) {
  const std::string svg = gantt_svg(long_timeline(400));
  EXPECT_THAT(svg, HasSubstr("enlarged: 175.0 ms to 225.0 ms"));
  EXPECT_EQ(count(svg, "class=\"n h0n\">0</text>"), 1);  // in the enlarged part only
}

TEST(GanttSvg, EnlargesNothingWhenBoxesAreWide) {
  EXPECT_THAT(gantt_svg(long_timeline(40)), Not(HasSubstr("enlarged")));
}

TEST(GanttSvg, StaysBelowTwoMegabytesHoweverManyOpsThereAre) {
  Json timeline = timeline_of(3);
  for (unsigned r = 0; r < 30; ++r) {
    std::vector<TimedOp> program;
    for (unsigned i = 0; i < 3000; ++i) {
      const double start = 0.001 * i + 0.00001 * r;
      for (const char* work : {"attention", "dispatch", "combine", "stage", "reduce_shared"}) {
        program.push_back(
            {work, "forward", i % 8, start - 0.00001 * r, start, start + 0.0004, 12345678});
      }
    }
    add_rank(timeline, "A40", r % 2 == 0 ? "attention" : "expert", program);
  }
  const std::string svg = gantt_svg(timeline);
  EXPECT_LT(svg.size(), 2'000'000);
  EXPECT_THAT(svg, HasSubstr("Drawn: 24 of 30 ranks"));
}

TEST(GanttSvg, RefusesWhatIsNoTimeline) {
  EXPECT_THROW(gantt_svg(Json::object()), Error);
  Json one_time_too_few = small_timeline();
  one_time_too_few["ranks"][1]["ended_s"].erase(0);
  EXPECT_THROW(gantt_svg(one_time_too_few), Error);
  Json unknown_work = small_timeline();
  unknown_work["schedule"]["programs"][0][0][0] = "sleep";
  EXPECT_THROW(gantt_svg(unknown_work), Error);
}

}  // namespace
}  // namespace zebroid
