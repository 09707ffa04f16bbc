#include "tests/support/brute_force.hpp"

#include <algorithm>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <tuple>

namespace zebroid::testing {
namespace {

using Test = std::function<bool(const Op&)>;

/// One rank's progress.
struct State {
  std::vector<bool> issued;
  std::vector<bool> ended;
};

class Run {
 public:
  explicit Run(const Schedule& schedule) : schedule_(schedule) {
    for (std::uint32_t r = 0; r < schedule.ranks.size(); ++r) {
      const std::size_t ops = program(r).size();
      states_.push_back({std::vector<bool>(ops, false), std::vector<bool>(ops, false)});
    }
  }

  bool to_the_end() {
    for (bool progress = true; progress;) {
      progress = false;
      for (std::uint32_t r = 0; r < schedule_.ranks.size(); ++r) {
        for (std::uint32_t i = 0; i < program(r).size(); ++i) {
          if (!states_[r].issued[i] && may_issue(r, i)) {
            issue(r, i);
            progress = true;
          }
        }
      }
    }
    return std::all_of(states_.begin(), states_.end(), [](const State& state) {
      return std::all_of(state.ended.begin(), state.ended.end(), [](bool ended) { return ended; });
    });
  }

 private:
  const Program& program(std::uint32_t r) const { return schedule_.program_of({r}); }

  bool may_issue(std::uint32_t r, std::uint32_t i) const {
    const Program& ops = program(r);
    for (std::uint32_t k = 0; k < i; ++k) {
      if (stream_of(ops[k]) == stream_of(ops[i]) && !states_[r].ended[k]) return false;
      if (is_exchange(ops[k].work) && is_exchange(ops[i].work) && !states_[r].issued[k])
        return false;
    }
    return inputs_are_there(r, ops[i]);
  }

  void issue(std::uint32_t r, std::uint32_t i) {
    states_[r].issued[i] = true;
    const Op& op = program(r)[i];
    if (!is_exchange(op.work)) {
      states_[r].ended[i] = true;
      return;
    }
    // An exchange ends when every member of its group has issued its op.
    const GroupId group = schedule_.group_of({r}, op);
    std::vector<std::pair<std::uint32_t, std::uint32_t>> members;
    for (const RankId rank : schedule_.groups[group.value]) {
      std::optional<std::uint32_t> theirs;
      for (std::uint32_t k = 0; k < program(rank.value).size(); ++k) {
        if (same_exchange(rank.value, program(rank.value)[k], op, group)) theirs = k;
      }
      if (!theirs || !states_[rank.value].issued[*theirs]) return;
      members.emplace_back(rank.value, *theirs);
    }
    for (const auto& [rank, k] : members) states_[rank].ended[k] = true;
  }

  bool same_exchange(std::uint32_t r, const Op& a, const Op& b, GroupId group) const {
    return is_exchange(a.work) && schedule_.group_of({r}, a) == group && a.work == b.work &&
           a.pass == b.pass && a.layer == b.layer && a.microbatch == b.microbatch &&
           a.chunk == b.chunk;
  }

  /// Nothing when the rank lists no such op; else whether all of them have ended.
  std::optional<bool> all_ended(std::uint32_t r, const Test& test) const {
    std::optional<bool> out;
    for (std::uint32_t k = 0; k < program(r).size(); ++k) {
      if (test(program(r)[k])) out = out.value_or(true) && states_[r].ended[k];
    }
    return out;
  }
  /// The first kind that the rank lists decides.
  std::optional<bool> first_of(std::uint32_t r, const std::vector<Test>& kinds) const {
    for (const Test& kind : kinds) {
      if (const auto ended = all_ended(r, kind)) return ended;
    }
    return std::nullopt;
  }
  static Test any_chunk(Work work, Pass pass, int layer, int microbatch) {
    return [=](const Op& op) {
      return op.work == work && op.pass == pass && op.layer == layer && op.microbatch == microbatch;
    };
  }
  static Test chunk(Work work, Pass pass, const Op& like) {
    return [=](const Op& op) {
      return op.work == work && op.pass == pass && op.layer == like.layer &&
             op.microbatch == like.microbatch && op.chunk == like.chunk;
    };
  }

  std::vector<Test> left_below(int l, int j) const {
    return {any_chunk(Work::combine, Pass::forward, l - 1, j),
            any_chunk(Work::expert, Pass::forward, l - 1, j),
            any_chunk(Work::attention, Pass::forward, l - 1, j)};
  }
  std::vector<Test> into(int l, int j) const {
    std::vector<Test> out = left_below(l, j);
    out.insert(out.begin(), any_chunk(Work::stage, Pass::forward, l, j));
    return out;
  }
  std::vector<Test> gradient_of_output(int l, int j) const {
    std::vector<Test> out = {any_chunk(Work::stage, Pass::backward, l + 1, j),
                             any_chunk(Work::attention, Pass::backward, l + 1, j)};
    if (l + 1 == schedule_.layers) out.push_back(any_chunk(Work::head, Pass::backward, l, j));
    return out;
  }

  bool attention_may_run(std::uint32_t r, const Op& op) const {
    const int l = op.layer;
    const int j = op.microbatch;
    if (op.pass == Pass::forward) return first_of(r, into(l, j)).value_or(l == 0);
    std::vector<Test> gradient = gradient_of_output(l, j);
    const auto lists = [&](Work work, Pass pass) {
      return all_ended(r, any_chunk(work, pass, l, j)).has_value();
    };
    const bool before_experts =
        lists(Work::dispatch, Pass::recompute) ||
        (!lists(Work::dispatch, Pass::forward) && lists(Work::expert, Pass::recompute));
    if (op.pass == Pass::backward || !before_experts) {
      gradient.insert(gradient.begin(), {any_chunk(Work::combine, Pass::backward, l, j),
                                         any_chunk(Work::expert, Pass::backward, l, j)});
    }
    if (op.pass == Pass::recompute) {
      return first_of(r, into(l, j)).value_or(true) && first_of(r, gradient).value_or(true);
    }
    return first_of(r, gradient).value_or(false) &&
           all_ended(r, any_chunk(Work::attention, Pass::recompute, l, j)).value_or(true);
  }

  bool expert_may_run(std::uint32_t r, const Op& op) const {
    const Test attention = any_chunk(Work::attention, Pass::forward, op.layer, op.microbatch);
    const Test dispatched = chunk(Work::dispatch, Pass::forward, op);
    if (op.pass == Pass::forward) return first_of(r, {dispatched, attention}).value_or(false);
    std::vector<Test> gradient = gradient_of_output(op.layer, op.microbatch);
    gradient.insert(gradient.begin(), chunk(Work::dispatch, Pass::backward, op));
    if (op.pass == Pass::recompute) {
      const Test sent_again = chunk(Work::dispatch, Pass::recompute, op);
      if (const auto again = all_ended(r, sent_again)) return *again;
      const Test computed_again =
          any_chunk(Work::attention, Pass::recompute, op.layer, op.microbatch);
      const auto input = all_ended(r, dispatched);
      if (const auto again = all_ended(r, computed_again); again && !input) return *again;
      return first_of(r, {dispatched, attention}).value_or(true) &&
             first_of(r, gradient).value_or(true);
    }
    return first_of(r, gradient).value_or(false) &&
           all_ended(r, chunk(Work::expert, Pass::recompute, op)).value_or(true);
  }

  bool exchange_may_run(std::uint32_t r, const Op& op) const {
    const bool backward = op.pass == Pass::backward;
    const int l = op.layer;
    const int j = op.microbatch;
    switch (op.work) {
      case Work::dispatch:
        return (backward ? first_of(r, gradient_of_output(l, j))
                         : all_ended(r, any_chunk(Work::attention, op.pass, l, j)))
            .value_or(true);
      case Work::combine:
        return all_ended(r, chunk(Work::expert, op.pass, op)).value_or(true);
      default:
        return (backward ? all_ended(r, any_chunk(Work::attention, Pass::backward, l, j))
                         : first_of(r, left_below(l, j)))
            .value_or(true);
    }
  }

  bool sum_may_run(std::uint32_t r, const Op& op) const {
    const bool last = op.layer + 1 == schedule_.layers;
    const auto summands = [&](const Op& other) {
      if (other.pass != Pass::backward) return false;
      switch (op.work) {
        case Work::reduce_shared:
          return (other.work == Work::attention && other.layer == op.layer) ||
                 (other.work == Work::head && last);
        case Work::reduce_experts:
          return other.work == Work::expert && other.layer == op.layer;
        default:
          return other.work == Work::attention || other.work == Work::head ||
                 other.work == Work::expert || other.work == Work::reduce_shared ||
                 other.work == Work::reduce_experts;
      }
    };
    const auto earlier_phase = [&](const Op& other) {
      return other.work == op.work && other.layer == op.layer && other.chunk < op.chunk;
    };
    return all_ended(r, summands).value_or(op.work == Work::reduce_norm) &&
           all_ended(r, earlier_phase).value_or(true);
  }

  bool inputs_are_there(std::uint32_t r, const Op& op) const {
    switch (op.work) {
      case Work::attention:
        return attention_may_run(r, op);
      case Work::expert:
        return expert_may_run(r, op);
      case Work::head:
        if (op.pass == Pass::backward) {
          return all_ended(r, any_chunk(Work::head, Pass::forward, op.layer, op.microbatch))
              .value_or(false);
        }
        return first_of(r, left_below(schedule_.layers, op.microbatch)).value_or(false);
      case Work::dispatch:
      case Work::combine:
      case Work::stage:
        return exchange_may_run(r, op);
      case Work::step:
        return all_ended(r, [](const Op& other) { return other.work == Work::reduce_norm; })
            .value_or(false);
      case Work::gather:
        return all_ended(r, [](const Op& other) { return other.work == Work::step; })
            .value_or(false);
      default:
        return sum_may_run(r, op);
    }
  }

  const Schedule& schedule_;
  std::vector<State> states_;
};

}  // namespace

bool runs_to_the_end(const Schedule& schedule) { return Run(schedule).to_the_end(); }

bool lists_what_is_needed(const Schedule& mutant, const Schedule& original) {
  for (std::uint32_t r = 0; r < original.ranks.size(); ++r) {
    std::multiset<Op> left(original.program_of({r}).begin(), original.program_of({r}).end());
    for (const Op& op : mutant.program_of({r})) {
      const auto found = left.find(op);
      if (found == left.end()) return false;  // unknown or twice
      left.erase(found);
    }
    for (const Op& op : mutant.program_of({r})) {
      Op backward = op;
      backward.pass = Pass::backward;
      const auto& listed = mutant.program_of({r});
      const auto lists = [&](const Op& other) {
        return std::find(listed.begin(), listed.end(), other) != listed.end();
      };
      if (op.pass != Pass::recompute) continue;
      if (!is_exchange(op.work) && !lists(backward)) return false;
      if (op.work == Work::dispatch &&
          lists({Work::attention, Pass::forward, 0, op.layer, op.microbatch, 0}) &&
          !lists({Work::attention, Pass::recompute, 0, op.layer, op.microbatch, 0})) {
        return false;
      }
      if (op.work == Work::combine &&
          lists({Work::expert, Pass::forward, 0, op.layer, op.microbatch, op.chunk}) &&
          !lists({Work::expert, Pass::recompute, 0, op.layer, op.microbatch, op.chunk})) {
        return false;
      }
    }
    const auto& placed = original.replicas[original.ranks[r].replica].expert_on;
    for (const Op& op : left) {
      const auto& holders = placed[op.layer];
      const bool holds = std::find(holders.begin(), holders.end(), RankId{r}) != holders.end();
      const bool idle = op.work == Work::expert && !holds;
      if (op.pass != Pass::recompute && !idle) return false;
    }
  }
  return true;
}

}  // namespace zebroid::testing
