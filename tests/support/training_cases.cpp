#include "tests/support/training_cases.hpp"

#include <algorithm>
#include <array>
#include <set>

#include "core/hash.hpp"
#include "planner/builder.hpp"
#include "planner/expert_parallel.hpp"
#include "planner/pipeline.hpp"
#include "planner/zebra.hpp"
#include "tests/support/scenarios.hpp"

namespace zebroid::testing {
namespace {

using Strategy = TrainingCase::Strategy;

RoleGroups roles_of(const Scenario& scenario, std::uint32_t groups) {
  const auto attention =
      cut_into_groups(scenario.cluster, gpus_of_kinds(scenario.cluster, {0}), groups);
  const auto experts =
      cut_into_groups(scenario.cluster, gpus_of_kinds(scenario.cluster, {1}), groups);
  RoleGroups out;
  for (std::uint32_t g = 0; g < groups; ++g) out.push_back({attention[g], experts[g]});
  return out;
}

std::vector<std::uint32_t> offload_of(const Scenario& scenario, std::uint32_t offload) {
  std::vector<std::uint32_t> out;
  for (std::size_t l = 0; l < scenario.model.layers.size(); ++l) {
    out.push_back(l % 2 == 1 ? offload : 0);
  }
  return out;
}

Schedule zebra(const Scenario& scenario, const TrainingCase& wanted) {
  ZebraShape shape = zebra_shape(roles_of(scenario, wanted.groups), wanted.microbatches);
  shape.chunks = wanted.chunks;
  place_evenly(scenario.model, offload_of(scenario, wanted.offload), shape);
  return zebra_schedule(scenario, shape);
}

Schedule expert_parallel(const Scenario& scenario, const TrainingCase& wanted) {
  ExpertParallelShape shape;
  shape.microbatches = wanted.microbatches;
  shape.chunks = wanted.chunks;
  shape.groups = roles_of(scenario, wanted.groups);
  if (wanted.strategy == Strategy::ep) {
    shape.groups = with_both_roles(
        cut_into_groups(scenario.cluster, gpus_of_kinds(scenario.cluster, {0, 1}), wanted.groups));
  }
  return expert_parallel_schedule(scenario, shape);
}

Schedule pipelines(const Scenario& scenario, const TrainingCase& wanted) {
  const auto layers = static_cast<std::uint32_t>(scenario.model.layers.size());
  const std::uint32_t gpus = wanted.attention + wanted.experts;
  PipelineShape shape;
  shape.microbatches = wanted.microbatches;
  const auto sequences =
      split_batch(scenario.training.global_batch_sequences, wanted.groups, wanted.microbatches);
  for (std::uint32_t v = 0; v < wanted.groups; ++v) {
    Pipeline& pipeline = shape.pipelines.emplace_back();
    pipeline.sequences = sequences[v];
    GpuList members;
    for (std::uint32_t g = v; g < gpus; g += wanted.groups) members.push_back({g});
    const auto stages = static_cast<std::uint32_t>(std::min<std::size_t>(members.size(), layers));
    for (std::uint32_t s = 0; s < stages; ++s) {
      pipeline.stages.push_back({members[s], static_cast<std::uint16_t>(layers * s / stages),
                                 static_cast<std::uint16_t>(layers * (s + 1) / stages)});
    }
  }
  return pipeline_schedule(scenario, shape);
}

/// Zebra groups as the stages of one pipeline, microbatch after microbatch.
class StagesOfZebra {
 public:
  StagesOfZebra(const Scenario& scenario, const TrainingCase& wanted)
      : scenario_(scenario),
        wanted_(wanted),
        builder_(scenario, wanted.microbatches, wanted.chunks),
        layers_(static_cast<std::uint16_t>(scenario.model.layers.size())) {}

  Schedule run() {
    const RoleGroups roles = roles_of(scenario_, stages_);
    std::vector<std::pair<GpuId, std::uint32_t>> seats;
    for (std::uint32_t s = 0; s < stages_; ++s) {
      for (const GpuId gpu : roles[s].attention) seats.emplace_back(gpu, s);
      for (const GpuId gpu : roles[s].experts) seats.emplace_back(gpu, s);
    }
    std::sort(seats.begin(), seats.end());
    attention_.resize(stages_);
    experts_.resize(stages_);
    for (const auto& [gpu, s] : seats) {
      const auto& owners = roles[s].attention;
      const bool owns = std::find(owners.begin(), owners.end(), gpu) != owners.end();
      const auto share = split_batch(scenario_.training.global_batch_sequences,
                                     static_cast<std::uint32_t>(owners.size()), 1);
      const std::uint32_t sequences = owns ? share[attention_[s].size()] : 0;
      (owns ? attention_ : experts_)[s].push_back(builder_.add_rank(gpu, 0, sequences));
    }
    for (std::uint16_t l = 0; l < layers_; ++l) place(l);
    for (std::uint16_t j = 0; j < wanted_.microbatches; ++j) {
      for (std::uint16_t l = 0; l < layers_; ++l) forward(l, j);
      if (!wanted_.last_first) backward(j);
    }
    if (wanted_.last_first) {
      for (auto j = static_cast<std::uint16_t>(wanted_.microbatches); j-- > 0;) backward(j);
    }
    std::vector<std::vector<RankId>> holders;
    for (std::uint16_t l = 0; l < layers_; ++l) holders.push_back(attention_[stage_of(l)]);
    builder_.finish_step(holders, wanted_.shards);
    return builder_.finish();
  }

 private:
  static constexpr std::uint32_t stages_ = 2;

  std::uint16_t last() const { return static_cast<std::uint16_t>(layers_ - 1); }
  std::uint32_t stage_of(std::uint32_t l) const { return l * stages_ / layers_; }
  bool starts_stage(std::uint32_t l) const { return l > 0 && stage_of(l) != stage_of(l - 1); }
  bool has_experts(std::uint32_t l) const { return scenario_.model.layers[l].has_experts; }

  void place(std::uint16_t l) {
    if (!has_experts(l)) return;
    const std::uint32_t s = stage_of(l);
    std::vector<RankId> on;
    for (std::uint32_t e = 0; e < scenario_.model.experts; ++e) {
      on.push_back(e < wanted_.offload ? attention_[s][e % attention_[s].size()]
                                       : experts_[s][e % experts_[s].size()]);
    }
    builder_.place(0, l, on);
  }
  std::vector<RankId> members(std::uint32_t s) const {
    std::vector<RankId> out = attention_[s];
    out.insert(out.end(), experts_[s].begin(), experts_[s].end());
    return out;
  }
  GroupId between(std::uint32_t s) {
    std::vector<RankId> both = attention_[s - 1];
    both.insert(both.end(), attention_[s].begin(), attention_[s].end());
    return builder_.group(both);
  }
  void compute(Work work, Pass pass, std::uint16_t l, std::uint16_t j, std::uint16_t c = 0) {
    for (const RankId rank :
         work == Work::expert ? members(stage_of(l)) : attention_[stage_of(l)]) {
      builder_.compute(rank, {work, pass, 0, l, j, c});
    }
  }
  void tokens(Pass pass, std::uint16_t l, std::uint16_t j) {
    for (const Work work : {Work::dispatch, Work::expert, Work::combine}) {
      for (std::uint16_t c = 0; c < wanted_.chunks; ++c) {
        if (work == Work::expert) {
          if (pass == Pass::backward) compute(work, Pass::recompute, l, j, c);
          compute(work, pass, l, j, c);
        } else {
          builder_.exchange(builder_.group(members(stage_of(l))), {work, pass, 0, l, j, c});
        }
      }
    }
  }
  void forward(std::uint16_t l, std::uint16_t j) {
    if (starts_stage(l)) {
      builder_.exchange(between(stage_of(l)), {Work::stage, Pass::forward, 0, l, j, 0});
    }
    compute(Work::attention, Pass::forward, l, j);
    if (has_experts(l)) tokens(Pass::forward, l, j);
  }
  void backward(std::uint16_t j) {
    for (const RankId rank : attention_.back()) {
      builder_.compute(rank, {Work::head, Pass::forward, 0, last(), j, 0});
      builder_.compute(rank, {Work::head, Pass::backward, 0, last(), j, 0});
    }
    for (std::uint16_t l = layers_; l-- > 0;) backward(l, j);
  }
  void backward(std::uint16_t l, std::uint16_t j) {
    if (has_experts(l)) tokens(Pass::backward, l, j);
    compute(Work::attention, Pass::recompute, l, j);
    compute(Work::attention, Pass::backward, l, j);
    if (starts_stage(l)) {
      builder_.exchange(between(stage_of(l)), {Work::stage, Pass::backward, 0, l, j, 0});
    }
  }

  const Scenario& scenario_;
  const TrainingCase& wanted_;
  ScheduleBuilder builder_;
  std::uint16_t layers_;
  std::vector<std::vector<RankId>> attention_, experts_;  // [stages]
};

const char* text_of(Strategy strategy) {
  switch (strategy) {
    case Strategy::zebra:
      return "zebra";
    case Strategy::ep:
      return "ep";
    case Strategy::dist_ep:
      return "dist_ep";
    case Strategy::pp:
      return "pp";
    default:
      return "stages";
  }
}

}  // namespace

Scenario tiny_scenario(const TinyScenario& tiny) {
  Json config = {{"model_type", "mixtral"},
                 {"num_hidden_layers", tiny.layers},
                 {"hidden_size", 16},
                 {"vocab_size", 256},
                 {"num_attention_heads", 4},
                 {"num_key_value_heads", 2},
                 {"head_dim", 4},
                 {"num_local_experts", tiny.experts},
                 {"num_experts_per_tok", tiny.top_k},
                 {"moe_intermediate_size", 12},
                 {"intermediate_size", 20},
                 {"tie_word_embeddings", false}};
  if (!tiny.dense_layers.empty()) config["mlp_only_layers"] = tiny.dense_layers;
  if (tiny.shared_ffn > 0) {
    config["shared_expert_intermediate_size"] = tiny.shared_ffn;
  }
  return assemble({"tiny",
                   config,
                   tiny.cluster,
                   {.sequence_length = tiny.sequence_length,
                    .global_batch_sequences = tiny.batch,
                    .recompute = tiny.recompute},
                   tiny.routing});
}

std::string TrainingCase::name() const {
  std::string out = std::string(text_of(strategy)) + "_M" + std::to_string(attention) + "_N" +
                    std::to_string(experts) + "_R" + std::to_string(microbatches) + "_C" +
                    std::to_string(chunks) + "_G" + std::to_string(groups) + "_offload" +
                    std::to_string(offload) + "_recompute" +
                    std::to_string(static_cast<int>(recompute));
  if (shards) out += "_shards";
  if (last_first) out += "_last_first";
  if (dense_layers > 0) out += "_dense" + std::to_string(dense_layers);
  return out;
}

Case make_case(const TrainingCase& wanted, std::uint32_t batch) {
  TinyScenario tiny;
  tiny.cluster =
      std::to_string(wanted.attention) + "xA40," + std::to_string(wanted.experts) + "xV100-16GB";
  // Not a multiple of the microbatches: they differ in size.
  const std::uint32_t owners = wanted.attention + wanted.experts;
  tiny.batch = static_cast<std::uint64_t>(owners) * wanted.microbatches + 3;
  if (batch > 0) tiny.batch = batch;
  tiny.recompute = wanted.recompute;
  tiny.routing = wanted.routing;
  for (std::uint32_t l = 0; l < wanted.dense_layers; ++l) {
    tiny.dense_layers.push_back(static_cast<int>(l));
  }
  if (wanted.dense_layers > 0) tiny.shared_ffn = 8;
  if (wanted.strategy == Strategy::zebra_in_stages) {
    tiny.layers = 4;
    // Both stages hold equally many sequences of each microbatch.
    const std::uint32_t first = (wanted.attention + 1) / 2;
    tiny.batch = std::uint64_t{first} * (wanted.attention - first) * wanted.microbatches;
  }
  Case out{tiny_scenario(tiny), {}};
  if (wanted.shards) out.scenario.training.optimizer_sharding = true;
  switch (wanted.strategy) {
    case Strategy::zebra:
      out.schedule = zebra(out.scenario, wanted);
      break;
    case Strategy::ep:
    case Strategy::dist_ep:
      out.schedule = expert_parallel(out.scenario, wanted);
      break;
    case Strategy::pp:
      out.schedule = pipelines(out.scenario, wanted);
      break;
    case Strategy::zebra_in_stages:
      out.schedule = StagesOfZebra(out.scenario, wanted).run();
      break;
  }
  out.schedule = listed(out.schedule, out.scenario);
  return out;
}

std::vector<TrainingCase> training_cases() {
  using enum Recompute;
  std::vector<TrainingCase> out;
  for (const Recompute recompute : {automatic, none, module, layer}) {
    out.push_back({.strategy = Strategy::zebra, .offload = 1, .chunks = 2, .recompute = recompute});
    out.push_back({.strategy = Strategy::ep, .chunks = 3, .recompute = recompute});
    out.push_back({.strategy = Strategy::dist_ep, .microbatches = 3, .recompute = recompute});
    out.push_back(
        {.strategy = Strategy::pp, .microbatches = 3, .groups = 2, .recompute = recompute});
  }
  for (const std::uint32_t groups : {1U, 2U}) {
    for (const bool shards : {false, true}) {
      out.push_back({.strategy = Strategy::zebra,
                     .offload = 1,
                     .groups = groups,
                     .shards = shards,
                     .dense_layers = 1});
      out.push_back(
          {.strategy = Strategy::ep, .groups = groups, .shards = shards, .dense_layers = 1});
      out.push_back({.strategy = Strategy::dist_ep, .groups = groups, .shards = shards});
      out.push_back({.strategy = Strategy::pp, .groups = 2 * groups, .shards = shards});
    }
  }
  for (const std::uint32_t microbatches : {1U, 3U}) {
    out.push_back({.strategy = Strategy::zebra_in_stages,
                   .attention = 3,
                   .experts = 2,
                   .offload = 2,
                   .microbatches = microbatches,
                   .chunks = 2});
    out.push_back({.strategy = Strategy::zebra_in_stages,
                   .attention = 2,
                   .experts = 4,
                   .microbatches = microbatches,
                   .shards = true});
  }
  out.push_back({.strategy = Strategy::zebra_in_stages,
                 .experts = 3,
                 .offload = 1,
                 .microbatches = 4,
                 .chunks = 2,
                 .last_first = true});
  return out;
}

namespace {

/// A combination as a number for each field.
using Row = std::array<std::size_t, 8>;
constexpr Row field_sizes = {5, 4, 4, 3, 4, 2, 4, 2};

TrainingCase case_of(const Row& row) {
  constexpr std::array<std::uint32_t, 4> microbatches = {1, 2, 3, 5};
  constexpr std::array<Recompute, 4> recomputes = {Recompute::automatic, Recompute::none,
                                                   Recompute::module, Recompute::layer};
  TrainingCase out;
  out.strategy = static_cast<Strategy>(row[0]);
  out.attention = static_cast<std::uint32_t>(row[1] + 1);
  out.experts = static_cast<std::uint32_t>(row[2] + 1);
  out.chunks = static_cast<std::uint32_t>(row[3] + 1);
  out.microbatches = microbatches.at(row[4]);
  out.groups = static_cast<std::uint32_t>(row[5] + 1);
  out.recompute = recomputes.at(row[6]);
  out.shards = row[7] == 1;
  out.offload = static_cast<std::uint32_t>((row[1] + row[2] + row[4]) % 4);
  const std::uint32_t most = std::min(out.attention, out.experts);
  const bool stages = out.strategy == Strategy::zebra_in_stages;
  if (stages) out.attention = std::max(out.attention, 2U);
  if (stages) out.experts = std::max(out.experts, 2U);
  if (stages || out.groups > most) out.groups = 1;
  if (out.strategy == Strategy::pp) {
    out.chunks = 1;
    const std::uint32_t gpus = out.attention + out.experts;  // on three layers
    out.groups = std::max(out.groups, (gpus + 2) / 3);
  }
  return out;
}

}  // namespace

std::vector<TrainingCase> pairwise_cases() {
  // Greedily: of some combinations drawn from a fixed sequence, the one that covers most new pairs.
  std::set<std::array<std::size_t, 4>> open;  // field, value, field, value
  for (std::size_t a = 0; a < field_sizes.size(); ++a) {
    for (std::size_t b = a + 1; b < field_sizes.size(); ++b) {
      for (std::size_t x = 0; x < field_sizes.at(a); ++x) {
        for (std::size_t y = 0; y < field_sizes.at(b); ++y) open.insert({a, x, b, y});
      }
    }
  }
  const auto pairs_of = [](const Row& row) {
    std::vector<std::array<std::size_t, 4>> out;
    for (std::size_t a = 0; a < row.size(); ++a) {
      for (std::size_t b = a + 1; b < row.size(); ++b) out.push_back({a, row.at(a), b, row.at(b)});
    }
    return out;
  };
  std::vector<TrainingCase> out;
  std::uint64_t draw = 0;
  while (!open.empty()) {
    Row best{};
    std::ptrdiff_t most = -1;
    constexpr int drawn = 200;
    for (int i = 0; i < drawn; ++i) {
      Row row{};
      for (std::size_t f = 0; f < row.size(); ++f) row.at(f) = mix(++draw) % field_sizes.at(f);
      const auto pairs = pairs_of(row);
      const auto covers = std::count_if(pairs.begin(), pairs.end(),
                                        [&](const auto& pair) { return open.contains(pair); });
      if (covers > most) best = row;
      most = std::max(most, covers);
    }
    for (const auto& pair : pairs_of(best)) open.erase(pair);
    const TrainingCase next = case_of(best);
    const bool known = std::any_of(out.begin(), out.end(), [&](const TrainingCase& other) {
      return other.name() == next.name();
    });
    if (!known) out.push_back(next);
  }
  constexpr std::size_t wanted = 40;
  while (out.size() < wanted) {
    Row row{};
    for (std::size_t f = 0; f < row.size(); ++f) row.at(f) = mix(++draw) % field_sizes.at(f);
    const TrainingCase next = case_of(row);
    const bool known = std::any_of(out.begin(), out.end(), [&](const TrainingCase& other) {
      return other.name() == next.name();
    });
    if (!known) out.push_back(next);
  }
  return out;
}

Text some_text() {
  std::string bytes;
  for (int i = 0; i < 1000; ++i) bytes += static_cast<char>('a' + i * i % 7 + i % 3);
  return Text(bytes);
}

}  // namespace zebroid::testing
