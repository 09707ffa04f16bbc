#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/id.hpp"

namespace zebroid {

/// What an op does. Its stream follows from it. Exchanges run over a group, the rest on one rank.
/// Attention = all but the experts: at layer 0 also the embedding, in every layer shared experts
/// and dense FFN.
enum class Work : std::uint8_t {
  attention,
  expert,
  head,            ///< final norm, LM head, loss; its layer is the last one
  step,            ///< gradient clipping and AdamW; layer 0
  dispatch,        ///< towards the experts: tokens; in backward, output gradients
  combine,         ///< back to the owners: expert outputs; in backward, input gradients
  stage,           ///< hidden states (backward: gradients) into `layer` from the stage below
  reduce_shared,   ///< gradient sum of a layer's shared parameters (embedding with 0, head with the
                   ///< last layer)
  reduce_experts,  ///< gradient sum of a layer's experts over replicas
  reduce_norm,     ///< global gradient norm and overflow flag; layer 0
  gather,          ///< with a sharded optimizer: a layer's updated parameters, after step
};

/// Recomputation is explicit ops.
enum class Pass : std::uint8_t { forward, recompute, backward };

/// What runs concurrently on one GPU. Every stream is in order; the exchange streams move data one
/// way each.
enum class Stream : std::uint8_t { compute, dispatch, combine, stage_up, stage_down, sync };
inline constexpr std::size_t stream_count = 6;

struct Op {
  Work work = Work::attention;
  Pass pass = Pass::forward;
  std::uint8_t slot =
      0;  ///< 0 = the rank alone (compute); k > 0 = the group groups[k - 1] of the rank
  std::uint16_t layer = 0;
  std::uint16_t microbatch = 0;
  std::uint16_t chunk = 0;  ///< of a microbatch's tokens; in sums over several GPU kinds the phase
                            ///< (see planner/sums.hpp)

  friend auto operator<=>(const Op&, const Op&) = default;
};

/// Order of issue. Only the order within each stream and that of exchanges across streams has a
/// meaning.
using Program = std::vector<Op>;

/// One copy of the model: an EP group, a zebra group, a pipeline.
struct Replica {
  std::vector<std::vector<RankId>>
      expert_on;  ///< [layers][experts]; empty for a layer without experts

  friend bool operator==(const Replica&, const Replica&) = default;
};

struct Rank {
  GpuId gpu;
  std::uint16_t program = 0;
  std::uint16_t replica = 0;
  std::uint32_t sequences = 0;  ///< of the global batch whose attention runs here (in every stage);
                                ///< 0 on pure expert ranks
  std::vector<GroupId> groups;  ///< [slots]

  friend bool operator==(const Rank&, const Rank&) = default;
};

/// One training iteration: what, in which order, on whom; never how long or how many bytes.
struct Schedule {
  std::uint16_t layers = 0;
  std::uint16_t experts = 0;
  std::uint16_t microbatches = 0;
  std::uint16_t chunks = 0;
  std::vector<Program> programs;
  std::vector<Replica> replicas;
  std::vector<Rank> ranks;
  std::vector<std::vector<RankId>> groups;  ///< members, ascending

  const Program& program_of(RankId rank) const { return programs[ranks[rank.value].program]; }
  GroupId group_of(RankId rank, const Op& op) const {
    return ranks[rank.value].groups[op.slot - 1U];
  }

  friend bool operator==(const Schedule&, const Schedule&) = default;
};

constexpr bool is_exchange(Work work) { return work >= Work::dispatch; }
/// Sums and gathers end on all members together; dispatch, combine and stage end per member.
constexpr bool ends_together(Work work) { return work >= Work::reduce_shared; }
constexpr bool is_sum(Work work) {
  return work == Work::reduce_shared || work == Work::reduce_experts || work == Work::reduce_norm;
}
Stream stream_of(const Op& op);

/// An op without its slot, in 60 bits: equal for all members of an exchange.
constexpr std::uint64_t key_of(const Op& op) {
  return static_cast<std::uint64_t>(op.work) << 52U | static_cast<std::uint64_t>(op.pass) << 48U |
         static_cast<std::uint64_t>(op.layer) << 32U |
         static_cast<std::uint64_t>(op.microbatch) << 16U | op.chunk;
}

std::string_view name_of(Work work);
std::string_view name_of(Pass pass);
std::string_view name_of(Stream stream);
/// "dispatch' 1.0" (layer.microbatch; ' backward, * recompute), with ".chunk" when the chunk is not
/// 0.
std::string name_of(const Op& op);

/// For each op of a program the ops of the same program that it waits for because it reads what
/// they write.
struct Reads {
  std::vector<std::uint32_t>
      first;                       ///< [ops + 1]; op i reads ops[first[i]] .. ops[first[i + 1] - 1]
  std::vector<std::uint32_t> ops;  ///< indices into the program
  std::vector<std::uint32_t> lacking;  ///< ops whose row finds nothing although it must
};

/// The model's data flow (docs/architecture.md, "What reads what"): one table for verify, the
/// engines and the executor. Linear in ops and reads, with sums in layers * microbatches.
Reads reads(const Schedule& schedule, const Program& program);

}  // namespace zebroid
