#include "sim/event_heap.hpp"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <map>

namespace zebroid {
namespace {

RC_GTEST_PROP(EventHeap, GivesTheEarliestAfterAnyChanges, ()) {
  constexpr std::uint32_t sources = 20;
  EventHeap heap(sources);
  std::map<std::uint32_t, double> expected;
  const auto changes = *rc::gen::container<std::vector<std::pair<std::uint32_t, int>>>(
      rc::gen::pair(rc::gen::inRange(0U, sources), rc::gen::inRange(-5, 10)));
  for (const auto& [source, time] : changes) {
    if (time < 0) {
      heap.remove(source);
      expected.erase(source);
    } else {
      heap.set(source, time);
      expected[source] = time;
    }
    double earliest = EventHeap::never;
    for (const auto& [other, when] : expected) earliest = std::min(earliest, when);
    RC_ASSERT(heap.next() == earliest);
    RC_ASSERT(heap.holds(source) == expected.contains(source));
    if (!expected.empty()) RC_ASSERT(expected.at(heap.first()) == earliest);
  }
  while (!expected.empty()) {
    RC_ASSERT(expected.at(heap.first()) == heap.next());
    expected.erase(heap.first());
    heap.remove(heap.first());
  }
  RC_ASSERT(heap.next() == EventHeap::never);
}

}  // namespace
}  // namespace zebroid
