#pragma once

#include <cstdint>
#include <vector>

#include "schedule/exchanges.hpp"
#include "schedule/schedule.hpp"

namespace zebroid {

/// What in a schedule waits for what: data, stream order, launch order and rendezvous. Nodes: one
/// for each op (of an exchange its launch on that member), rank by rank, then one for each exchange
/// (all members are done).
class OrderGraph {
 public:
  /// reads: [programs]. They outlive it.
  OrderGraph(const Schedule& schedule, const Exchanges& exchanges, const std::vector<Reads>& reads);

  std::uint32_t size() const { return static_cast<std::uint32_t>(after_.size()); }
  bool is_op(std::uint32_t node) const { return node < first_exchange_; }
  /// Of a node that is an op.
  Exchange::Member op_of(std::uint32_t node) const;
  /// Of one that is not, its index in Exchanges::all.
  std::uint32_t exchange_of(std::uint32_t node) const { return node - first_exchange_; }
  /// The nodes that wait for this one.
  const std::vector<std::uint32_t>& after(std::uint32_t node) const { return after_[node]; }
  /// Each node behind all that it waits for; without those that wait for each other, and for them.
  std::vector<std::uint32_t> in_order() const;

 private:
  std::uint32_t node_of(std::uint32_t r, std::uint32_t op) const { return first_node_[r] + op; }
  std::uint32_t end_of(std::uint32_t r, std::uint32_t op) const;
  void edge(std::uint32_t from, std::uint32_t to);
  void add_rank(std::uint32_t r, const Reads& reads);

  const Schedule& schedule_;
  const Exchanges& exchanges_;
  std::vector<std::uint32_t> first_node_;  // [ranks]
  std::uint32_t first_exchange_ = 0;
  std::vector<std::vector<std::uint32_t>> after_;
  std::vector<std::uint32_t> waits_;  // for how many
};

}  // namespace zebroid
