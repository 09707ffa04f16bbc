#include "tests/support/random_schedules.hpp"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <string>

#include "planner/expert_parallel.hpp"
#include "planner/pipeline.hpp"
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

PipelineShape random_pipelines(const Scenario& scenario) {
  const auto layers = static_cast<std::uint32_t>(scenario.model.layers.size());
  GpuList all(gpus_of(scenario.cluster).size());
  for (std::uint32_t g = 0; g < all.size(); ++g) all[g] = {g};
  const auto gpus = static_cast<std::uint32_t>(all.size());
  const auto count = *rc::gen::inRange((gpus + layers - 1) / layers, gpus + 1);
  PipelineShape out;
  out.microbatches = *rc::gen::inRange(1U, 5U);
  auto left = static_cast<std::uint32_t>(scenario.training.global_batch_sequences);
  for (std::uint32_t v = 0; v < count; ++v) {
    // Every count-th GPU, in a random order.
    GpuList members;
    for (std::uint32_t g = v; g < gpus; g += count) members.push_back({g});
    for (std::size_t i = members.size(); i > 1; --i) {
      std::swap(members[i - 1], members[*rc::gen::inRange<std::size_t>(0, i)]);
    }
    Pipeline& pipeline = out.pipelines.emplace_back();
    std::uint32_t begin = 0;
    for (std::size_t s = 0; s < members.size(); ++s) {
      const auto after = static_cast<std::uint32_t>(members.size() - 1 - s);
      const std::uint32_t end =
          after == 0 ? layers : *rc::gen::inRange(begin + 1, layers - after + 1);
      pipeline.stages.push_back(
          {members[s], static_cast<std::uint16_t>(begin), static_cast<std::uint16_t>(end)});
      begin = end;
    }
    const std::uint32_t most = left - out.microbatches * (count - 1 - v);
    pipeline.sequences = v + 1 == count ? left : *rc::gen::inRange(out.microbatches, most + 1);
    left -= pipeline.sequences;
  }
  return out;
}

Case random_pp(Nodes nodes) {
  const auto kinds = *rc::gen::inRange<std::size_t>(1, 4);
  const int layers = *rc::gen::inRange(1, 6);
  Case out{make_scenario({.layers = layers,
                          .experts = 4,
                          .dense_layers = *rc::gen::inRange(0, layers),
                          .cluster = random_cluster(kinds, nodes),
                          .batch = 60}),
           {}};
  if (*rc::gen::arbitrary<bool>()) {
    out.scenario.training.optimizer_sharding = *rc::gen::arbitrary<bool>();
  }
  out.scenario.training.recompute = *rc::gen::element(Recompute::automatic, Recompute::none);
  out.schedule = pipeline_schedule(out.scenario, random_pipelines(out.scenario));
  return out;
}

Case random_case(Nodes nodes) {
  switch (*rc::gen::inRange(0, 3)) {
    case 0:
      return random_zebra(nodes);
    case 1:
      return random_ep(nodes);
    default:
      return random_pp(nodes);
  }
}

RandomLoad random_load(const Case& c) {
  const auto seed = *rc::gen::arbitrary<std::uint64_t>();
  const double message_s = *rc::gen::element(0.0, 0.1, 1.0, 5.0);
  return {c.schedule, c.scenario, seed, message_s};
}

}  // namespace zebroid::testing
