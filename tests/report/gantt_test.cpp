#include "report/gantt.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "report/gantt_pieces.hpp"

namespace zebroid {
namespace {

using ::testing::ElementsAre;
using ::testing::SizeIs;

/// 1 px per second.
constexpr TimeWindow hundred_seconds = {.from_s = 0, .to_s = 100, .left_px = 0, .width_px = 100};

GanttOp op(double started_s, double ended_s, unsigned microbatch = 0) {
  return {
      .microbatch = microbatch, .ready_s = started_s, .started_s = started_s, .ended_s = ended_s};
}

TEST(GanttPieces, KeepsAWideOpAlone) {
  const std::vector<GanttOp> lane = {op(0, 1), op(1, 6), op(6, 7)};
  const auto pieces = pieces_of(lane, hundred_seconds, 3);
  ASSERT_THAT(pieces, SizeIs(3));
  EXPECT_EQ(pieces[1].op, &lane[1]);
  EXPECT_TRUE(pieces[1].alone);
}

TEST(GanttPieces, ShowsAsMuchWorkAsThereIsWhenItMergesNarrowOps) {
  // Every second half is idle; the run 0..10 holds ten ops of half a second.
  std::vector<GanttOp> lane;
  lane.reserve(10);
  for (int i = 0; i < 10; ++i) lane.push_back(op(i, i + 0.5));
  const auto pieces = pieces_of(lane, hundred_seconds, 10);
  ASSERT_THAT(pieces, SizeIs(1));
  EXPECT_DOUBLE_EQ(pieces[0].width, 5);
  EXPECT_FALSE(pieces[0].alone);
}

TEST(GanttPieces, DoesNotMergeAcrossMoreThanTheWidthAsked) {
  const std::vector<GanttOp> lane = {op(0, 1), op(1, 2), op(20, 21)};
  const auto pieces = pieces_of(lane, hundred_seconds, 3);
  ASSERT_THAT(pieces, SizeIs(2));
  EXPECT_DOUBLE_EQ(pieces[1].x, 20);
}

TEST(GanttPieces, TakesTheLookOfTheLongestOpAndNotesMixedMicrobatches) {
  const std::vector<GanttOp> lane = {op(0, 0.5, 0), op(0.5, 1.5, 1), op(1.5, 2, 2)};
  const auto pieces = pieces_of(lane, hundred_seconds, 4);
  ASSERT_THAT(pieces, SizeIs(1));
  EXPECT_EQ(pieces[0].op, &lane[1]);
  EXPECT_TRUE(pieces[0].mixed);
  const std::vector<GanttOp> even = {op(0, 1, 0), op(1, 2, 2)};
  EXPECT_FALSE(pieces_of(even, hundred_seconds, 4)[0].mixed);
}

TEST(GanttPieces, CutsOpsToTheWindow) {
  const std::vector<GanttOp> lane = {op(0, 45), op(45, 70), op(70, 100)};
  const TimeWindow window = {.from_s = 40, .to_s = 60, .left_px = 10, .width_px = 20};
  const auto pieces = pieces_of(lane, window, 0.5);
  ASSERT_THAT(pieces, SizeIs(2));
  EXPECT_DOUBLE_EQ(pieces[0].x, 10);
  EXPECT_DOUBLE_EQ(pieces[0].width, 5);
  EXPECT_DOUBLE_EQ(pieces[1].width, 15);
}

TEST(GanttPieces, CountsComputeInTheWindowAsBusy) {
  GanttBand band;
  band.lanes[0] = {op(0, 45), op(55, 100)};
  EXPECT_DOUBLE_EQ(busy_share(band, {.from_s = 40, .to_s = 60}), 0.5);
}

GanttBand band(const std::string& role, const std::string& gpu, std::size_t program) {
  GanttBand out;
  out.role = role;
  out.gpu = gpu;
  out.program = program;
  return out;
}

TEST(GanttBands, ChoosesTheFirstOfEveryClassBeforeSecondOnes) {
  const std::vector<GanttBand> bands = {band("attention", "A40", 0), band("attention", "A40", 0),
                                        band("attention", "A40", 1), band("expert", "V100-16GB", 2),
                                        band("expert", "V100-16GB", 2)};
  EXPECT_THAT(choose_bands(bands, 3, 4), ElementsAre(0, 2, 3));
  EXPECT_THAT(choose_bands(bands, 4, 4), ElementsAre(0, 1, 2, 3));
  EXPECT_THAT(choose_bands(bands, 5, 1), ElementsAre(0, 2, 3));
}

TEST(GanttBands, SpreadsOverRolesWhenThereAreTooManyClasses) {
  const std::vector<GanttBand> bands = {band("attention", "A40", 0), band("attention", "A40", 1),
                                        band("attention", "A40", 2), band("expert", "T4", 3),
                                        band("expert", "T4", 4),     band("expert", "T4", 5)};
  EXPECT_THAT(choose_bands(bands, 4, 4), ElementsAre(0, 1, 3, 4));
}

}  // namespace
}  // namespace zebroid
