// Counts what the whole program allocates, so that a run of the fast engine can be shown to
// allocate nothing.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <new>

#include "planner/zebra.hpp"
#include "schedule/predicted_load.hpp"
#include "sim/fast.hpp"
#include "tests/support/random_load.hpp"
#include "tests/support/scenarios.hpp"
#include "tests/support/schedules.hpp"

namespace {
std::atomic<std::size_t> allocations{0};
}

void* operator new(std::size_t size) {
  ++allocations;
  if (void* const memory = std::malloc(size > 0 ? size : 1)) return memory;
  throw std::bad_alloc();
}
// As std::stable_sort does it; a sanitizer would pair its own with our delete.
void* operator new(std::size_t size, const std::nothrow_t& /*tag*/) noexcept {
  ++allocations;
  return std::malloc(size > 0 ? size : 1);
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t /*size*/) noexcept { std::free(memory); }

namespace zebroid {
namespace {

using testing::Case;
using testing::make_scenario;
using testing::RandomLoad;

std::size_t allocations_of_a_run(const Schedule& schedule, const Load& load,
                                 const SimulateOptions& options) {
  FastSimulation simulation(schedule, load, options);
  const std::size_t before = allocations;
  simulation.run();
  return allocations - before;
}

TEST(Allocations, AreCounted) {
  const std::size_t before = allocations;
  const auto number = std::make_unique<int>(1);
  EXPECT_EQ(allocations - before, static_cast<std::size_t>(*number));
}

TEST(FastEngine, AllocatesNothingPerEvent) {
  for (const Case& c : testing::small_cases()) {
    const PredictedLoad predicted(c.schedule, c.scenario);
    const RandomLoad random(c.schedule, c.scenario, 7, 1.0);
    for (const Load* load :
         {static_cast<const Load*>(&predicted), static_cast<const Load*>(&random)}) {
      for (const Fidelity fidelity : {Fidelity::pair, Fidelity::profile}) {
        for (const bool keep : {false, true}) {
          EXPECT_EQ(
              allocations_of_a_run(c.schedule, *load,
                                   {.verified = true, .fidelity = fidelity, .timeline = keep}),
              0U);
        }
      }
    }
  }
}

}  // namespace
}  // namespace zebroid
