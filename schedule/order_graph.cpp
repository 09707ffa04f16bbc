#include "schedule/order_graph.hpp"

#include <algorithm>
#include <array>
#include <optional>

namespace zebroid {

OrderGraph::OrderGraph(const Schedule& schedule, const Exchanges& exchanges,
                       const std::vector<Reads>& reads)
    : schedule_(schedule), exchanges_(exchanges) {
  std::uint32_t nodes = 0;
  for (const auto& of : exchanges.of) {
    first_node_.push_back(nodes);
    nodes += static_cast<std::uint32_t>(of.size());
  }
  first_exchange_ = nodes;
  nodes += static_cast<std::uint32_t>(exchanges.all.size());
  after_.resize(nodes);
  waits_.resize(nodes);
  for (std::uint32_t r = 0; r < schedule.ranks.size(); ++r) {
    add_rank(r, reads[schedule.ranks[r].program]);
  }
}

/// The node after which an op counts as ended.
std::uint32_t OrderGraph::end_of(std::uint32_t r, std::uint32_t op) const {
  const std::uint32_t exchange = exchanges_.of[r][op];
  return exchange == Exchanges::none ? node_of(r, op) : first_exchange_ + exchange;
}

void OrderGraph::edge(std::uint32_t from, std::uint32_t to) {
  after_[from].push_back(to);
  ++waits_[to];
}

void OrderGraph::add_rank(std::uint32_t r, const Reads& reads) {
  const Program& program = schedule_.program_of({r});
  std::array<std::optional<std::uint32_t>, stream_count> last;
  std::optional<std::uint32_t> last_exchange;
  for (std::uint32_t i = 0; i < program.size(); ++i) {
    auto& before = last.at(static_cast<std::size_t>(stream_of(program[i])));
    if (before) edge(end_of(r, *before), node_of(r, i));
    before = i;
    for (std::uint32_t k = reads.first[i]; k < reads.first[i + 1]; ++k) {
      edge(end_of(r, reads.ops[k]), node_of(r, i));
    }
    if (!is_exchange(program[i].work)) continue;
    if (last_exchange) edge(node_of(r, *last_exchange), node_of(r, i));
    last_exchange = i;
    edge(node_of(r, i), end_of(r, i));
  }
}

Exchange::Member OrderGraph::op_of(std::uint32_t node) const {
  const auto after = std::upper_bound(first_node_.begin(), first_node_.end(), node);
  const auto r = static_cast<std::uint32_t>(after - first_node_.begin() - 1);
  return {{r}, node - first_node_[r]};
}

std::vector<std::uint32_t> OrderGraph::in_order() const {
  std::vector<std::uint32_t> waits = waits_;
  std::vector<std::uint32_t> ready;
  for (std::uint32_t n = 0; n < waits.size(); ++n) {
    if (waits[n] == 0) ready.push_back(n);
  }
  std::vector<std::uint32_t> out;
  out.reserve(waits.size());
  while (!ready.empty()) {
    const std::uint32_t node = ready.back();
    ready.pop_back();
    out.push_back(node);
    for (const std::uint32_t next : after_[node]) {
      if (--waits[next] == 0) ready.push_back(next);
    }
  }
  return out;
}

}  // namespace zebroid
