#include "core/process.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <string>
#include <vector>

#include "core/error.hpp"

namespace zebroid {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string failure_of(const std::function<std::string()>& work, ErrorKind kind) {
  try {
    run_in_process(work, {.silent = true, .what = "it"});
    return "";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind);
    return error.what();
  }
}

TEST(Process, ReturnsWhatItsFunctionReturns) {
  EXPECT_EQ(run_in_process([] { return std::string("a\0b", 3); }, {}), std::string("a\0b", 3));
  EXPECT_EQ(run_in_process([] { return std::string(); }, {}), "");
  const std::string large(3'000'000, 'x');  // more than a pipe holds
  EXPECT_EQ(run_in_process([&] { return large; }, {}), large);
}

TEST(Process, LeavesThisOneAlone) {
  int value = 1;
  run_in_process([&] { return std::to_string(++value); }, {});
  EXPECT_EQ(value, 1);
}

TEST(Process, CarriesItsErrorOver) {
  EXPECT_EQ(failure_of([]() -> std::string { throw Error(ErrorKind::infeasible, "too large"); },
                       ErrorKind::infeasible),
            "too large");
  EXPECT_EQ(
      failure_of([]() -> std::string { throw std::runtime_error("odd"); }, ErrorKind::internal),
      "odd");
}

TEST(Process, SaysHowItDied) {
  EXPECT_THAT(failure_of(
                  []() -> std::string {
                    std::raise(SIGKILL);
                    return "";
                  },
                  ErrorKind::internal),
              AllOf(HasSubstr("it died of signal 9"), HasSubstr("Killed")));
  EXPECT_THAT(failure_of([]() -> std::string { _exit(3); }, ErrorKind::internal),
              HasSubstr("it died of exit code 3"));
}

/// Later works end first.
TEST(Processes, GiveTheirResultsInOrder) {
  std::vector<std::string> results;
  run_in_processes(
      5,
      [](std::size_t i) {
        usleep(static_cast<useconds_t>(5 - i) * 2000);
        return std::to_string(i);
      },
      [&](std::size_t i, ProcessResult result) {
        EXPECT_EQ(i, results.size());
        results.push_back(result.take());
      },
      {.jobs = 5});
  EXPECT_THAT(results, ElementsAre("0", "1", "2", "3", "4"));
}

TEST(Processes, LoseOnlyTheOneThatDies) {
  std::vector<std::string> results;
  run_in_processes(
      4,
      [](std::size_t i) {
        if (i == 1) std::raise(SIGKILL);
        return std::to_string(i);
      },
      [&](std::size_t, ProcessResult result) {
        results.push_back(result.error ? "dead" : result.take());
      },
      {.jobs = 2});
  EXPECT_THAT(results, ElementsAre("0", "dead", "2", "3"));
}

TEST(Processes, EndWhenThePollThrows) {
  int polls = 0;
  const auto stop = [&] {
    if (++polls > 3) throw Error(ErrorKind::aborted, "stopped");
  };
  const auto forever = [](std::size_t) -> std::string {
    for (;;) pause();
  };
  EXPECT_THROW(
      run_in_processes(10, forever, [](std::size_t, ProcessResult) {}, {.jobs = 3, .poll = stop}),
      Error);
}

}  // namespace
}  // namespace zebroid
