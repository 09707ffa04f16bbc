#include "backend/host/step_job.hpp"

#include <algorithm>
#include <cmath>

#include "core/error.hpp"
#include "schedule/verify.hpp"

namespace zebroid {
namespace {

/// Why the host cannot compute an attention; nullptr when it can.
const char* obstacle(const Attention& attention) {
  if (attention.latent) return "latent attention";
  if (attention.indexer) return "sparse attention";
  if (attention.qkv_bias || attention.output_bias) return "biases of attention";
  if (attention.sinks) return "attention sinks";
  if (attention.query_key_norm != QueryKeyNorm::none) return "norms of queries and keys";
  if (attention.value_dim != attention.head_dim) return "values of another width than queries";
  if (attention.head_dim % 2 != 0) return "heads of an odd width";
  return nullptr;
}

const char* obstacle(const MoeModel& model) {
  constexpr std::uint32_t bytes = 256;
  if (!model.gated) return "FFNs without a gate";
  if (model.ffn_bias || model.router_bias) return "biases of FFNs or routers";
  if (model.shared_expert_gate) return "a gate on the shared expert";
  if (model.tied_embeddings) return "an embedding that is also the LM head";
  if (model.vocabulary < bytes) return "a vocabulary of less than 256 bytes";
  for (const Layer& layer : model.layers) {
    if (const char* why = obstacle(layer.attention)) return why;
  }
  return nullptr;
}

/// Sums of experts go along their replicas, in one exchange a layer.
void refuse_cut_sums(const Schedule& schedule) {
  for (const Program& program : schedule.programs) {
    for (const Op& op : program) {
      if (op.work != Work::reduce_experts || op.chunk == 0) continue;
      throw Error(ErrorKind::input,
                  name_of(op) + ": the host backend sums experts in one phase, not in several");
    }
  }
}

/// Experts that shall be chosen more often get a head start.
std::vector<double> bias_of(const std::vector<double>& shares) {
  constexpr double never = -1e9;
  std::vector<double> out;
  for (const double share : shares) {
    out.push_back(share > 0 ? std::log(share * static_cast<double>(shares.size())) : never);
  }
  return out;
}

}  // namespace

void refuse_unknown_parts(const MoeModel& model) {
  if (const char* why = obstacle(model)) {
    throw Error(ErrorKind::input, model.name + ": the host backend does not compute " + why +
                                      "; --shrink runs the schedule on a narrow twin without");
  }
}

StepJob::StepJob(const Schedule& schedule_in, const Scenario& scenario, Text text_in,
                 std::uint64_t seed_in)
    : schedule(schedule_in),
      model(scenario.model),
      layout(schedule_in),
      exchanges(match_exchanges(schedule_in)),
      text(std::move(text_in)),
      seed(seed_in),
      length(scenario.training.sequence_length) {
  refuse_unknown_parts(model);
  refuse_cut_sums(schedule);
  for (std::uint32_t l = 0; l < schedule.layers; ++l) {
    shared.push_back(shared_tensors(model, l));
    bias.push_back(bias_of(scenario.shares[l]));
  }
  expert = expert_tensors(model);
  for (std::uint32_t v = 0; v < schedule.replicas.size(); ++v) {
    auto& firsts = first_sequence_.emplace_back();
    for (std::uint32_t j = 0; j < schedule.microbatches; ++j) {
      firsts.push_back(batch);
      for (const RankId rank : layout.attention_on(v, 0)) {
        batch += sequences_in(schedule.ranks[rank.value].sequences, j, schedule.microbatches);
      }
    }
  }
}

Text::Tokens StepJob::tokens(std::uint64_t step, std::uint32_t replica, std::uint32_t microbatch,
                             Interval sequences) const {
  const std::uint64_t first = step * batch + first_sequence_[replica][microbatch];
  return text.sequences(first + sequences.begin, sequences.size(), length);
}

Interval part_of(std::uint64_t size, std::size_t place, std::size_t count) {
  return {size * place / count, size * (place + 1) / count};
}

NormParts::NormParts(const StepJob& job) : job_(job), experts_(job.schedule.layers) {
  const Schedule& schedule = job.schedule;
  for (std::uint32_t l = 0; l < schedule.layers; ++l) {
    Owners shared{job.layout.attention_on(0, l).front()};
    for (std::uint32_t v = 1; v < schedule.replicas.size(); ++v) {
      shared.front() = std::min(shared.front(), job.layout.attention_on(v, l).front());
    }
    const Shards* split_experts = nullptr;
    for (const Shards& shards : job.layout.shards_of(l)) {
      if (shards.all_shared) shared = schedule.groups[shards.group.value];
      if (shards.all_experts) split_experts = &shards;
    }
    shared_.push_back(std::move(shared));
    for (const RankId holder : schedule.replicas[0].expert_on[l]) {
      experts_[l].push_back(split_experts == nullptr ? Owners{holder}
                                                     : schedule.groups[split_experts->group.value]);
    }
  }
}

namespace {

std::vector<Interval> all_of(const std::vector<RankId>& owners, std::size_t elements) {
  std::vector<Interval> out;
  for (std::size_t p = 0; p < owners.size(); ++p) {
    out.push_back(part_of(elements, p, owners.size()));
  }
  return out;
}

std::vector<Interval> those_of(RankId rank, const std::vector<RankId>& owners,
                               std::size_t elements) {
  std::vector<Interval> out;
  for (std::size_t p = 0; p < owners.size(); ++p) {
    if (owners[p] == rank) out.push_back(part_of(elements, p, owners.size()));
  }
  return out;
}

}  // namespace

std::vector<Interval> NormParts::all_shared(std::uint32_t layer) const {
  return all_of(shared_[layer], job_.shared[layer].size());
}

std::vector<Interval> NormParts::all_expert(std::uint32_t layer, std::uint32_t e) const {
  return all_of(experts_[layer][e], job_.expert.size());
}

std::vector<Interval> NormParts::shared(RankId rank, std::uint32_t layer) const {
  return those_of(rank, shared_[layer], job_.shared[layer].size());
}

std::vector<Interval> NormParts::expert(RankId rank, std::uint32_t layer, std::uint32_t e) const {
  return those_of(rank, experts_[layer][e], job_.expert.size());
}

}  // namespace zebroid
