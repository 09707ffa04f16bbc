#include "report/table.hpp"

#include <gtest/gtest.h>

#include "core/error.hpp"

namespace zebroid {
namespace {

TEST(Table, AlignsWordsToTheLeftAndNumbersToTheRight) {
  Table table({"GPU", "time"});
  table.add_row({"A40", "9.5 ms"});
  table.add_row({"V100-16GB", "-"});
  table.add_row({"T4", "123.0 ms"});
  EXPECT_EQ(table.text(),
            "GPU            time\n"
            "A40          9.5 ms\n"
            "V100-16GB         -\n"
            "T4         123.0 ms\n");
}

TEST(Table, CountsCharactersNotBytesOrColours) {
  Table table({"a", "b"});
  table.add_row({"é", "x"});
  table.add_row({"\x1b[31mlong\x1b[0m", "y"});
  EXPECT_EQ(table.text(), "a     b\né     x\n\x1b[31mlong\x1b[0m  y\n");
}

TEST(Table, AlignsColouredNumbersToTheRight) {
  Table table({"n", "m"});
  table.add_row({"\x1b[31m7\x1b[0m", "1"});
  table.add_row({"100", "1"});
  EXPECT_EQ(table.text(), "  n  m\n  \x1b[31m7\x1b[0m  1\n100  1\n");
}

TEST(Table, PutsTheHeaderInBoldWhenColoured) {
  const Table table({"a"});
  EXPECT_EQ(table.text(true), "\x1b[1ma\x1b[0m\n");
}

TEST(Table, FillsUpShortRowsAndRefusesLongOnes) {
  Table table({"a", "b"});
  table.add_row({"x"});
  EXPECT_EQ(table.text(), "a  b\nx\n");
  EXPECT_THROW(table.add_row({"1", "2", "3"}), Error);
}

TEST(Formats, BytesInTheLargestBinaryUnitBelowThem) {
  EXPECT_EQ(format_bytes({0}), "0 B");
  EXPECT_EQ(format_bytes({512}), "512 B");
  EXPECT_EQ(format_bytes({1536}), "1.5 KiB");
  EXPECT_EQ(format_bytes({12.8 * 1024 * 1024 * 1024}), "12.8 GiB");
  EXPECT_EQ(format_bytes({-2048}), "-2.0 KiB");
}

TEST(Formats, NoUnitEverShowsATooLargeNumber) {
  EXPECT_EQ(format_bytes({1024.0 * 1024.0 - 1}), "1.0 MiB");
  EXPECT_EQ(format_seconds({0.99996}), "1.000 s");
  EXPECT_EQ(format_seconds({0.00099996}), "1.0 ms");
}

TEST(Formats, SecondsInAUnitThatSuits) {
  EXPECT_EQ(format_seconds({0}), "0 s");
  EXPECT_EQ(format_seconds({0.4123}), "412.3 ms");
  EXPECT_EQ(format_seconds({1.2344}), "1.234 s");
  EXPECT_EQ(format_seconds({35.12e-6}), "35.1 µs");
}

TEST(Formats, PercentWithoutANegativeZero) {
  EXPECT_EQ(format_percent(0.042), "4.2 %");
  EXPECT_EQ(format_percent(-1e-17), "0.0 %");
  EXPECT_EQ(format_percent(-0.5), "-50.0 %");
}

TEST(Formats, NumbersInGroupsOfThree) {
  EXPECT_EQ(format_number(0), "0");
  EXPECT_EQ(format_number(999), "999");
  EXPECT_EQ(format_number(1000), "1,000");
  EXPECT_EQ(format_number(1234567), "1,234,567");
  EXPECT_EQ(format_number(-123456), "-123,456");
  EXPECT_EQ(format_number(1234.56, 1), "1,234.6");
}

TEST(Formats, ShortensByWholeCharacters) {
  EXPECT_EQ(shortened("Müller", 6), "Müller");
  EXPECT_EQ(shortened("Müller", 3), "Mü…");
  EXPECT_EQ(display_width(shortened("Müller", 3)), 3);
}

}  // namespace
}  // namespace zebroid
