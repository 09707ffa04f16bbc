#include "schedule/files.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/error.hpp"
#include "schedule/memory.hpp"
#include "schedule/predicted_load.hpp"
#include "schedule/verify.hpp"
#include "sim/bound.hpp"
#include "sim/simulate.hpp"
#include "tests/support/scenarios.hpp"
#include "tests/support/schedules.hpp"

namespace zebroid {
namespace {

using testing::Case;
using ::testing::HasSubstr;
using testing::ops;

/// As it comes back from a file.
JsonDocument written(const Json& json) { return parse_json(json.dump(), "schedule.json"); }

std::vector<Case> all_cases() {
  std::vector<Case> out = testing::small_cases();
  out.push_back(testing::two_stages());
  return out;
}

TEST(ScheduleFile, HoldsAScheduleAndItsScenario) {
  for (const Case& c : all_cases()) {
    const ScheduleFile read = read_schedule(written(to_json(c.schedule, c.scenario)));
    EXPECT_EQ(read.schedule, c.schedule);
    EXPECT_EQ(to_json(read.scenario), to_json(c.scenario));
    EXPECT_EQ(read.scenario.cluster, c.scenario.cluster);
    EXPECT_EQ(read.scenario.training, c.scenario.training);
    EXPECT_EQ(read.scenario.shares, c.scenario.shares);
  }
}

TEST(ScheduleFile, GivesTheSameTimelineToTheBit) {
  for (const Case& c : all_cases()) {
    const ScheduleFile read = read_schedule(written(to_json(c.schedule, c.scenario)));
    EXPECT_EQ(simulate(read.schedule, PredictedLoad(read.schedule, read.scenario)),
              simulate(c.schedule, PredictedLoad(c.schedule, c.scenario)));
  }
}

TEST(TimelineFile, HoldsATimelineToTheBit) {
  for (const Case& c : all_cases()) {
    const Timeline timeline = simulate(c.schedule, PredictedLoad(c.schedule, c.scenario));
    const TimelineFile read = read_timeline(written(to_json(timeline, c.schedule, c.scenario)));
    EXPECT_EQ(read.timeline, timeline);
    EXPECT_EQ(read.schedule.schedule, c.schedule);
  }
}

// ---- hostile files ----

Json valid_schedule() {
  const Case c = testing::small_cases().front();
  return to_json(c.schedule, c.scenario);
}

/// What the reader, or verify, says about a file; "" when they accept it.
std::string refusal_of(const Json& json) {
  try {
    refuse_faults(read_schedule(written(json)).schedule, "schedule.json");
    return "";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::input) << error.what();
    return error.what();
  }
}

/// What is said when the value at a pointer is another one.
std::string refusal_with(const std::string& pointer, const Json& value) {
  Json json = valid_schedule();
  json[Json::json_pointer(pointer)] = value;
  return refusal_of(json);
}

TEST(ScheduleFile, IsAcceptedAsWritten) { EXPECT_EQ(refusal_of(valid_schedule()), ""); }

TEST(ScheduleFile, NamesThePlaceOfAWrongType) {
  EXPECT_THAT(refusal_with("/layers", "two"), HasSubstr("schedule.json:1: /layers: expected"));
  EXPECT_THAT(refusal_with("/microbatches", 1.5), HasSubstr("/microbatches: expected"));
  EXPECT_THAT(refusal_with("/programs", 7), HasSubstr("/programs: expected an array"));
  EXPECT_THAT(refusal_with("/programs/0/3", "A"), HasSubstr("/programs/0/3: expected"));
  EXPECT_THAT(refusal_with("/programs/0/3/0", 7), HasSubstr("/programs/0/3/0: expected"));
  EXPECT_THAT(refusal_with("/replicas/0/expert_on/0/0", nullptr),
              HasSubstr("/replicas/0/expert_on/0/0: expected"));
  EXPECT_THAT(refusal_with("/ranks/0", Json::array()), HasSubstr("/ranks/0: expected an object"));
  EXPECT_THAT(refusal_with("/groups/0/0", true), HasSubstr("/groups/0/0: expected"));
  EXPECT_THAT(refusal_with("/scenario", "o1"), HasSubstr("/scenario"));
}

TEST(ScheduleFile, NamesThePlaceOfANumberThatDoesNotFit) {
  EXPECT_THAT(refusal_with("/layers", 65536), HasSubstr("/layers: expected an integer <= 65535"));
  EXPECT_THAT(refusal_with("/chunks", 0), HasSubstr("/chunks: expected an integer >= 1"));
  EXPECT_THAT(refusal_with("/experts", -1), HasSubstr("/experts: expected an integer >= 1"));
  EXPECT_THAT(refusal_with("/programs/0/0/2", 256), HasSubstr("/programs/0/0/2: expected"));
  EXPECT_THAT(refusal_with("/programs/0/0/3", 70000), HasSubstr("/programs/0/0/3: expected"));
  EXPECT_THAT(refusal_with("/ranks/0/gpu", 4294967296), HasSubstr("/ranks/0/gpu: expected"));
  EXPECT_THAT(refusal_with("/ranks/0/sequences", 1e30), HasSubstr("/ranks/0/sequences: expected"));
}

TEST(ScheduleFile, NamesKeysThatItDoesNotKnowOrLacks) {
  EXPECT_THAT(refusal_with("/microbatch", 2), HasSubstr("did you mean 'microbatches'?"));
  EXPECT_THAT(refusal_with("/ranks/0/seqences", 2), HasSubstr("did you mean 'sequences'?"));
  Json json = valid_schedule();
  json.erase("groups");
  EXPECT_THAT(refusal_of(json), HasSubstr("key \"groups\" is missing"));
  EXPECT_THAT(refusal_with("/programs/0/0/0", "atention"), HasSubstr("did you mean 'attention'?"));
  EXPECT_THAT(refusal_with("/schema", "zebroid.schedule/2"), HasSubstr("/schema"));
}

TEST(ScheduleFile, DoesNotContradictItsScenario) {
  EXPECT_THAT(refusal_with("/layers", 3), HasSubstr("/layers: expected 2 as in the scenario"));
  EXPECT_THAT(refusal_with("/experts", 3), HasSubstr("/experts: expected 4 as in the scenario"));
  EXPECT_THAT(refusal_with("/ranks/0/gpu", 3), HasSubstr("rank 0 is on GPU 3, the cluster has 3"));
  EXPECT_THAT(refusal_with("/ranks/0/sequences", 9), HasSubstr("the ranks own 11 sequences"));
  EXPECT_THAT(refusal_with("/replicas/0/expert_on/1", Json::array()),
              HasSubstr("replica 0 places no experts of layer 1"));
  EXPECT_THAT(refusal_with("/scenario/training/sequence_length", 0),
              HasSubstr("/training/sequence_length: expected"));
  EXPECT_THAT(refusal_with("/scenario/model/hidden_size", -1), HasSubstr("/hidden_size: expected"));
}

TEST(ScheduleFile, PointsNowhereOutsideItself) {
  EXPECT_THAT(refusal_with("/ranks/2/program", 9), HasSubstr("rank 2: there is no program 9"));
  EXPECT_THAT(refusal_with("/ranks/0/replica", 1), HasSubstr("rank 0: there is no replica 1"));
  EXPECT_THAT(refusal_with("/ranks/0/groups/0", 99), HasSubstr("not a member of its group 99"));
  EXPECT_THAT(refusal_with("/groups/0/0", 4000000000), HasSubstr("there is no rank 4000000000"));
  EXPECT_THAT(refusal_with("/replicas/0/expert_on/0/0", 3), HasSubstr("on rank 3"));
  EXPECT_THAT(refusal_with("/programs/0/0/3", 2), HasSubstr("there is no layer 2"));
  EXPECT_THAT(refusal_with("/programs/0/0/4", 2), HasSubstr("there is no microbatch 2"));
  EXPECT_THAT(refusal_with("/programs/0/0/5", 1), HasSubstr("there is no chunk 1"));
}

TEST(ScheduleFile, StagesNothingIntoTheFirstLayer) {
  Case c = testing::two_stages();
  for (Program& program : c.schedule.programs) {
    const bool first = program.front().work == Work::attention;
    program.insert(program.begin(), ops(first ? "S0.0@2" : "S0.0", 2).front());
  }
  EXPECT_THAT(refusal_of(to_json(c.schedule, c.scenario)), HasSubstr("nothing lies below layer 0"));
}

TEST(ScheduleFile, MayNotClaimMoreMicrobatchesAndChunksThanItsOpsAreOf) {
  Json json = valid_schedule();
  json["microbatches"] = json["chunks"] = 65535;
  EXPECT_THAT(refusal_of(json), HasSubstr("more"));
}

TEST(ScheduleFile, MayNotGiveAProgramToMoreRanksThanCanBeHandled) {
  Case c = testing::two_stages();
  c.scenario.cluster = load_cluster("65536xA40", std::nullopt);
  Schedule& schedule = c.schedule;
  schedule.programs[0].resize(1000, schedule.programs[0].front());
  for (std::uint32_t r = 3; r < 65536; ++r) schedule.ranks.push_back({{r}, 0, 0, 0, {}});
  EXPECT_THAT(refusal_of(to_json(schedule, c.scenario)), HasSubstr("ops on all ranks together"));
}

TEST(TimelineFile, NamesWhatIsWrongWithItsTimes) {
  const Case c = testing::small_cases().front();
  const Json valid =
      to_json(simulate(c.schedule, PredictedLoad(c.schedule, c.scenario)), c.schedule, c.scenario);
  const auto refusal = [&](const std::string& pointer, const Json& value) -> std::string {
    Json json = valid;
    json[Json::json_pointer(pointer)] = value;
    try {
      read_timeline(written(json));
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::input);
      return error.what();
    }
    return "";
  };
  EXPECT_EQ(refusal("/origin", "a test"), "");
  EXPECT_THAT(refusal("/ranks/0/ready_s/0", 1e9), HasSubstr("/ranks/0: op 0 is not ready"));
  EXPECT_THAT(refusal("/ranks/0/ended_s/0", -1), HasSubstr("/ranks/0/ended_s/0: expected"));
  EXPECT_THAT(refusal("/ranks/0/rows", Json::array()), HasSubstr("/ranks/0/rows: expected"));
  EXPECT_THAT(refusal("/ranks", Json::array()), HasSubstr("/ranks: expected one entry"));
  EXPECT_THAT(refusal("/schedule/groups/0", Json::array()), HasSubstr("is refused"));
  EXPECT_THAT(refusal("/schedule/layers", "x"), HasSubstr("/schedule/layers: expected"));
}

// ---- random files ----

/// A random value of a document: at every array or object down one of its children, or not.
Json* random_place(Json& root) {
  Json* place = &root;
  while (place->is_structured() && !place->empty() && *rc::gen::inRange(0, 8) > 0) {
    auto at = place->begin();
    std::advance(at, *rc::gen::inRange<std::size_t>(0, place->size()));
    place = &at.value();
  }
  return place;
}

Json hostile_value(Json& root) {
  static const std::vector<Json> values = {nullptr,
                                           true,
                                           0,
                                           1,
                                           2,
                                           3,
                                           5,
                                           255,
                                           65535,
                                           65536,
                                           -1,
                                           1e300,
                                           0.5,
                                           1e-300,
                                           "",
                                           "ep",
                                           "dispatch",
                                           "backward",
                                           Json::array(),
                                           Json::object(),
                                           4294967295U,
                                           9223372036854775807};
  const bool copy = *rc::gen::inRange(0, 3) == 0;
  return copy ? *random_place(root) : *rc::gen::elementOf(values);
}

void mutate(Json& root) {
  const Json value = hostile_value(root);
  Json& place = *random_place(root);
  const int how = *rc::gen::inRange(0, 6);
  if (how == 0 && place.is_array() && !place.empty()) {
    place.erase(*rc::gen::inRange<std::size_t>(0, place.size()));
  } else if (how == 1 && place.is_array()) {
    place.push_back(value);
  } else if (how == 2 && place.is_array() && place.size() > 1) {
    std::swap(place.front(), place[*rc::gen::inRange<std::size_t>(1, place.size())]);
  } else if (how == 3 && place.is_number_integer()) {
    place = place.get<std::int64_t>() + *rc::gen::element(-1, 1);
  } else if (&place != &root) {
    place = value;
  }
}

/// Everything that a command does with a schedule from a file. Throws Error(input) or not at all.
void use(const ScheduleFile& file) {
  refuse_faults(file.schedule, "schedule.json");
  const PredictedLoad load(file.schedule, file.scenario);
  const Timeline timeline = simulate(file.schedule, load, {.verified = true});
  RC_ASSERT(lower_bound(file.schedule, load).seconds.value <=
            timeline.makespan().value * (1 + 1e-9));
  RC_ASSERT(peak_memory(file.schedule, file.scenario, load).size() == file.schedule.ranks.size());
  RC_ASSERT(utilization(file.schedule, timeline).size() == file.schedule.ranks.size());
  const Json json = to_json(timeline, file.schedule, file.scenario);
  RC_ASSERT(read_timeline(written(json)).timeline == timeline);
}

/// Which of `count` mutants of a document are accepted.
void use_mutants(const Json& valid, int count) {
  for (int i = 0; i < count; ++i) {
    Json mutant = valid;
    for (int changes = *rc::gen::inRange(1, 3); changes > 0; --changes) mutate(mutant);
    try {
      use(read_schedule(written(mutant)));
    } catch (const Error& error) {
      RC_ASSERT(error.kind() == ErrorKind::input);
    }
  }
}

RC_GTEST_PROP(ScheduleFile, IsRefusedOrRunsWhateverIsChangedInIt, ()) {
  static const std::vector<Case> cases = all_cases();
  const Case& c = cases[*rc::gen::inRange<std::size_t>(0, cases.size())];
  use_mutants(to_json(c.schedule, c.scenario), 10);
}

/// Most of the document is its ops, and those are what decides whether it runs.
RC_GTEST_PROP(ScheduleFile, IsRefusedOrRunsWhateverIsChangedInItsOps, ()) {
  static const std::vector<Case> cases = all_cases();
  const Case& c = cases[*rc::gen::inRange<std::size_t>(0, cases.size())];
  const Json valid = to_json(c.schedule, c.scenario);
  for (int i = 0; i < 10; ++i) {
    Json mutant = valid;
    for (const char* key : {"programs", "ranks", "replicas", "groups"}) {
      if (*rc::gen::arbitrary<bool>()) mutate(mutant[key]);
    }
    try {
      use(read_schedule(written(mutant)));
    } catch (const Error& error) {
      RC_ASSERT(error.kind() == ErrorKind::input);
    }
  }
}

}  // namespace
}  // namespace zebroid
