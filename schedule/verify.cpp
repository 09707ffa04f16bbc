#include "schedule/verify.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "core/error.hpp"
#include "schedule/exchanges.hpp"
#include "schedule/order_graph.hpp"
#include "schedule/verify_training.hpp"

namespace zebroid {
namespace {

std::string op_name(const Schedule& schedule, RankId rank, std::uint32_t op) {
  return fmt::format("rank {} op {} ({})", rank.value, op, name_of(schedule.program_of(rank)[op]));
}

// --- Numbers that must exist before anything else can be asked. ---

bool pass_is_legal(const Op& op) {
  switch (op.work) {
    case Work::attention:
    case Work::expert:
    case Work::dispatch:
    case Work::combine:
      return true;
    case Work::head:
    case Work::stage:
      return op.pass != Pass::recompute;
    default:
      return op.pass == Pass::backward;
  }
}

/// Chunks an op may name: those of a microbatch, or the three phases of a sum over several GPU
/// kinds.
std::uint32_t chunks_of(const Schedule& schedule, const Op& op) {
  constexpr std::uint32_t sum_phases = 3;
  if (is_sum(op.work)) return sum_phases;
  const bool chunked =
      op.work == Work::dispatch || op.work == Work::expert || op.work == Work::combine;
  return chunked ? schedule.chunks : 1;
}

class StructureCheck {
 public:
  explicit StructureCheck(const Schedule& schedule) : schedule_(schedule) {}

  FaultList run() {
    if (schedule_.layers == 0 || schedule_.microbatches == 0 || schedule_.chunks == 0 ||
        schedule_.ranks.empty()) {
      faults_.add("a schedule needs at least one layer, microbatch, chunk and rank");
      return std::move(faults_);
    }
    if (is_too_large()) return std::move(faults_);
    check_groups();
    for (std::uint32_t r = 0; r < schedule_.ranks.size() && !faults_.many(); ++r) check_rank(r);
    check_gpus();
    for (std::uint32_t v = 0; v < schedule_.replicas.size(); ++v) check_replica(v);
    return std::move(faults_);
  }

 private:
  /// Ranks share programs, so that a small file may ask for more than fits in memory.
  bool is_too_large() {
    constexpr std::uint64_t most_ops = 50'000'000;
    std::uint64_t ops = 0;
    for (const Rank& rank : schedule_.ranks) {
      if (rank.program < schedule_.programs.size()) ops += schedule_.programs[rank.program].size();
    }
    if (ops > most_ops) {
      faults_.add(
          fmt::format("{} ops on all ranks together, at most {} can be handled", ops, most_ops));
    }
    return ops > most_ops;
  }

  void check_groups() {
    for (std::size_t g = 0; g < schedule_.groups.size(); ++g) {
      const auto& group = schedule_.groups[g];
      if (group.empty()) faults_.add(fmt::format("group {} has no members", g));
      for (std::size_t i = 0; i < group.size(); ++i) {
        if (group[i].value >= schedule_.ranks.size()) {
          faults_.add(fmt::format("group {}: there is no rank {}", g, group[i].value));
        }
        if (i > 0 && group[i] <= group[i - 1]) {
          faults_.add(
              fmt::format("group {}: members are not ascending at rank {}", g, group[i].value));
        }
      }
    }
  }

  void check_rank(std::uint32_t r) {
    const Rank& rank = schedule_.ranks[r];
    if (rank.replica >= schedule_.replicas.size()) {
      faults_.add(fmt::format("rank {}: there is no replica {}", r, rank.replica));
    }
    for (const GroupId group : rank.groups) {
      const bool exists = group.value < schedule_.groups.size();
      if (!exists || !std::binary_search(schedule_.groups[group.value].begin(),
                                         schedule_.groups[group.value].end(), RankId{r})) {
        faults_.add(fmt::format("rank {} is not a member of its group {}", r, group.value));
      }
    }
    if (rank.program >= schedule_.programs.size()) {
      faults_.add(fmt::format("rank {}: there is no program {}", r, rank.program));
      return;
    }
    const Program& program = schedule_.programs[rank.program];
    for (std::uint32_t i = 0; i < program.size(); ++i) check_op(r, i, program[i]);
    check_duplicates(r, program);
  }

  void check_op(std::uint32_t r, std::uint32_t i, const Op& op) {
    const auto complain = [&](std::string_view what) {
      faults_.add(fmt::format("{}: {}", op_name(schedule_, {r}, i), what));
    };
    if (op.layer >= schedule_.layers) complain(fmt::format("there is no layer {}", op.layer));
    if (op.microbatch >= schedule_.microbatches) {
      complain(fmt::format("there is no microbatch {}", op.microbatch));
    }
    if (op.chunk >= chunks_of(schedule_, op))
      complain(fmt::format("there is no chunk {}", op.chunk));
    if (!pass_is_legal(op)) {
      complain(fmt::format("{} has no {} pass", name_of(op.work), name_of(op.pass)));
    }
    if (op.work == Work::head && op.layer + 1U != schedule_.layers) {
      complain("the head belongs to the last layer");
    }
    if (op.work == Work::stage && op.layer == 0) complain("nothing lies below layer 0");
    const bool once_per_step = op.work == Work::step || op.work == Work::gather || is_sum(op.work);
    if (once_per_step && op.microbatch != 0) complain("it comes once a step, as microbatch 0");
    const bool of_no_layer = op.work == Work::step || op.work == Work::reduce_norm;
    if (of_no_layer && op.layer != 0) complain("it is of no layer, which is written as layer 0");
    if (!is_exchange(op.work) && op.slot != 0) complain("a compute op runs on slot 0");
    if (is_exchange(op.work) && (op.slot == 0 || op.slot > schedule_.ranks[r].groups.size())) {
      complain(fmt::format("the rank has no group in slot {}", op.slot));
    }
  }

  void check_duplicates(std::uint32_t r, const Program& program) {
    Program sorted = program;
    for (Op& op : sorted) op.slot = 0;
    std::sort(sorted.begin(), sorted.end());
    for (auto at = sorted.begin(); (at = std::adjacent_find(at, sorted.end())) != sorted.end();
         ++at) {
      faults_.add(fmt::format("rank {}: {} is listed twice", r, name_of(*at)));
    }
  }

  void check_gpus() {
    std::vector<GpuId> gpus;
    for (const Rank& rank : schedule_.ranks) gpus.push_back(rank.gpu);
    std::sort(gpus.begin(), gpus.end());
    const auto twice = std::adjacent_find(gpus.begin(), gpus.end());
    if (twice != gpus.end()) faults_.add(fmt::format("two ranks on GPU {}", twice->value));
  }

  void check_replica(std::uint32_t v) {
    const auto& placed = schedule_.replicas[v].expert_on;
    if (placed.size() != schedule_.layers) {
      faults_.add(fmt::format("replica {} places experts of {} layers, expected {}", v,
                              placed.size(), schedule_.layers));
      return;
    }
    for (std::size_t l = 0; l < placed.size(); ++l) {
      if (!placed[l].empty() && placed[l].size() != schedule_.experts) {
        faults_.add(fmt::format("replica {} layer {} places {} experts, expected {}", v, l,
                                placed[l].size(), schedule_.experts));
      }
      for (const RankId rank : placed[l]) {
        if (rank.value >= schedule_.ranks.size() || schedule_.ranks[rank.value].replica != v) {
          faults_.add(
              fmt::format("replica {} layer {} places an expert on rank {}, which it does not have",
                          v, l, rank.value));
        }
      }
    }
  }

  const Schedule& schedule_;
  FaultList faults_;
};

// --- Every exchange has one op on each member of its group; every op finds what it reads. ---

void check_matching(const Schedule& schedule, const Exchanges& exchanges, FaultList& faults) {
  for (const Exchange& exchange : exchanges.all) {
    const auto& group = schedule.groups[exchange.group.value];
    std::vector<std::uint32_t> missing;
    auto member = exchange.members.begin();  // both ascend
    for (const RankId rank : group) {
      while (member != exchange.members.end() && member->rank < rank) ++member;
      if (member == exchange.members.end() || member->rank != rank) missing.push_back(rank.value);
    }
    if (missing.empty()) continue;
    const Exchange::Member& first = exchange.members.front();
    faults.add(fmt::format("{} waits forever: rank{} {} of group {} never issue{} it",
                           op_name(schedule, first.rank, first.op), missing.size() > 1 ? "s" : "",
                           fmt::join(missing, ", "), exchange.group.value,
                           missing.size() > 1 ? "" : "s"));
  }
}

void check_reads(const Schedule& schedule, const std::vector<Reads>& reads, FaultList& faults) {
  for (std::uint32_t r = 0; r < schedule.ranks.size(); ++r) {
    for (const std::uint32_t i : reads[schedule.ranks[r].program].lacking) {
      faults.add(fmt::format("{} reads something that no op of its rank writes",
                             op_name(schedule, {r}, i)));
    }
  }
}

// --- No cycle in data, stream order, launch order and rendezvous. ---

std::string name_of_node(const Schedule& schedule, const Exchanges& exchanges,
                         const OrderGraph& graph, std::uint32_t node) {
  if (graph.is_op(node)) {
    const auto [rank, op] = graph.op_of(node);
    return op_name(schedule, rank, op);
  }
  const Exchange& exchange = exchanges.all[graph.exchange_of(node)];
  return fmt::format("end of {} in group {}", name_of(exchange.op), exchange.group.value);
}

/// Follows unfinished predecessors until a node repeats; what lies between is a cycle.
std::vector<std::uint32_t> find_cycle(const OrderGraph& graph,
                                      const std::vector<std::uint32_t>& in_order) {
  std::vector<char> done(graph.size(), 0);
  for (const std::uint32_t node : in_order) done[node] = 1;
  std::vector<std::uint32_t> before(graph.size(), UINT32_MAX);
  std::uint32_t node = UINT32_MAX;
  for (std::uint32_t n = 0; n < graph.size(); ++n) {
    if (done[n] != 0) continue;
    for (const std::uint32_t next : graph.after(n)) before[next] = n;
    if (node == UINT32_MAX) node = n;
  }
  for (std::size_t steps = 0; steps < graph.size(); ++steps) node = before[node];
  std::vector<std::uint32_t> out;
  for (std::uint32_t at = node; out.empty() || at != node; at = before[at]) out.push_back(at);
  return out;
}

void check_order(const Schedule& schedule, const Exchanges& exchanges,
                 const std::vector<Reads>& reads, FaultList& faults) {
  const OrderGraph graph(schedule, exchanges, reads);
  const std::vector<std::uint32_t> in_order = graph.in_order();
  if (in_order.size() == graph.size()) return;
  constexpr std::size_t most_shown = 12;
  std::vector<std::uint32_t> cycle = find_cycle(graph, in_order);
  const bool all_shown = cycle.size() <= most_shown;
  if (!all_shown) cycle.resize(most_shown);
  std::vector<std::string> names;
  for (const std::uint32_t node : cycle) {
    names.push_back(name_of_node(schedule, exchanges, graph, node));
  }
  std::reverse(names.begin(), names.end());
  faults.add(fmt::format("deadlock: {}{} -> {}", all_shown ? "" : "... -> ",
                         fmt::join(names, " -> "), names.front()));
}

}  // namespace

std::vector<Fault> verify(const Schedule& schedule) {
  FaultList faults = StructureCheck(schedule).run();
  if (!faults.empty()) return faults.take();
  const Exchanges exchanges = match_exchanges(schedule);
  std::vector<Reads> program_reads;
  program_reads.reserve(schedule.programs.size());
  for (const Program& program : schedule.programs) {
    program_reads.push_back(reads(schedule, program));
  }
  check_matching(schedule, exchanges, faults);
  check_reads(schedule, program_reads, faults);
  check_training_step(schedule, faults);
  check_order(schedule, exchanges, program_reads, faults);
  return faults.take();
}

void refuse_faults(const Schedule& schedule, const std::string& name) {
  const std::vector<Fault> faults = verify(schedule);
  if (faults.empty()) return;
  std::string message = name + ": the schedule is refused:";
  for (const Fault& fault : faults) message += "\n  " + fault.message;
  throw Error(ErrorKind::input, message);
}

}  // namespace zebroid
