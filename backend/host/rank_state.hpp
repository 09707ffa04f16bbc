#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "backend/host/rank_memory.hpp"
#include "backend/host/rank_parameters.hpp"
#include "backend/host/routes.hpp"
#include "schedule/op_index.hpp"

namespace zebroid {

/// What the ops of one rank work on, and where in it things are. Ops of different streams run at
/// the same time: what they share is in their values.
template <class Real>
struct RankState {
  const StepJob& job;
  RankId rank;
  const Program& program;
  const OpIndex& index;  ///< of the program
  RankMemory<Real>& memory;
  RankParameters<Real>& parameters;
  RouteCounts& routes;
  const CountedAmounts& amounts;

  const Rank& self() const { return job.schedule.ranks[rank.value]; }
  std::size_t hidden() const { return job.model.hidden; }
  std::size_t top_k() const { return job.model.top_k; }
  bool has_experts(std::uint32_t layer) const { return job.model.layers[layer].has_experts; }
  Tokens tokens(const Op& op) const { return {sequences_of(op), job.length}; }
  std::size_t sequences_of(const Op& op) const;
  std::size_t rows(const Op& op) const { return static_cast<std::size_t>(amounts.rows(rank, op)); }

  /// The op's index in the program; nothing where it is not listed.
  std::optional<std::uint32_t> find(Work work, Pass pass, const Op& like,
                                    std::uint32_t chunk = 0) const;
  bool lists(Work work, Pass pass, const Op& like) const {
    return find(work, pass, like).has_value();
  }
  /// Throws Error(input) where it is not listed: schedules without faults that no planner makes.
  std::uint32_t at(Work work, Pass pass, const Op& like, std::uint32_t chunk = 0) const;
  /// The layer's shared parameters. Throws Error(input) where the rank does not run its attention.
  Held<Real>& shared(std::uint32_t layer) const;

  /// What the tokens of one layer and microbatch chose. Copies are sorted by chunk, expert, token.
  struct Route {
    Real* weight = nullptr;            ///< [tokens, top_k]
    std::int32_t* expert = nullptr;    ///< [tokens, top_k]
    std::int32_t* position = nullptr;  ///< [tokens, top_k] of each copy
    std::int32_t* copy_at = nullptr;   ///< [tokens * top_k] in each position
  };
  Route route(const Op& op) const;
  /// The position of the first copy of the op's chunk, of that chunk's for an expert.
  std::size_t first_position(const Op& op) const;
  std::size_t first_position(const Op& op, std::uint32_t e) const;

  /// Hidden states that a layer leaves for a microbatch: its residual and what its experts made.
  void add_up(std::uint32_t layer, std::uint32_t microbatch, Real* out) const;
  /// For each token, adds what experts returned, in the order of its choice: outputs, or in
  /// backward gradients of their inputs and, into dweight [tokens, top_k], those of the weights.
  void add_returned(Pass pass, const Op& op, Real* out, Real* dweight) const;
  /// Gradient of what the op's layer leaves for its microbatch.
  const Real* output_gradient(const Op& op) const;
};

}  // namespace zebroid
