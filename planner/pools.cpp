#include "planner/pools.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "core/error.hpp"
#include "planner/planner.hpp"

namespace zebroid {

GpuList gpus_of_kinds(const Cluster& cluster, const std::vector<std::uint32_t>& kinds) {
  GpuList out;
  const std::vector<Gpu> gpus = gpus_of(cluster);
  for (std::uint32_t g = 0; g < gpus.size(); ++g) {
    if (std::find(kinds.begin(), kinds.end(), gpus[g].kind) != kinds.end()) out.push_back({g});
  }
  return out;
}

std::vector<GpuList> cut_into_groups(const Cluster& cluster, const GpuList& gpus,
                                     std::uint32_t groups) {
  const std::vector<Gpu> specs = gpus_of(cluster);
  std::vector<GpuList> by_kind(cluster.kinds.size());
  for (const GpuId gpu : gpus) by_kind[specs[gpu.value].kind].push_back(gpu);
  std::vector<GpuList> out(groups);
  for (const GpuList& kind : by_kind) {
    for (std::size_t i = 0; i < kind.size(); ++i) {
      out[i * groups / kind.size()].push_back(kind[i]);
    }
  }
  if (std::any_of(out.begin(), out.end(), [](const GpuList& group) { return group.empty(); })) {
    out.assign(groups, {});  // some kind has too few: cut the kinds as one list
    GpuList all_kinds;
    for (const GpuList& kind : by_kind) all_kinds.insert(all_kinds.end(), kind.begin(), kind.end());
    for (std::size_t i = 0; i < all_kinds.size(); ++i) {
      out[i * groups / all_kinds.size()].push_back(all_kinds[i]);
    }
  }
  for (GpuList& group : out) std::sort(group.begin(), group.end());
  return out;
}

std::vector<std::uint32_t> split_batch(std::uint64_t batch, std::uint32_t owners,
                                       std::uint32_t microbatches) {
  if (batch / owners < microbatches) {
    throw Error(ErrorKind::input,
                fmt::format("a global batch of {} sequences cannot be split over {} attention GPUs "
                            "with {} microbatch{} each: it takes at least {} sequences",
                            batch, owners, microbatches, microbatches == 1 ? "" : "es",
                            std::uint64_t{owners} * microbatches));
  }
  std::vector<std::uint32_t> out;
  for (std::uint64_t i = 0; i < owners; ++i) {
    const std::uint64_t share = batch / owners + (i < batch % owners ? 1 : 0);
    if (share > UINT32_MAX) {
      throw Error(ErrorKind::input,
                  fmt::format("a global batch of {} sequences is too large", batch));
    }
    out.push_back(static_cast<std::uint32_t>(share));
  }
  return out;
}

std::vector<std::uint32_t> microbatch_candidates(std::uint32_t sequences) {
  std::vector<std::uint32_t> out;
  constexpr std::uint32_t most = 64;
  for (std::uint32_t r = 1; r <= std::min(sequences, most); r += std::max(1U, r / 4)) {
    out.push_back(r);
  }
  if (sequences <= most && out.back() != sequences) out.push_back(sequences);
  return out;
}

std::vector<std::uint32_t> kinds_by_attention_gain(const Scenario& scenario) {
  std::vector<char> present(scenario.cluster.kinds.size(), 0);
  for (const Gpu& gpu : gpus_of(scenario.cluster)) present[gpu.kind] = 1;
  const std::vector<CostModel> costs = cost_models(scenario);
  std::vector<double> attention_over_experts(costs.size(), 0);
  std::vector<std::uint32_t> kinds;
  for (std::uint32_t k = 0; k < costs.size(); ++k) {
    if (present[k] == 0) continue;
    kinds.push_back(k);
    const double tokens = scenario.training.sequence_length;
    Seconds attention;
    Seconds experts;
    for (std::uint32_t l = 0; l < scenario.model.layers.size(); ++l) {
      for (const Direction direction : {Direction::forward, Direction::backward}) {
        attention += costs[k].attention(l, direction, 1, tokens).total();
        if (!scenario.model.layers[l].has_experts) continue;
        experts += costs[k].expert(direction, tokens * scenario.model.top_k, 1).total();
      }
    }
    attention_over_experts[k] = attention / experts;
  }
  std::stable_sort(kinds.begin(), kinds.end(), [&](std::uint32_t a, std::uint32_t b) {
    return attention_over_experts[a] < attention_over_experts[b];
  });
  return kinds;
}

std::uint64_t default_global_batch(const Scenario& scenario) {
  constexpr std::uint64_t tokens_per_gpu = std::uint64_t{64} * 1024;
  const std::vector<Gpu> gpus = gpus_of(scenario.cluster);
  std::vector<std::uint64_t>
      owners;  // attention GPUs of zebra, by where the order of the kinds is cut
  std::uint64_t prefix = 0;
  for (const std::uint32_t kind : kinds_by_attention_gain(scenario)) {
    prefix += static_cast<std::uint64_t>(
        std::count_if(gpus.begin(), gpus.end(), [&](const Gpu& gpu) { return gpu.kind == kind; }));
    owners.push_back(prefix);
  }
  const std::uint64_t g = gpus.size();
  const std::uint64_t least =
      g * std::max<std::uint64_t>(1, tokens_per_gpu / scenario.training.sequence_length);
  std::uint64_t unit = g;  // the batches that qualify are the multiples of this
  for (const std::uint64_t count : owners) unit = std::lcm(unit, count);
  const std::uint64_t raised = (least + unit - 1) / unit * unit;
  return raised <= 2 * least ? raised : least;
}

}  // namespace zebroid
