#include "core/process.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <map>
#include <numeric>
#include <string>
#include <vector>

#include "core/error.hpp"

namespace zebroid {
namespace {

using ::testing::AllOf;
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

using Results = std::map<Workers::Number, std::string>;

/// The outputs of all works, "dead: why" where there is none.
Results results_of(Workers& workers, std::size_t count) {
  Results out;
  while (out.size() < count) {
    for (Workers::Finished& finished : workers.wait(std::chrono::milliseconds(100))) {
      EXPECT_FALSE(out.contains(finished.number)) << "twice";
      try {
        out[finished.number] = finished.result.take();
      } catch (const Error& error) {
        out[finished.number] = std::string("dead: ") + error.what();
      }
    }
  }
  return out;
}

std::vector<Workers::Number> numbers_to(Workers::Number count) {
  std::vector<Workers::Number> out(count);
  std::iota(out.begin(), out.end(), 0);
  return out;
}

TEST(Workers, DoEachWorkOnce) {
  Workers workers(3, [](Workers::Number i) { return std::to_string(i * i); }, {});
  workers.give(numbers_to(5000));
  const Results results = results_of(workers, 5000);
  EXPECT_EQ(results.at(0), "0");
  EXPECT_EQ(results.at(4999), "24990001");
  EXPECT_TRUE(workers.idle());
}

TEST(Workers, StayForManyWorks) {
  Workers workers(1, [](Workers::Number) { return std::to_string(getpid()); }, {});
  workers.give(numbers_to(100));
  const Results results = results_of(workers, 100);
  for (const auto& [number, process] : results) EXPECT_EQ(process, results.at(0));
}

TEST(Workers, LoseOnlyTheWorkThatOneDiesOf) {
  Workers workers(2,
                  [](Workers::Number i) {
                    if (i % 100 == 50) std::raise(SIGKILL);
                    return std::to_string(i);
                  },
                  {.what = "it"});
  workers.give(numbers_to(1000));
  for (const auto& [number, result] : results_of(workers, 1000)) {
    EXPECT_EQ(result,
              number % 100 == 50 ? "dead: it died of signal 9 (Killed)" : std::to_string(number));
  }
}

TEST(Workers, AreReplacedWhenTheyDieWithNothingToDo) {
  Workers workers(1, [](Workers::Number) { return std::to_string(getpid()); }, {});
  workers.give({0});
  const int first = std::stoi(results_of(workers, 1).at(0));
  kill(first, SIGKILL);
  usleep(10'000);
  workers.give({1});
  EXPECT_NE(std::stoi(results_of(workers, 1).at(1)), first);
}

TEST(Workers, GetMoreAtATimeTheFasterTheyAre) {
  Workers fast(1, [](Workers::Number) { return ""; }, {});
  EXPECT_EQ(fast.wanted(), 1) << "before anything is known";
  fast.give(numbers_to(100));
  results_of(fast, 100);
  EXPECT_GT(fast.wanted(), 10);
  Workers slow(1,
               [](Workers::Number) {
                 usleep(60'000);
                 return "";
               },
               {});
  slow.give({0, 1});
  results_of(slow, 1);
  EXPECT_EQ(slow.wanted(), 0) << "nothing queues behind a slow work";
}

TEST(Workers, EndWhenThePollThrows) {
  int polls = 0;
  const auto stop = [&] {
    if (++polls > 3) throw Error(ErrorKind::aborted, "stopped");
  };
  Workers workers(3,
                  [](Workers::Number) -> std::string {
                    for (;;) pause();
                  },
                  {.poll = stop});
  workers.give(numbers_to(10));
  EXPECT_THROW(results_of(workers, 10), Error);
}

TEST(Workers, OutliveNeitherTheirOwnerNorItsProcess) {
  const std::string worker = run_in_process(
      [] {
        Workers workers(1, [](Workers::Number) { return std::to_string(getpid()); }, {});
        workers.give({0});
        return results_of(workers, 1).at(0);  // leaves by _exit or a signal, as any fork
      },
      {});
  for (int tries = 0; kill(std::stoi(worker), 0) == 0 && tries < 1000; ++tries) usleep(1000);
  EXPECT_NE(kill(std::stoi(worker), 0), 0);
}

}  // namespace
}  // namespace zebroid
