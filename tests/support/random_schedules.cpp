#include "tests/support/random_schedules.hpp"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <string>

#include "planner/expert_parallel.hpp"
#include "planner/zebra.hpp"
#include "tests/support/scenarios.hpp"

namespace zebroid::testing {
std::string random_cluster(std::size_t kinds, Nodes nodes) {
  const std::vector<std::string> names = {"A40", "V100-16GB", "A100-80GB"};
  std::string out;
  for (std::size_t k = 0; k < kinds; ++k) {
    const int per_node = nodes == Nodes::of_one ? 1 : *rc::gen::inRange(1, 3);
    out += (k > 0 ? "," : "") + std::to_string(*rc::gen::inRange(1, 3)) + "x" +
           std::to_string(per_node) + "x" + names.at(k);
  }
  return out;
}

void place_randomly(const MoeModel& model, ZebraShape& shape) {
  std::vector<std::uint32_t> offload;
  for (std::size_t l = 0; l < model.layers.size(); ++l) {
    offload.push_back(*rc::gen::inRange(0U, 3U));
  }
  place_evenly(model, offload, shape);
  if (*rc::gen::arbitrary<bool>()) return;
  for (ZebraGroup& group : shape.groups) {
    const auto holders = static_cast<std::uint32_t>(group.experts.size() + group.attention.size());
    for (auto& layer : group.placement) {
      for (std::uint32_t& holder : layer) holder = *rc::gen::inRange(0U, holders);
    }
  }
}

Case random_zebra(Nodes nodes) {
  const auto kinds = *rc::gen::inRange<std::size_t>(2, 4);
  const auto cut = *rc::gen::inRange<std::size_t>(1, kinds);
  const int layers = *rc::gen::inRange(1, 5);
  Case out{make_scenario({.layers = layers,
                          .experts = 8,
                          .dense_layers = *rc::gen::inRange(0, layers),
                          .cluster = random_cluster(kinds, nodes),
                          .batch = 32}),
           {}};
  const Cluster& cluster = out.scenario.cluster;
  std::vector<std::uint32_t> roles[2];
  for (std::uint32_t k = 0; k < kinds; ++k) roles[k < cut ? 0 : 1].push_back(k);
  const GpuList attention = gpus_of_kinds(cluster, roles[0]);
  const GpuList experts = gpus_of_kinds(cluster, roles[1]);
  const auto most = std::min<std::size_t>({2, attention.size(), experts.size()});
  const auto groups = static_cast<std::uint32_t>(*rc::gen::inRange<std::size_t>(1, most + 1));
  RoleGroups role_groups;
  for (std::uint32_t g = 0; g < groups; ++g) {
    role_groups.push_back({cut_into_groups(cluster, attention, groups)[g],
                           cut_into_groups(cluster, experts, groups)[g]});
  }
  ZebraShape shape = zebra_shape(role_groups, *rc::gen::inRange(1U, 5U));
  shape.chunks = *rc::gen::element(1U, 1U, 2U, 3U);
  place_randomly(out.scenario.model, shape);
  out.schedule = zebra_schedule(out.scenario, shape);
  return out;
}

Case random_ep(Nodes nodes) {
  const auto kinds = *rc::gen::inRange<std::size_t>(1, 4);
  Case out{make_scenario({.layers = *rc::gen::inRange(1, 4),
                          .experts = 12,
                          .cluster = random_cluster(kinds, nodes),
                          .batch = 24}),
           {}};
  GpuList all;
  for (std::uint32_t g = 0; g < gpus_of(out.scenario.cluster).size(); ++g) all.push_back({g});
  ExpertParallelShape shape;
  const auto groups = static_cast<std::uint32_t>(
      *rc::gen::inRange<std::size_t>(1, std::min<std::size_t>(all.size(), 3) + 1));
  shape.groups = with_both_roles(cut_into_groups(out.scenario.cluster, all, groups));
  shape.chunks = static_cast<std::uint32_t>(*rc::gen::inRange(1, 4));
  shape.microbatches = static_cast<std::uint32_t>(*rc::gen::inRange(1, 3));
  out.scenario.training.optimizer_sharding = *rc::gen::arbitrary<bool>();
  out.schedule = expert_parallel_schedule(out.scenario, shape);
  return out;
}

Case random_case(Nodes nodes) {
  return *rc::gen::arbitrary<bool>() ? random_zebra(nodes) : random_ep(nodes);
}

RandomLoad random_load(const Case& c) {
  const auto seed = *rc::gen::arbitrary<std::uint64_t>();
  const double message_s = *rc::gen::element(0.0, 0.1, 1.0, 5.0);
  return {c.schedule, c.scenario, seed, message_s};
}

}  // namespace zebroid::testing
