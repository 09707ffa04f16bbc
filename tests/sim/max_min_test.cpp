#include "sim/max_min.hpp"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>

namespace zebroid {
namespace {

struct Instance {
  std::vector<Port> ports;
  std::vector<Path> paths;
};

Path path_over(std::initializer_list<std::uint32_t> ports) {
  Path path;
  for (const std::uint32_t port : ports) path.push_back({port});
  return path;
}

std::vector<double> solve(const Instance& instance) {
  std::vector<double> bandwidths;
  for (const Port& port : instance.ports) bandwidths.push_back(port.bandwidth.value);
  std::vector<std::vector<Crossing>> crossings;
  for (const Path& path : instance.paths) {
    auto& own = crossings.emplace_back();
    for (const PortId port : path) own.push_back({port.value, 1});
  }
  const std::vector<Crossings> flows(crossings.begin(), crossings.end());
  std::vector<double> rates(flows.size());
  MaxMin(bandwidths, flows.size()).solve(flows, rates);
  return rates;
}

TEST(MaxMin, GivesEqualSharesOfOnePort) {
  EXPECT_EQ(solve({{{"p", {12}}}, {path_over({0}), path_over({0}), path_over({0})}}),
            (std::vector<double>{4, 4, 4}));
}

TEST(MaxMin, GivesWhatASlowFlowLeavesToTheOthers) {
  // Two flows share a port of 10; one of them also crosses a port of 2.
  EXPECT_EQ(solve({{{"a", {10}}, {"b", {2}}}, {path_over({0}), path_over({0, 1})}}),
            (std::vector<double>{8, 2}));
}

TEST(MaxMin, SharesReceiversThatAreSlowerThanTwoSenders) {
  // Ports: two senders of 2, two receivers of 1; all pairs.
  const Instance instance{
      {{"out0", {2}}, {"out1", {2}}, {"in0", {1}}, {"in1", {1}}},
      {path_over({0, 2}), path_over({0, 3}), path_over({1, 2}), path_over({1, 3})}};
  EXPECT_EQ(solve(instance), (std::vector<double>{0.5, 0.5, 0.5, 0.5}));
}

/// What max-min fair means: no port is overfull, and every flow crosses a full port on which no
/// flow is faster.
void expect_max_min_fair(const Instance& instance, const std::vector<double>& rates) {
  constexpr double tolerance = 1e-9;
  std::vector<double> used(instance.ports.size(), 0);
  std::vector<double> fastest(instance.ports.size(), 0);
  for (std::size_t f = 0; f < rates.size(); ++f) {
    for (const PortId port : instance.paths[f]) {
      used[port.value] += rates[f];
      fastest[port.value] = std::max(fastest[port.value], rates[f]);
    }
  }
  for (std::size_t p = 0; p < used.size(); ++p) {
    RC_ASSERT(used[p] <= instance.ports[p].bandwidth.value * (1 + tolerance));
  }
  for (std::size_t f = 0; f < rates.size(); ++f) {
    const auto& path = instance.paths[f];
    RC_ASSERT(std::any_of(path.begin(), path.end(), [&](PortId port) {
      const bool full =
          used[port.value] >= instance.ports[port.value].bandwidth.value * (1 - tolerance);
      return full && fastest[port.value] <= rates[f] * (1 + tolerance);
    }));
  }
}

RC_GTEST_PROP(MaxMin, IsFairOnRandomPortsAndPaths, ()) {
  Instance instance;
  const auto ports = *rc::gen::inRange(1, 12);
  for (int p = 0; p < ports; ++p) {
    instance.ports.push_back({"p", {static_cast<double>(*rc::gen::inRange(1, 1000))}});
  }
  const auto flows = *rc::gen::inRange(1, 60);
  for (int f = 0; f < flows; ++f) {
    auto crossed = *rc::gen::container<std::vector<int>>(rc::gen::inRange(0, ports));
    std::sort(crossed.begin(), crossed.end());
    crossed.erase(std::unique(crossed.begin(), crossed.end()), crossed.end());
    if (crossed.empty()) crossed.push_back(f % ports);
    if (crossed.size() > 5) crossed.resize(5);
    Path path;
    for (const int port : crossed) path.push_back({static_cast<std::uint32_t>(port)});
    instance.paths.push_back(path);
  }
  expect_max_min_fair(instance, solve(instance));
}

TEST(MaxMin, GivesSymmetricFlowsBitEqualRates) {
  Instance instance;
  constexpr std::uint32_t n = 7;
  for (std::uint32_t p = 0; p < 2 * n; ++p) instance.ports.push_back({"p", {12.5e9}});
  for (std::uint32_t from = 0; from < n; ++from) {
    for (std::uint32_t to = 0; to < n; ++to) {
      if (from != to) instance.paths.push_back(path_over({from, n + to}));
    }
  }
  const std::vector<double> rates = solve(instance);
  EXPECT_TRUE(
      std::all_of(rates.begin(), rates.end(), [&](double rate) { return rate == rates[0]; }));
}

}  // namespace
}  // namespace zebroid
