#include "planner/placement.hpp"

#include <algorithm>
#include <numeric>
#include <tuple>
#include <utility>

#include "planner/assignment.hpp"

namespace zebroid {
namespace {

std::vector<std::uint32_t> by_descending(const std::vector<double>& shares) {
  std::vector<std::uint32_t> out(shares.size());
  std::iota(out.begin(), out.end(), 0);
  std::stable_sort(out.begin(), out.end(),
                   [&](std::uint32_t a, std::uint32_t b) { return shares[a] > shares[b]; });
  return out;
}

/// Experts with equal loads are dealt in contiguous runs, as even placement does.
void make_contiguous(const std::vector<double>& shares, const std::vector<std::uint32_t>& order,
                     std::vector<std::uint32_t>& holders) {
  for (std::size_t first = 0, last = 0; first < order.size(); first = last) {
    std::vector<std::uint32_t> run;
    for (; last < order.size() && shares[order[last]] == shares[order[first]]; ++last) {
      run.push_back(holders[order[last]]);
    }
    std::sort(run.begin(), run.end());
    for (std::size_t i = first; i < last; ++i) holders[order[i]] = run[i - first];
  }
}

/// What HeterMoE's even placement and offloading leave of one layer.
std::vector<std::uint32_t> even_layer(std::uint32_t experts, std::uint32_t expert_gpus,
                                      std::uint32_t attention_gpus, std::uint32_t moe_layer,
                                      std::uint32_t offload) {
  std::vector<std::uint32_t> out =
      deal_evenly(experts, expert_gpus, moe_layer * (experts % expert_gpus));
  std::vector<std::uint32_t> given(expert_gpus, 0);
  std::uint32_t taken = 0;
  for (std::uint32_t e = experts; e-- > 0;) {  // each expert GPU gives its last ones
    std::uint32_t& given_here = given[out[e]];
    if (given_here >= offload) continue;
    ++given_here;
    out[e] = expert_gpus + taken++ % attention_gpus;
  }
  return out;
}

}  // namespace

Placement even_placement(const MoeModel& model, std::uint32_t expert_gpus,
                         std::uint32_t attention_gpus, const std::vector<std::uint32_t>& offload) {
  Placement out(model.layers.size());
  std::uint32_t moe_layer = 0;
  for (std::size_t l = 0; l < out.size(); ++l) {
    if (!model.layers[l].has_experts) continue;
    out[l] = even_layer(model.experts, expert_gpus, attention_gpus, moe_layer++, offload[l]);
  }
  return out;
}

LongestFirst::LongestFirst(std::vector<Holder> holders, std::uint32_t expert_gpus)
    : holders_(std::move(holders)), expert_gpus_(expert_gpus), held_(holders_.size(), 0) {}

std::vector<std::uint32_t> LongestFirst::place(const std::vector<double>& shares,
                                               std::uint32_t on_attention) {
  const auto experts = static_cast<std::uint32_t>(shares.size());
  const auto all = static_cast<std::uint32_t>(holders_.size());
  load_.assign(all, 0);
  double attention_lacks = static_cast<double>(on_attention) / experts;
  double experts_lack = 1 - attention_lacks;
  std::vector<std::uint32_t> out(experts);
  const std::vector<std::uint32_t> order = by_descending(shares);
  for (const std::uint32_t e : order) {
    bool moves = attention_lacks > experts_lack;
    if (on_attention == 0 || on_attention >= experts) moves = on_attention > 0;
    const bool can_stay = has_room(0, expert_gpus_);
    if (can_stay != has_room(expert_gpus_, all)) moves = !can_stay;
    (moves ? attention_lacks : experts_lack) -= shares[e];
    const std::uint32_t holder =
        moves ? first_done(expert_gpus_, all, shares[e]) : first_done(0, expert_gpus_, shares[e]);
    out[e] = holder;
    load_[holder] += shares[e];
    ++held_[holder];
  }
  make_contiguous(shares, order, out);
  return out;
}

bool LongestFirst::has_room(std::uint32_t first, std::uint32_t last) const {
  for (std::uint32_t h = first; h < last; ++h) {
    if (held_[h] < holders_[h].room) return true;
  }
  return false;
}

std::uint32_t LongestFirst::first_done(std::uint32_t first, std::uint32_t last,
                                       double share) const {
  const auto key = [&](std::uint32_t h) {
    return std::tuple(held_[h] >= holders_[h].room,
                      holders_[h].busy + (load_[h] + share) * holders_[h].seconds, held_[h]);
  };
  std::uint32_t best = first;
  for (std::uint32_t h = first + 1; h < last; ++h) {
    if (key(h) < key(best)) best = h;
  }
  return best;
}

Placement longest_first_placement(const Scenario& scenario, const std::vector<Holder>& holders,
                                  std::uint32_t expert_gpus,
                                  const std::vector<std::uint32_t>& on_attention) {
  LongestFirst rule(holders, expert_gpus);
  Placement out(scenario.model.layers.size());
  for (std::size_t l = 0; l < out.size(); ++l) {
    if (!scenario.model.layers[l].has_experts) continue;
    out[l] = rule.place(scenario.shares[l], on_attention[l]);
  }
  return out;
}

}  // namespace zebroid
