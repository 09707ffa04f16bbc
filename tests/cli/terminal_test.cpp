#include "cli/terminal.hpp"

#include <gtest/gtest.h>

namespace zebroid {
namespace {

TEST(Terminal, SaysDurationsInUnitsThatFit) {
  EXPECT_EQ(duration_text(0), "0 s");
  EXPECT_EQ(duration_text(90), "90 s");
  EXPECT_EQ(duration_text(600), "10 min");
  EXPECT_EQ(duration_text(3600 * 12.5), "12.5 h");
}

TEST(Terminal, GroupsDigits) {
  EXPECT_EQ(grouped(0), "0");
  EXPECT_EQ(grouped(999), "999");
  EXPECT_EQ(grouped(1000), "1,000");
  EXPECT_EQ(grouped(226696.4), "226,696");
  EXPECT_EQ(grouped(1234567), "1,234,567");
}

}  // namespace
}  // namespace zebroid
