#include "schedule/what_if.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.hpp"
#include "tests/support/scenarios.hpp"
#include "tests/support/schedules.hpp"

namespace zebroid {
namespace {

using ::testing::HasSubstr;

TEST(Slowdown, ReadsWhatItWrites) {
  for (const char* const text : {"rank=3:0.8", "port=node0 nic out:0.5", "port=a=b:c:1"}) {
    EXPECT_EQ(name_of(parse_slowdown(text)), text);
  }
}

TEST(Slowdown, RefusesWhatIsNone) {
  for (const char* const text :
       {"", "rank", "rank=3", "rank=3:", "rank=3:0", "rank=3:-1", "rank=3:2", "rank=3:nan",
        "rank=x:0.5", "rank=-1:0.5", "rank=99999999999:0.5", "port=:0.5", "gpu=3:0.5",
        "rank=3:0.5x", "rank:3=0.5"}) {
    try {
      parse_slowdown(text);
      ADD_FAILURE() << text;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::input);
      EXPECT_THAT(error.what(), HasSubstr(std::string("got '") + text + "'"));
    }
  }
}

class WhatIfTest : public ::testing::Test {
 protected:
  WhatIfTest() : case_(testing::small_cases().front()), load_(case_.scenario) {
    load_.seconds_of = [](RankId, const Op&) { return 2.0; };
  }
  testing::Case case_;
  testing::TableLoad load_;
};

TEST_F(WhatIfTest, SlowsARankAndAPortAndNothingElse) {
  const std::string port = load_.network().ports()[1].name;
  const WhatIf slow(load_, case_.schedule,
                    {parse_slowdown("rank=1:0.5"), parse_slowdown("rank=1:0.8"),
                     parse_slowdown("port=" + port + ":0.25")});
  const Op op;
  EXPECT_DOUBLE_EQ(slow.seconds({0}, op).value, 2);
  EXPECT_DOUBLE_EQ(slow.seconds({1}, op).value, 5);
  EXPECT_DOUBLE_EQ(slow.network().ports()[0].bandwidth.value,
                   load_.network().ports()[0].bandwidth.value);
  EXPECT_DOUBLE_EQ(slow.network().ports()[1].bandwidth.value,
                   load_.network().ports()[1].bandwidth.value / 4);
}

TEST_F(WhatIfTest, RefusesRanksAndPortsThatThereAreNot) {
  EXPECT_THROW(WhatIf(load_, case_.schedule, {parse_slowdown("rank=99:0.5")}), Error);
  try {
    const WhatIf load(load_, case_.schedule, {parse_slowdown("port=node0 nic outt:0.5")});
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("did you mean 'node0 nic out'?"));
  }
}

}  // namespace
}  // namespace zebroid
