#include "report/svg.hpp"

#include <gtest/gtest.h>

namespace zebroid {
namespace {

TEST(Svg, WritesCoordinatesAsShortAsTheyCanBe) {
  EXPECT_EQ(px(12), "12");
  EXPECT_EQ(px(12.5), "12.5");
  EXPECT_EQ(px(0.126), "0.13");
  EXPECT_EQ(px(-0.001), "0");
  EXPECT_EQ(px(100), "100");
}

TEST(Svg, PicksStepsOfOneTwoOrFive) {
  EXPECT_DOUBLE_EQ(nice_step(10, 8), 1);
  EXPECT_DOUBLE_EQ(nice_step(20, 8), 2);
  EXPECT_DOUBLE_EQ(nice_step(79, 8), 5);
  EXPECT_DOUBLE_EQ(nice_step(81, 8), 10);
  EXPECT_DOUBLE_EQ(nice_step(0.0045, 8), 0.0005);
}

TEST(Svg, MixesColoursHalfway) { EXPECT_EQ(mixed_color("#000a10", "#04ff20"), "#028418"); }

TEST(Svg, DrawsARectangleAsAClosedPath) {
  EXPECT_EQ(rectangle_path(1, 2.25, 3, 4), "M1 2.25h3v4h-3z");
}

TEST(Svg, EscapesWhatXmlReservesAndBlanksControlCharacters) {
  EXPECT_EQ(xml_escaped("a<b & \"c\">\x1b\n"), "a&lt;b &amp; &quot;c&quot;&gt; \n");
}

}  // namespace
}  // namespace zebroid
