#include "planner/trials.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "core/error.hpp"
#include "planner/listing.hpp"
#include "schedule/files.hpp"
#include "schedule/verify.hpp"

namespace zebroid {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

}  // namespace

Bytes capacity_of(const Scenario& scenario, const std::vector<Gpu>& gpus, const Rank& rank) {
  return scenario.cluster.kinds[gpus[rank.gpu.value].kind].memory;
}

std::string count_of(std::size_t n, std::string_view noun, std::string_view plural) {
  return fmt::format("{} {}{}", n, noun, n == 1 ? "" : plural);
}

std::string lack_of_memory(const Schedule& schedule, const std::vector<MemoryUse>& memory,
                           const Scenario& scenario) {
  const std::vector<Gpu> gpus = gpus_of(scenario.cluster);
  std::size_t worst = 0;
  Bytes excess{-infinity};
  for (std::size_t r = 0; r < memory.size(); ++r) {
    const Bytes here = memory[r].total() - capacity_of(scenario, gpus, schedule.ranks[r]);
    if (here > excess) {
      excess = here;
      worst = r;
    }
  }
  if (excess.value <= 0) return "";
  constexpr double gib = 1024.0 * 1024.0 * 1024.0;
  const Rank& rank = schedule.ranks[worst];
  const MemoryUse& use = memory[worst];
  const auto gibibytes_of = [](Bytes bytes) { return bytes.value / gib; };
  const std::string moving =
      use.activations.value > 0
          ? fmt::format("activations {:.2f}, receive buffers {:.2f}, ",
                        gibibytes_of(use.activations), gibibytes_of(use.receive_buffers))
          : "";
  return fmt::format(
      "rank {} ({}, {}) lacks {:.0f} bytes: it needs {}{:.2f} GiB (weights {:.2f}, gradients "
      "{:.2f}, "
      "optimizer {:.2f}, {}runtime {:.2f}) of {:.2f} GiB",
      worst, scenario.cluster.kinds[gpus[rank.gpu.value].kind].name, roles(schedule)[worst],
      excess.value, moving.empty() ? "at least " : "", gibibytes_of(use.total()),
      gibibytes_of(use.weights), gibibytes_of(use.gradients), gibibytes_of(use.optimizer), moving,
      gibibytes_of(use.runtime), gibibytes_of(capacity_of(scenario, gpus, rank)));
}

bool Trials::admits(std::uint32_t microbatches, std::uint32_t chunks) {
  constexpr double most_ops = 50e6;
  constexpr std::size_t most_planned = 16384;
  const double per_rank =
      static_cast<double>(scenario_.model.layers.size()) * microbatches * (3.0 + 9.0 * chunks);
  const double ops = per_rank * static_cast<double>(gpus_.size());
  if (ops <= most_ops && gpus_.size() <= most_planned) return true;
  if (refused_.empty()) {
    refused_ = fmt::format(
        "{} GPUs with {} of {} make about {:.0f} million ops; at most {} GPUs and {:.0f} million "
        "ops can be planned",
        gpus_.size(), count_of(microbatches, "microbatch", "es"), count_of(chunks, "chunk"),
        ops / 1e6, most_planned, most_ops / 1e6);
  }
  return false;
}

bool Trials::may_win(Seconds at_least, bool may_fit) const {
  constexpr double rounding = 1 + 1e-9;
  if (first_fit_ && has_fitting()) return false;
  if (!best_.has_value() || (!best_->fits() && may_fit)) return true;
  return at_least <= best_->makespan * rounding;
}

std::optional<Candidate> Trials::evaluate_to_win(std::uint32_t order, const Schedule& schedule) {
  const Timeline free_run = simulate(schedule);
  if (!may_win(free_run.makespan())) return std::nullopt;
  return judged(order, schedule, free_run);
}

Trials::Judgement Trials::offer_in(Order order, std::uint32_t number, const Schedule& schedule) {
  Judgement out;
  std::optional<Candidate> candidate;
  if (order == Order::as_listed) {
    const Timeline run = simulate(schedule);
    out.makespan = run.makespan();
    if (may_win(out.makespan)) candidate = judged(number, schedule, run);
  } else {
    const Timeline run = simulate(schedule, false);
    out.makespan = run.makespan();
    if (may_win(out.makespan)) candidate = evaluate_to_win(number, order_by_start(schedule, run));
  }
  if (!candidate) return out;
  out = {candidate->makespan, candidate->excess};
  offer(std::move(candidate));
  return out;
}

void Trials::offer(std::optional<Candidate> candidate) {
  if (!candidate) return;
  if (!best_.has_value() || candidate->better_than(*best_)) best_ = std::move(candidate);
}

bool Trials::parameters_fit(const Schedule& schedule) {
  const std::vector<MemoryUse> memory =
      parameter_memory(schedule, scenario_, PredictedLoad(schedule, scenario_));
  const std::string lacks = lack_of_memory(schedule, memory, scenario_);
  if (unfit_.empty()) unfit_ = lacks;
  return lacks.empty();
}

double Trials::times_too_large(const Candidate& candidate) const {
  double out = 0;
  for (std::size_t r = 0; r < candidate.memory.size(); ++r) {
    const MemoryUse& use = candidate.memory[r];
    const Bytes moving = use.activations + use.receive_buffers;
    const Bytes room =
        capacity_of(scenario_, gpus_, candidate.schedule.ranks[r]) - (use.total() - moving);
    if (room.value <= 0) return infinity;
    out = std::max(out, moving / room);
  }
  return out;
}

void Trials::refuse(const Schedule& schedule) {
  const PredictedLoad load(schedule, scenario_);
  unfit_ = lack_of_memory(schedule, peak_memory(schedule, scenario_, load), scenario_);
}

Plan Trials::finish() {
  if (!best_.has_value() && !unfit_.empty()) throw Error(ErrorKind::infeasible, unfit_);
  if (!best_.has_value()) throw Error(ErrorKind::input, refused_);
  Plan out;
  out.schedule = std::move(best_->schedule);
  const std::vector<Fault> faults = verify(out.schedule);
  if (!faults.empty()) {
    throw Error(ErrorKind::internal, "the planner made a faulty schedule: " + faults[0].message);
  }
  out.timeline = score_(out.schedule, PredictedLoad(out.schedule, scenario_), {});
  out.memory = std::move(best_->memory);
  out.candidates_simulated = simulated_;
  out.notes = std::move(notes_);
  judge(out, scenario_);
  return out;
}

Timeline Trials::simulate(const Schedule& schedule, bool compute_in_order) {
  ++simulated_;
  for (const Rank& rank : schedule.ranks) ops_simulated_ += schedule.programs[rank.program].size();
  return score_(schedule, PredictedLoad(schedule, scenario_),
                {.launch_rule = false, .compute_in_order = compute_in_order});
}

Candidate Trials::judged(std::uint32_t order, const Schedule& schedule,
                         const Timeline& free_run) const {
  Candidate out;
  out.order = order;
  out.makespan = free_run.makespan();
  out.schedule = list_by_start(schedule, free_run);
  out.memory = peak_memory(out.schedule, scenario_, PredictedLoad(out.schedule, scenario_));
  out.excess = {-infinity};
  for (std::size_t r = 0; r < out.memory.size(); ++r) {
    out.excess = std::max(
        out.excess, out.memory[r].total() - capacity_of(scenario_, gpus_, out.schedule.ranks[r]));
  }
  return out;
}

void best_bound_first(std::vector<Bounded>& candidates) {
  std::stable_sort(candidates.begin(), candidates.end(),
                   [](const Bounded& a, const Bounded& b) { return a.at_least < b.at_least; });
}

}  // namespace zebroid
