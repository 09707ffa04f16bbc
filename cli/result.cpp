#include "cli/result.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "core/error.hpp"
#include "schedule/files.hpp"
#include "sim/bound.hpp"
#include "sim/simulate.hpp"

namespace zebroid {
namespace {

std::string_view rule_text(BatchRule rule) {
  switch (rule) {
    case BatchRule::given:
      return "given";
    case BatchRule::tokens_per_gpu:
      return "64Ki tokens per GPU, raised until every attention GPU count divides it, to twice "
             "that at most";
    case BatchRule::max:
      return "largest that fits every strategy";
  }
  return "";
}

/// Grades of the exchanges of one schedule, each asked for once.
class ExchangeGrades {
 public:
  ExchangeGrades(const Schedule& schedule, const PredictedLoad& load)
      : schedule_(schedule), load_(load) {}

  Evidence of(RankId rank, const Op& op) {
    const GroupId group = schedule_.group_of(rank, op);
    const Op like = load_.like(op);
    const auto [known, is_new] = known_.try_emplace({group, key_of(like)});
    if (is_new) known->second = load_.evidence(group, like);
    return known->second;
  }

 private:
  const Schedule& schedule_;
  const PredictedLoad& load_;
  std::map<std::pair<GroupId, std::uint64_t>, Evidence> known_;  // by group and op
};

/// Shares of the predicted time over all ranks: compute by its costs' grades, a rank's exposed
/// communication by those of its exchanges, each for as long as its transfer takes.
Json evidence_json(const Plan& plan, const PredictedLoad& load,
                   const std::vector<Utilization>& use) {
  Cost sum;
  ExchangeGrades grades(plan.schedule, load);
  for (std::uint32_t r = 0; r < plan.schedule.ranks.size(); ++r) {
    const Program& program = plan.schedule.program_of({r});
    Cost transfers;
    for (std::size_t i = 0; i < program.size(); ++i) {
      const Op& op = program[i];
      if (is_exchange(op.work)) {
        const OpTimes& times = plan.timeline.ranks[r][i];
        transfers.add(grades.of({r}, op), times.ended - times.started);
      } else {
        sum += load.cost({r}, op);
      }
    }
    const Seconds exposed = plan.timeline.makespan() * use[r].exposed;
    if (transfers.total().value <= 0) continue;
    for (std::size_t e = 0; e < evidence_count; ++e) {
      sum.by_evidence.at(e) += exposed * (transfers.by_evidence.at(e) / transfers.total());
    }
  }
  const Seconds total = sum.total();
  Json out;
  for (std::size_t e = 0; e < evidence_count; ++e) {
    out[std::string(name_of(static_cast<Evidence>(e)))] =
        total.value > 0 ? sum.by_evidence.at(e) / total : 0.0;
  }
  return out;
}

Json memory_json(const MemoryUse& use) {
  return {{"weights_bytes", use.weights.value},
          {"gradients_bytes", use.gradients.value},
          {"optimizer_bytes", use.optimizer.value},
          {"activations_bytes", use.activations.value},
          {"receive_buffers_bytes", use.receive_buffers.value},
          {"runtime_bytes", use.runtime.value}};
}

/// Ranks of one role on one GPU kind.
struct Pool {
  std::uint32_t count = 0;
  Utilization sum;
  MemoryUse peak;
};

Json pools_json(const Plan& plan, const Scenario& scenario, const std::vector<Utilization>& use) {
  const std::vector<Gpu> gpus = gpus_of(scenario.cluster);
  const std::vector<std::string> rank_roles = roles(plan.schedule);
  std::map<std::pair<std::string, std::uint32_t>, Pool> pools;
  for (std::size_t r = 0; r < plan.schedule.ranks.size(); ++r) {
    Pool& pool = pools[{rank_roles[r], gpus[plan.schedule.ranks[r].gpu.value].kind}];
    ++pool.count;
    pool.sum.busy += use[r].busy;
    pool.sum.effective += use[r].effective;
    pool.sum.exposed += use[r].exposed;
    pool.sum.bubble += use[r].bubble;
    if (plan.memory[r].total() > pool.peak.total()) pool.peak = plan.memory[r];
  }
  Json out = Json::array();
  for (const auto& [key, pool] : pools) {
    const GpuSpec& gpu = scenario.cluster.kinds[key.second];
    Json entry;
    entry["role"] = key.first;
    entry["gpu"] = gpu.name;
    entry["count"] = pool.count;
    entry["busy_fraction"] = pool.sum.busy / pool.count;
    entry["effective_fraction"] = pool.sum.effective / pool.count;
    entry["exposed_communication_fraction"] = pool.sum.exposed / pool.count;
    entry["bubble_fraction"] = pool.sum.bubble / pool.count;
    entry["peak_memory_bytes"] = pool.peak.total().value;
    entry["memory_capacity_bytes"] = gpu.memory.value;
    entry["memory"] = memory_json(pool.peak);
    out.push_back(std::move(entry));
  }
  return out;
}

/// The bound's resource with the GPU behind its rank.
std::string binding_text(const Bound& bound, const Plan& plan, const Scenario& scenario) {
  const auto at = bound.binding.find("rank ");
  if (at == std::string::npos) return bound.binding;
  const auto rank = std::stoul(bound.binding.substr(at + 5));
  const Gpu gpu = gpus_of(scenario.cluster)[plan.schedule.ranks[rank].gpu.value];
  return fmt::format("{} ({}, {})", bound.binding, scenario.cluster.kinds[gpu.kind].name,
                     roles(plan.schedule)[rank]);
}

/// Which strategy does not fit and why; "" when all do.
std::string misfit(const Scenario& scenario, std::vector<PlanRequest> plans, const Scorer& score) {
  for (PlanRequest& request : plans) {
    // Expert parallelism fits any batch by accumulating; the rule means one pass over the batch.
    const bool accumulates =
        request.strategy != Strategy::zebra && request.strategy != Strategy::pipeline;
    if (accumulates && !request.microbatches) request.microbatches = 1;
    for (const Job& job : plan_jobs(scenario, request, score)) {
      const std::string& lacks = job.plan.lacks_memory;
      if (!lacks.empty()) {
        return fmt::format("{}: {}; try {}", name_of(request.strategy), lacks,
                           what_saves_memory(scenario));
      }
    }
  }
  return "";
}

Json job_json(const PredictedJob& predicted, BatchRule batch_rule, const PlanRequest& request) {
  const auto& [job, prediction] = predicted;
  const auto& [strategy, scenario, plan] = job;
  const PredictedLoad planned(plan.schedule, scenario);
  const Bound bound =
      lower_bound(plan.schedule, WhatIf(planned, plan.schedule, prediction.slowdowns));
  const std::vector<Utilization> use = utilization(plan.schedule, plan.timeline);
  const Seconds iteration = plan.timeline.makespan();
  const std::uint64_t batch = scenario.training.global_batch_sequences;
  double exposed = 0;
  for (const Utilization& rank : use) exposed += rank.exposed / static_cast<double>(use.size());
  std::uint32_t offloaded = 0;
  for (const std::uint32_t experts : plan.offloaded) offloaded += experts;
  const bool zebra = strategy == Strategy::zebra;

  Json out;
  out["strategy"] = name_of(strategy);
  out.update(to_json(prediction, iteration));
  out["expert_assignment"] =
      zebra ? expert_assignment_names()[static_cast<std::size_t>(request.assignment)] : "even";
  out["microbatches"] = plan.schedule.microbatches;
  out["chunks"] = plan.schedule.chunks;
  out["groups"] = plan.groups;
  out["global_batch_sequences"] = batch;
  out["batch_rule"] = rule_text(batch_rule);
  out["iteration_s"] = iteration.value;
  out["tokens_per_s"] =
      static_cast<double>(batch) * scenario.training.sequence_length / iteration.value;
  out["experts_offloaded"] = {{"per_layer", plan.offloaded}, {"total", offloaded}};
  out["lower_bound_s"] = bound.seconds.value;
  out["binding"] = binding_text(bound, plan, scenario);
  out["exposed_communication_s"] = exposed * iteration.value;
  out["evidence"] = evidence_json(plan, planned, use);
  out["pools"] = pools_json(plan, scenario, use);
  out["candidates_simulated"] = plan.candidates_simulated;
  out["feasible"] = plan.lacks_memory.empty();
  if (!plan.lacks_memory.empty()) {
    out["reason"] = plan.lacks_memory + "; try " + what_saves_memory(scenario);
  }
  return out;
}

/// Shares by grade, weighted by how long each job's GPUs are busy.
Json combined_evidence(const std::vector<Json>& parts) {
  Json out = parts.front()["evidence"];
  double gpus = 0;
  for (auto& [grade, share] : out.items()) share = 0.0;
  for (const Json& part : parts) {
    double here = 0;
    for (const Json& pool : part["pools"]) here += pool["count"].get<double>();
    for (auto& [grade, share] : out.items()) {
      share = share.get<double>() + here * part["evidence"][grade].get<double>();
    }
    gpus += here;
  }
  for (auto& [grade, share] : out.items()) share = share.get<double>() / gpus;
  return out;
}

/// Jobs side by side, as one entry: rates add up, and the iteration is the time in which all of
/// them together train the batch. A job that does not fit adds nothing, unless none does.
Json combined_json(const std::vector<PredictedJob>& jobs, std::vector<Json> parts,
                   const Scenario& scenario) {
  bool some_fit = false;
  for (const Json& part : parts) some_fit = some_fit || part["feasible"].get<bool>();
  const double tokens = static_cast<double>(scenario.training.global_batch_sequences) *
                        scenario.training.sequence_length;
  double rate = 0;
  double most_rate = 0;
  double exposed = 0;
  double gpus = 0;
  std::size_t slowest = 0;
  Json out = parts.front();
  out["pools"] = Json::array();
  std::uint64_t candidates = 0;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    Json& part = parts[i];
    part["gpu"] = part["pools"][0]["gpu"];
    const auto count = static_cast<double>(jobs[i].job.plan.schedule.ranks.size());
    gpus += count;
    candidates += part["candidates_simulated"].get<std::uint64_t>();
    for (const Json& pool : part["pools"]) out["pools"].push_back(pool);
    if (part["iteration_s"].get<double>() > parts[slowest]["iteration_s"].get<double>())
      slowest = i;
    exposed += count * part["exposed_communication_s"].get<double>();
    if (some_fit && !part["feasible"].get<bool>()) continue;
    const double own = part["tokens_per_s"].get<double>();
    rate += own;
    most_rate += own * part["iteration_s"].get<double>() / part["lower_bound_s"].get<double>();
  }
  out["global_batch_sequences"] = scenario.training.global_batch_sequences;
  out["tokens_per_s"] = rate;
  out["iteration_s"] = tokens / rate;
  out["lower_bound_s"] = tokens / most_rate;
  out["binding"] = parts[slowest]["binding"];
  out["exposed_communication_s"] = exposed / gpus;
  out["evidence"] = combined_evidence(parts);
  out["candidates_simulated"] = candidates;
  out["feasible"] = some_fit;
  out.erase("reason");
  if (!some_fit) out["reason"] = parts.front()["reason"];
  out["jobs"] = std::move(parts);
  return out;
}

/// Of strategies that nobody named those that have a schedule that fits; all when none has.
std::vector<PlanRequest> those_that_fit(const Scenario& scenario,
                                        const std::vector<PlanRequest>& plans,
                                        const Scorer& score) {
  std::vector<PlanRequest> out;
  for (const PlanRequest& request : plans) {
    try {
      if (misfit(scenario, {request}, score).empty()) out.push_back(request);
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::input) throw;
    }
  }
  return out.empty() ? plans : out;
}

}  // namespace

Scorer make_scorer(Fidelity fidelity) {
  return [fidelity](const Schedule& schedule, const Load& load, const RunRules& rules) {
    return simulate(schedule, load,
                    {.launch_rule = rules.launch_rule,
                     .compute_in_order = rules.compute_in_order,
                     .verified = true,
                     .fidelity = fidelity,
                     .poll = stop_if_interrupted});
  };
}

void settle_batch(Resolved& resolved, const Resolver& resolver, const Scorer& score) {
  if (resolved.batch_rule != BatchRule::max) return;
  Scenario& scenario = resolved.scenario;
  std::uint64_t& batch = scenario.training.global_batch_sequences;
  // Multiples of what the default rule would take for one sequence per GPU.
  const std::uint32_t length = std::exchange(scenario.training.sequence_length, 64U * 1024U);
  const std::uint64_t unit = default_global_batch(scenario);
  scenario.training.sequence_length = length;
  batch = unit;
  const std::vector<PlanRequest> plans =
      resolver.by_default() ? those_that_fit(scenario, resolver.plans(), score) : resolver.plans();
  const auto why_not = [&](std::uint64_t units) {
    batch = units * unit;
    return misfit(scenario, plans, score);
  };
  const auto fits = [&](std::uint64_t units) { return why_not(units).empty(); };
  constexpr std::uint64_t most_units = 4096;
  if (const std::string why = why_not(1); !why.empty()) {
    throw Error(
        ErrorKind::infeasible,
        fmt::format("not even a global batch of {} sequences fits every strategy; {}", unit, why));
  }
  std::uint64_t low = 1;
  while (low < most_units && fits(low * 2)) low *= 2;
  std::uint64_t high = low * 2;
  while (low < most_units && high - low > 1) {
    const std::uint64_t middle = (low + high) / 2;
    (fits(middle) ? low : high) = middle;
  }
  batch = low * unit;
}

std::vector<PredictedJob> predict_jobs(const Predictor& predictor, const Scenario& scenario,
                                       const PlanRequest& request, const Scorer& score) {
  std::vector<PredictedJob> out;
  for (Job& job : plan_jobs(scenario, request, score)) {
    Prediction prediction = predictor.predict(job.plan, job.scenario);
    out.push_back({std::move(job), std::move(prediction)});
  }
  if (out.size() < 2) return out;
  for (auto& [job, prediction] : out) {
    if (job.plan.lacks_memory.empty()) continue;
    job.plan.notes.push_back(fmt::format("{}: {} does not fit and adds nothing: {}",
                                         name_of(request.strategy), job.scenario.cluster.name,
                                         job.plan.lacks_memory));
  }
  return out;
}

Json result_json(const std::vector<PredictedJob>& jobs, const Resolved& resolved,
                 const PlanRequest& request) {
  std::vector<Json> parts;
  for (const PredictedJob& job : jobs) {
    parts.push_back(job_json(job, resolved.batch_rule, request));
  }
  if (parts.size() == 1) {
    if (request.strategy == Strategy::ep_ideal)
      parts.front()["strategy"] = name_of(request.strategy);
    return parts.front();
  }
  Json out = combined_json(jobs, std::move(parts), resolved.scenario);
  const bool all_ep = std::all_of(jobs.begin(), jobs.end(), [](const PredictedJob& job) {
    return job.job.strategy == Strategy::expert_parallel;
  });
  out["strategy"] = all_ep ? name_of(Strategy::ep_ideal) : "apart";
  return out;
}

Json result_document(const Resolved& resolved, Json results,
                     const std::vector<std::string>& notes) {
  Json out;
  out["schema"] = "zebroid.result/1";
  out["scenario"] = to_json(resolved.scenario);
  out["results"] = std::move(results);
  out["notes"] = notes;
  return out;
}

}  // namespace zebroid
