#include "schedule/verify_training.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <utility>

namespace zebroid {
namespace {

/// Which ops each program lists, whatever the slot.
class Listed {
 public:
  explicit Listed(const Program& program) : ops_(program) {
    std::sort(ops_.begin(), ops_.end(), less);
  }
  /// The op as listed (with its slot), or nothing.
  const Op* find(Op op) const {
    const auto at = std::lower_bound(ops_.begin(), ops_.end(), op, less);
    return at != ops_.end() && !less(op, *at) ? &*at : nullptr;
  }
  bool has(const Op& op) const { return find(op) != nullptr; }

 private:
  static bool less(Op a, Op b) {
    a.slot = b.slot = 0;
    return a < b;
  }
  std::vector<Op> ops_;
};

/// One sum by its phases: a ring in each group, a ring of ranks out of such groups, a chain from
/// the first rank of a group to the others. A rank without a phase keeps what it has.
class PhasedSum {
 public:
  static constexpr std::uint16_t phases = 3;
  using Group = std::vector<RankId>;
  /// The group with which a rank takes part in a phase; nothing when it does not.
  using GroupOf = std::function<const Group*(std::uint16_t phase, RankId)>;

  PhasedSum(std::size_t ranks, GroupOf group_of) : ranks_(ranks), group_of_(std::move(group_of)) {}

  /// A rank that ends with the share of rank `of` other than once.
  struct Mistake {
    RankId rank, of;
    std::size_t times;
  };
  /// The first of `holders` that does not end with the share of each of them once. It asks for
  /// groups O(ranks) times.
  std::optional<Mistake> mistake(const std::vector<RankId>& holders) const {
    std::vector<std::size_t> shares(ranks_, 0);  // [first rank of a ring]
    for (const RankId rank : holders) ++shares[first(within, rank).value];
    std::vector<char> is_whole(ranks_, 0);  // [first rank of a ring across]
    for (const RankId rank : holders) {
      const RankId source = first(onward, rank);
      char& whole = is_whole[first(across, source).value];
      if (whole == 0 && !has_all(source, shares, holders.size())) return wrong(rank, holders);
      whole = 1;
    }
    return std::nullopt;
  }

 private:
  enum : std::uint16_t { within, across, onward };

  std::span<const RankId> members(std::uint16_t phase, const RankId& rank) const {
    const Group* group = group_of_(phase, rank);
    return group == nullptr ? std::span(&rank, 1) : std::span(*group);
  }
  RankId first(std::uint16_t phase, RankId rank) const { return members(phase, rank).front(); }

  /// Whether the rings that `rank` joins in the ring across have `all` shares, each once.
  bool has_all(RankId rank, const std::vector<std::size_t>& shares, std::size_t all) const {
    std::set<RankId> rings;
    std::size_t sum = 0;
    for (const RankId member : members(across, rank)) {
      const RankId ring = first(within, member);
      const bool is_new = rings.insert(ring).second;
      if (!is_new && shares[ring.value] > 0) return false;
      sum += shares[ring.value];
    }
    return sum == all;
  }

  Mistake wrong(RankId rank, const std::vector<RankId>& holders) const {
    std::multiset<RankId> rings;
    const RankId source = first(onward, rank);
    for (const RankId member : members(across, source)) rings.insert(first(within, member));
    for (const RankId of : holders) {
      const std::size_t times = rings.count(first(within, of));
      if (times != 1) return {rank, of, times};
    }
    return {rank, rank, 0};
  }

  std::size_t ranks_;
  GroupOf group_of_;
};

class TrainingStepCheck {
 public:
  TrainingStepCheck(const Schedule& schedule, FaultList& faults)
      : schedule_(schedule), faults_(faults), ranks_of_(schedule.replicas.size()) {
    for (const Program& program : schedule.programs) {
      listed_.emplace_back(program);
      auto& layers = attention_in_.emplace_back();
      for (const Op& op : program) {
        if (op.work == Work::attention && op.pass != Pass::recompute) layers.insert(op.layer);
      }
    }
    for (std::uint32_t r = 0; r < schedule.ranks.size(); ++r) {
      ranks_of_[schedule.ranks[r].replica].push_back({r});
    }
    attention_on_.assign(schedule.replicas.size(),
                         std::vector<std::vector<RankId>>(schedule.layers));
  }

  void run() {
    for (std::uint32_t v = 0; v < schedule_.replicas.size(); ++v) {
      for (std::uint16_t l = 0; l < schedule_.layers; ++l) {
        check_attention(v, l);
        check_sequences(v, l);
        if (l > 0) check_stages(v, l);
        check_experts(v, l);
        if (faults_.many()) return;
      }
    }
    for (std::uint32_t r = 0; r < schedule_.ranks.size(); ++r) check_purpose(r);
    check_owners();
    check_shared_sums();
    check_expert_sums();
    check_gathers();
    check_norm_and_step();
  }

 private:
  const Listed& listed(RankId rank) const { return listed_[schedule_.ranks[rank.value].program]; }
  void require(RankId rank, const Op& op, std::string_view why) {
    if (!listed(rank).has(op)) {
      faults_.add(fmt::format("rank {} lacks {}: {}", rank.value, name_of(op), why));
    }
  }
  static Op op_of(Work work, Pass pass, std::uint16_t layer, std::uint16_t microbatch,
                  std::uint16_t chunk = 0) {
    return {work, pass, 0, layer, microbatch, chunk};
  }

  /// A rank that runs a layer's attention for one microbatch runs it for all, forward and backward.
  void check_attention(std::uint32_t v, std::uint16_t l) {
    for (const RankId rank : ranks_of_[v]) {
      if (faults_.many()) return;
      if (!attention_in_[schedule_.ranks[rank.value].program].contains(l)) continue;
      attention_on_[v][l].push_back(rank);
      if (schedule_.ranks[rank.value].sequences == 0) {
        faults_.add(
            fmt::format("rank {} runs attention of layer {} but owns no sequences", rank.value, l));
      }
      for (std::uint16_t j = 0; j < schedule_.microbatches; ++j) {
        for (const Pass pass : {Pass::forward, Pass::backward}) {
          require(rank, op_of(Work::attention, pass, l, j), "its layer is incomplete");
          if (l + 1U == schedule_.layers) {
            require(rank, op_of(Work::head, pass, l, j), "the last layer's output needs the head");
          }
        }
      }
    }
  }

  /// Nothing is listed that has no use: experts of a layer without any, parameters that are not
  /// there, recomputation without its backward.
  void check_purpose(std::uint32_t r) {
    const auto& expert_on = schedule_.replicas[schedule_.ranks[r].replica].expert_on;
    for (const Op& op : schedule_.program_of({r})) {
      const bool for_experts =
          op.work == Work::dispatch || op.work == Work::expert || op.work == Work::combine;
      if (for_experts && expert_on[op.layer].empty()) {
        faults_.add(fmt::format("rank {} lists {}, but that layer has no experts", r, name_of(op)));
      }
      const auto& held = attention_in_[schedule_.ranks[r].program];
      const bool for_attention = op.work == Work::gather || op.work == Work::head;
      if (for_attention && !held.contains(op.layer)) {
        faults_.add(fmt::format("rank {} lists {}, but it runs no attention of that layer", r,
                                name_of(op)));
      }
      if (op.pass == Pass::recompute) check_recomputation({r}, op);
    }
  }
  /// A recomputed op needs its backward, a recomputed exchange what its senders computed again.
  void check_recomputation(RankId rank, const Op& op) {
    if (!is_exchange(op.work)) {
      Op backward = op;
      backward.pass = Pass::backward;
      return require(rank, backward, "its recomputation is listed");
    }
    const bool to_experts = op.work == Work::dispatch;
    const std::uint16_t chunk = to_experts ? std::uint16_t{0} : op.chunk;
    Op sent = op_of(to_experts ? Work::attention : Work::expert, Pass::forward, op.layer,
                    op.microbatch, chunk);
    if (!listed(rank).has(sent)) return;  // it only receives
    sent.pass = Pass::recompute;
    require(rank, sent, fmt::format("{} sends it", name_of(op)));
  }

  /// Sequences that a rank owns are worked on.
  void check_owners() {
    std::set<RankId> workers;
    for (const auto& replica : attention_on_) {
      for (const auto& ranks : replica) workers.insert(ranks.begin(), ranks.end());
    }
    for (std::uint32_t r = 0; r < schedule_.ranks.size(); ++r) {
      if (schedule_.ranks[r].sequences > 0 && !workers.contains({r})) {
        faults_.add(fmt::format("rank {} owns {} sequences but runs no attention", r,
                                schedule_.ranks[r].sequences));
      }
    }
    for (std::uint16_t l = 0; l < schedule_.layers; ++l) {
      for (std::size_t v = 1; v < schedule_.replicas.size(); ++v) {
        if (schedule_.replicas[v].expert_on[l].empty() !=
            schedule_.replicas[0].expert_on[l].empty()) {
          faults_.add(fmt::format("layer {} has experts in one of replicas 0 and {} only", l, v));
        }
      }
    }
  }

  /// All layers of a replica see the same sequences in each microbatch.
  void check_sequences(std::uint32_t v, std::uint16_t l) {
    const auto held = [&](std::uint16_t layer, std::uint16_t j) {
      std::uint64_t sum = 0;
      for (const RankId rank : attention_on_[v][layer]) {
        sum += sequences_in(schedule_.ranks[rank.value].sequences, j, schedule_.microbatches);
      }
      return sum;
    };
    if (attention_on_[v][l].empty()) {
      faults_.add(fmt::format("replica {}: no rank runs attention of layer {}", v, l));
      return;
    }
    for (std::uint16_t j = 0; j < schedule_.microbatches; ++j) {
      if (held(l, j) != held(0, j)) {
        faults_.add(fmt::format(
            "replica {}: layer {} holds {} sequences of microbatch {}, layer 0 holds {}", v, l,
            held(l, j), j, held(0, j)));
      }
    }
  }

  /// The op's group on `rank` contains all of `others`.
  void require_reach(RankId rank, const Op& op, const std::vector<RankId>& others,
                     std::string_view why) {
    const Op* found = listed(rank).find(op);
    if (found == nullptr) {
      faults_.add(fmt::format("rank {} lacks {}: {}", rank.value, name_of(op), why));
      return;
    }
    const auto& group = schedule_.groups[schedule_.group_of(rank, *found).value];
    for (const RankId other : others) {
      if (!std::binary_search(group.begin(), group.end(), other)) {
        faults_.add(fmt::format("rank {}: {} does not reach rank {}: {}", rank.value, name_of(op),
                                other.value, why));
      }
    }
  }

  void check_stages(std::uint32_t v, std::uint16_t l) {
    const auto& below = attention_on_[v][l - 1U];
    const auto& here = attention_on_[v][l];
    if (below == here) return;
    for (std::uint16_t j = 0; j < schedule_.microbatches; ++j) {
      for (const Pass pass : {Pass::forward, Pass::backward}) {
        const Op op = op_of(Work::stage, pass, l, j);
        for (const RankId rank : here)
          require_reach(rank, op, below, "the stage below is elsewhere");
      }
    }
  }

  void check_experts(std::uint32_t v, std::uint16_t l) {
    const std::set<RankId> holders(schedule_.replicas[v].expert_on[l].begin(),
                                   schedule_.replicas[v].expert_on[l].end());
    if (holders.empty()) return;
    for (std::uint16_t j = 0; j < schedule_.microbatches; ++j) {
      for (std::uint16_t c = 0; c < schedule_.chunks && !faults_.many(); ++c) {
        for (const Pass pass : {Pass::forward, Pass::backward}) {
          for (const RankId rank : holders) {
            require(rank, op_of(Work::expert, pass, l, j, c), "it holds experts of that layer");
          }
          check_tokens_travel(v, op_of(Work::dispatch, pass, l, j, c), holders);
        }
      }
    }
  }

  void check_tokens_travel(std::uint32_t v, Op op, const std::set<RankId>& holders) {
    for (const RankId source : attention_on_[v][op.layer]) {
      std::vector<RankId> others;
      for (const RankId holder : holders) {
        if (holder != source) others.push_back(holder);
      }
      if (others.empty()) continue;
      for (const Work work : {Work::dispatch, Work::combine}) {
        op.work = work;
        require_reach(source, op, others, "its tokens go to experts there");
      }
    }
  }

  /// All of `ranks` take part in `work` of the layer and end with the sum over all of them.
  void require_sum(Work work, std::uint16_t l, const std::vector<RankId>& ranks) {
    if (ranks.size() < 2) return;
    const auto group_of = [&](std::uint16_t phase, RankId rank) {
      const Op* op = listed(rank).find(op_of(work, Pass::backward, l, 0, phase));
      return op == nullptr ? nullptr : &schedule_.groups[schedule_.group_of(rank, *op).value];
    };
    bool complete = true;
    for (const RankId rank : ranks) {
      std::uint16_t phase = 0;
      while (phase < PhasedSum::phases && group_of(phase, rank) == nullptr) ++phase;
      if (phase < PhasedSum::phases) continue;
      complete = false;
      faults_.add(fmt::format("rank {} lacks {}: other ranks hold the same parameters", rank.value,
                              name_of(op_of(work, Pass::backward, l, 0))));
    }
    if (!complete) return;
    if (const auto wrong = PhasedSum(schedule_.ranks.size(), group_of).mistake(ranks)) {
      faults_.add(fmt::format("{} of layer {} ends on rank {} {} what rank {} adds", name_of(work),
                              l, wrong->rank.value,
                              wrong->times == 0 ? "without" : "with more than once",
                              wrong->of.value));
    }
  }

  void check_shared_sums() {
    for (std::uint16_t l = 0; l < schedule_.layers; ++l) {
      std::vector<RankId> holders;
      for (const auto& replica : attention_on_) {
        holders.insert(holders.end(), replica[l].begin(), replica[l].end());
      }
      require_sum(Work::reduce_shared, l, holders);
    }
  }

  void check_expert_sums() {
    if (schedule_.replicas.size() < 2) return;
    for (std::uint16_t l = 0; l < schedule_.layers; ++l) {
      std::set<RankId> holders;
      for (const Replica& replica : schedule_.replicas) {
        holders.insert(replica.expert_on[l].begin(), replica.expert_on[l].end());
      }
      require_sum(Work::reduce_experts, l, {holders.begin(), holders.end()});
    }
  }

  /// Ranks that gather one layer share its optimizer states, and so those of every layer that more
  /// than one of them holds.
  void check_gathers() {
    std::set<GroupId> groups;
    for (std::uint32_t r = 0; r < schedule_.ranks.size(); ++r) {
      for (const Op& op : schedule_.program_of({r})) {
        if (op.work == Work::gather) groups.insert(schedule_.group_of({r}, op));
      }
    }
    for (const GroupId group : groups) {
      std::map<std::uint16_t, std::vector<RankId>> holders;
      for (const RankId rank : schedule_.groups[group.value]) {
        for (const std::uint16_t l : attention_in_[schedule_.ranks[rank.value].program]) {
          holders[l].push_back(rank);
        }
      }
      for (const auto& [l, ranks] : holders) {
        for (const RankId rank : ranks) {
          if (ranks.size() > 1) {
            require(rank, op_of(Work::gather, Pass::backward, l, 0), "it gathers another layer");
          }
        }
      }
    }
  }

  void check_norm_and_step() {
    std::vector<RankId> all;
    for (std::uint32_t r = 0; r < schedule_.ranks.size(); ++r) {
      all.push_back({r});
      const Program& program = schedule_.program_of({r});
      const auto steps = std::count_if(program.begin(), program.end(),
                                       [](const Op& op) { return op.work == Work::step; });
      if (steps != 1)
        faults_.add(fmt::format("rank {} has {} optimizer steps, expected 1", r, steps));
    }
    require_sum(Work::reduce_norm, 0, all);
  }

  const Schedule& schedule_;
  FaultList& faults_;
  std::vector<Listed> listed_;                                  // [programs]
  std::vector<std::set<std::uint16_t>> attention_in_;           // [programs] layers
  std::vector<std::vector<RankId>> ranks_of_;                   // [replicas]
  std::vector<std::vector<std::vector<RankId>>> attention_on_;  // [replicas][layers]
};

}  // namespace

void check_training_step(const Schedule& schedule, FaultList& faults) {
  TrainingStepCheck(schedule, faults).run();
}

}  // namespace zebroid
