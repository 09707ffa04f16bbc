#include <benchmark/benchmark.h>
#include <sys/resource.h>

#include <array>
#include <chrono>
#include <cmath>
#include <numbers>

#include "core/hash.hpp"
#include "models/config_dir.hpp"
#include "models/scenario.hpp"
#include "planner/builder.hpp"
#include "planner/listing.hpp"
#include "planner/planner.hpp"
#include "planner/verdict.hpp"
#include "planner/ways.hpp"
#include "planner/zebra.hpp"
#include "schedule/predicted_load.hpp"
#include "sim/fast.hpp"
#include "sim/fold.hpp"
#include "sim/simulate.hpp"

namespace zebroid {
namespace {

/// How the ranks of a workload differ.
enum class Mix { balanced, jitter, skew };

/// Even in [0, 1) from a few numbers.
double drawn(std::uint64_t a, std::uint64_t b) {
  return static_cast<double>(mix(mix(a) ^ b) >> 11U) / 9007199254740992.0;
}

/// The workload W(G, L, R): G ranks that all run attention (500 us) and experts (800 us), R
/// microbatches listed layer by layer, backward twice as long; every all-to-all moves 32 MiB per
/// GPU, of which its own 1/G stays, over 12.5 GB/s and 1 us. jitter: every op of every rank takes
/// 80 to 120 % of its time. skew: the experts of each layer draw shares of the tokens, lognormal
/// with sigma 0.4; bytes and expert times follow.
class FixedLoad final : public Load {
 public:
  FixedLoad(std::uint32_t gpus, std::uint16_t layers, Mix mix)
      : gpus_(gpus),
        mix_(mix),
        network_(load_cluster(std::to_string(gpus) + "xA40", parse_bandwidth("100Gbps"))),
        shares_(layers, std::vector<double>(gpus, 1.0 / gpus)) {
    if (mix != Mix::skew) return;
    constexpr double sigma = 0.4;
    for (std::uint32_t l = 0; l < layers; ++l) {
      double sum = 0;
      for (std::uint32_t g = 0; g < gpus; ++g) {
        const double normal = std::sqrt(-2 * std::log(1 - drawn(l, 2 * g))) *
                              std::cos(2 * std::numbers::pi * drawn(l, 2 * g + 1));
        sum += shares_[l][g] = std::exp(sigma * normal);
      }
      for (double& share : shares_[l]) share /= sum;
    }
  }

  Seconds seconds(RankId rank, const Op& op) const override {
    constexpr Seconds attention{500e-6};
    constexpr Seconds expert{800e-6};
    const double products = op.pass == Pass::backward ? 2 : 1;
    const double jitter = mix_ == Mix::jitter ? 0.8 + 0.4 * drawn(rank.value, key_of(op)) : 1.0;
    if (op.work == Work::attention) return attention * products * jitter;
    if (op.work != Work::expert) return {};
    return expert * products * jitter * (shares_[op.layer][rank.value] * gpus_);
  }
  Bytes bytes(GroupId /*group*/, const Op& op, RankId from, RankId to) const override {
    constexpr double per_gpu = 32.0 * 1024 * 1024;
    const bool towards_experts = op.work == Work::dispatch;
    if (!towards_experts && op.work != Work::combine) return {};
    const RankId holder = towards_experts ? to : from;
    return {std::round(per_gpu * shares_[op.layer][holder.value])};
  }
  Seconds latency(GroupId /*group*/, const Op& /*op*/) const override { return {1e-6}; }
  double rows(RankId /*rank*/, const Op& /*op*/) const override { return 0; }
  double sm_share(RankId /*rank*/) const override { return 0; }
  RankId like(RankId rank) const override { return mix_ == Mix::balanced ? RankId{0} : rank; }
  Op like(const Op& op) const override {
    Op out = op;
    if (mix_ == Mix::jitter && !is_exchange(op.work)) return out;
    out.microbatch = 0;
    if (mix_ != Mix::skew) out.layer = 0;
    return out;
  }
  const Network& network() const override { return network_; }

 private:
  double gpus_;
  Mix mix_;
  Network network_;
  std::vector<std::vector<double>> shares_;  // [layers][gpus] of the tokens
};

Scenario scenario_of(const std::string& model, const std::string& cluster,
                     std::uint32_t sequence_length) {
  Scenario out;
  out.model_name = model;
  const JsonDocument config = read_json(config_dir() / "models" / (model + ".json"));
  out.model_config = config.root;
  out.model = read_model(config, model);
  out.cluster = load_cluster(cluster, parse_bandwidth("100Gbps"));
  out.training.sequence_length = sequence_length;
  out.training.global_batch_sequences = gpus_of(out.cluster).size();
  const std::vector<bool> all(out.model.layers.size(), true);
  out.shares = make_routing(out.routing, all, out.model.experts, out.model.top_k);
  out.calibration = load_calibration({});
  return out;
}

Schedule reference_schedule(std::uint32_t gpus, std::uint16_t layers, std::uint16_t microbatches) {
  Scenario scenario = scenario_of("mixtral-d1", std::to_string(gpus) + "xA40", 4096);
  scenario.model.layers.resize(layers, scenario.model.layers.front());
  ScheduleBuilder builder(scenario, microbatches, 1);
  std::vector<RankId> ranks;
  for (std::uint32_t g = 0; g < gpus; ++g) ranks.push_back(builder.add_rank({g}, 0, microbatches));
  const GroupId all = builder.group(ranks);
  const auto pass_of_layer = [&](Pass pass, std::uint16_t l) {
    const bool forward = pass == Pass::forward;
    const auto compute = [&](Work work) {
      for (std::uint16_t j = 0; j < microbatches; ++j) {
        for (const RankId rank : ranks) builder.compute(rank, {work, pass, 0, l, j, 0});
      }
    };
    const auto exchange = [&](Work work) {
      for (std::uint16_t j = 0; j < microbatches; ++j) {
        builder.exchange(all, {work, pass, 0, l, j, 0});
      }
    };
    if (forward) compute(Work::attention);
    exchange(Work::dispatch);
    compute(Work::expert);
    exchange(Work::combine);
    if (!forward) compute(Work::attention);
  };
  for (std::uint16_t l = 0; l < layers; ++l) pass_of_layer(Pass::forward, l);
  const auto last = static_cast<std::uint16_t>(layers - 1);
  for (std::uint16_t j = 0; j < microbatches; ++j) {
    for (const RankId rank : ranks) {
      builder.compute(rank, {Work::head, Pass::forward, 0, last, j, 0});
      builder.compute(rank, {Work::head, Pass::backward, 0, last, j, 0});
    }
  }
  for (std::uint16_t l = layers; l-- > 0;) pass_of_layer(Pass::backward, l);
  return builder.finish();
}

double tasks_of(const Schedule& schedule) {
  double tasks = 0;  // compute and exchange ops over all ranks
  for (std::uint32_t r = 0; r < schedule.ranks.size(); ++r) {
    tasks += static_cast<double>(schedule.program_of({r}).size());
  }
  return tasks;
}

void count_tasks(benchmark::State& state, const Schedule& schedule) {
  state.counters["tasks_per_second"] =
      benchmark::Counter(tasks_of(schedule), benchmark::Counter::kIsIterationInvariantRate);
  state.counters["evaluations_per_second"] =
      benchmark::Counter(1, benchmark::Counter::kIsIterationInvariantRate);
}

double peak_MB(int who) {
  rusage usage{};
  getrusage(who, &usage);
  return static_cast<double>(usage.ru_maxrss) * 1024 / 1e6;
}

/// What is measured: running a simulation that is ready, or making it ready first.
enum class Part { run, whole };

/// The fast engine, without a timeline. `makespan_s` lets workloads be compared; process_MB is the
/// most that this process has used so far.
void run_fast(benchmark::State& state, const Schedule& schedule, const Load& load,
              SimulateOptions options, Part part) {
  options.timeline = false;
  FastSimulation ready(schedule, load, options);
  Seconds makespan;
  for (auto _ : state) {
    if (part == Part::run) {
      makespan = ready.run();
    } else {
      makespan = FastSimulation(schedule, load, options).run();
    }
    benchmark::DoNotOptimize(makespan);
  }
  count_tasks(state, schedule);
  state.counters["makespan_s"] = makespan.value;
  state.counters["process_MB"] = peak_MB(RUSAGE_SELF);
  state.counters["rank_classes"] = static_cast<double>(ready.rank_classes());
  if (ready.fidelity() == Fidelity::profile) {
    state.counters["overlap_fraction"] = ready.overlap_fraction();
  }
}

/// SimGrid, in a process of its own each time.
void run_simgrid(benchmark::State& state, const Schedule& schedule, const Load& load,
                 Fidelity fidelity) {
  if (!has_simgrid()) {
    state.SkipWithError("built without SimGrid");
    return;
  }
  const SimulateOptions options{.verified = true, .engine = Engine::simgrid, .fidelity = fidelity};
  for (auto _ : state) benchmark::DoNotOptimize(simulate(schedule, load, options));
  count_tasks(state, schedule);
  state.counters["process_MB"] = peak_MB(RUSAGE_CHILDREN);
}

struct Reference {
  std::uint32_t gpus;
  std::uint16_t layers;
  std::uint16_t microbatches;
  Mix mix;

  std::string name() const {
    constexpr std::array names{"balanced", "jitter", "skew"};
    return "W/" + std::to_string(gpus) + "/" + std::to_string(layers) + "/" +
           std::to_string(microbatches) + "/" + names.at(static_cast<std::size_t>(mix));
  }
};

/// W(G, L, R) with its load. All ranks run the program of a small balanced workload, whose
/// exchanges are listed by transfer start.
struct Workload {
  explicit Workload(const Reference& w)
      : load(w.gpus, w.layers, w.mix), schedule(small(w.layers, w.microbatches)) {
    schedule.ranks.resize(w.gpus, schedule.ranks.front());
    for (std::uint32_t g = 0; g < w.gpus; ++g) {
      schedule.ranks[g].gpu = {g};
      if (schedule.groups.front().size() <= g) schedule.groups.front().push_back({g});
    }
  }

  static Schedule small(std::uint16_t layers, std::uint16_t microbatches) {
    constexpr std::uint32_t gpus = 8;
    const FixedLoad balanced(gpus, layers, Mix::balanced);
    const Schedule free = reference_schedule(gpus, layers, microbatches);
    return list_by_start(free, simulate(free, balanced, {.launch_rule = false, .verified = true}));
  }

  FixedLoad load;
  Schedule schedule;
};

/// Every rank for itself, by profile.
void reference(benchmark::State& state, const Reference& reference, Part part) {
  const Workload w(reference);
  run_fast(state, w.schedule, w.load,
           {.verified = true, .fidelity = Fidelity::profile, .fold = false}, part);
}

void folded_reference(benchmark::State& state, const Reference& reference, Part part) {
  const Workload w(reference);
  run_fast(state, w.schedule, w.load, {.verified = true, .fidelity = Fidelity::pair}, part);
}

void simgrid_reference(benchmark::State& state, const Reference& reference) {
  const Workload w(reference);
  run_simgrid(state, w.schedule, w.load, Fidelity::port);
}

/// Both engines in turn on one workload: how many times as many tasks the fast one runs in a
/// second.
void ratio_to_simgrid(benchmark::State& state, const Reference& reference) {
  if (!has_simgrid()) {
    state.SkipWithError("built without SimGrid");
    return;
  }
  using Clock = std::chrono::steady_clock;
  const Workload w(reference);
  const SimulateOptions fast{
      .verified = true, .fidelity = Fidelity::profile, .fold = false, .timeline = false};
  FastSimulation ready(w.schedule, w.load, fast);
  Clock::duration fast_time{};
  Clock::duration grid_time{};
  double fast_makespan = 0;
  double grid_makespan = 0;
  for (auto _ : state) {
    const auto start = Clock::now();
    fast_makespan = ready.run().value;
    const auto middle = Clock::now();
    grid_makespan =
        simulate(w.schedule, w.load,
                 {.verified = true, .engine = Engine::simgrid, .fidelity = Fidelity::port})
            .makespan()
            .value;
    fast_time += middle - start;
    grid_time += Clock::now() - middle;
  }
  state.counters["simgrid_to_fast_time_ratio"] =
      std::chrono::duration<double>(grid_time) / std::chrono::duration<double>(fast_time);
  state.counters["makespan_difference_fraction"] = grid_makespan / fast_makespan - 1;
}

/// Six attention and six expert GPUs, L = R = 8, from costs and routing; or all of them unequal.
struct ZebraWorkload {
  ZebraWorkload(const std::string& model, std::uint32_t offload, bool unequal)
      : scenario(scenario_of(model, "6xA40,6xV100-16GB", 16384)) {
    scenario.training.global_batch_sequences = 48;
    if (unequal) {
      scenario.routing.spec = "lognormal:0.4";
      const std::vector<bool> all(scenario.model.layers.size(), true);
      scenario.shares =
          make_routing(scenario.routing, all, scenario.model.experts, scenario.model.top_k);
    }
    ZebraShape shape = zebra_shape(
        {{gpus_of_kinds(scenario.cluster, {0}), gpus_of_kinds(scenario.cluster, {1})}}, 8);
    place_evenly(scenario.model, std::vector(scenario.model.layers.size(), offload), shape);
    schedule = zebra_schedule(scenario, shape);
    const PredictedLoad load(schedule, scenario);
    schedule =
        list_by_start(schedule, simulate(schedule, load, {.launch_rule = false, .verified = true}));
  }
  Scenario scenario;
  Schedule schedule;
};

void zebra(benchmark::State& state, const std::string& model, std::uint32_t offload, bool unequal,
           Part part) {
  const ZebraWorkload w(model, offload, unequal);
  const PredictedLoad load(w.schedule, w.scenario);
  run_fast(state, w.schedule, load,
           {.verified = true, .fidelity = Fidelity::pair, .fold = !unequal}, part);
}

void simgrid_zebra(benchmark::State& state) {
  const ZebraWorkload w("mixtral-d1", 0, false);
  const PredictedLoad load(w.schedule, w.scenario);
  run_simgrid(state, w.schedule, load, Fidelity::pair);
}

void plan_zebra(benchmark::State& state, std::uint32_t sequence_length) {
  Scenario scenario = scenario_of("mixtral-d1", "6xA40,6xV100-16GB", sequence_length);
  scenario.training.global_batch_sequences = default_global_batch(scenario);
  const Scorer score = [](const Schedule& schedule, const Load& load, const RunRules& rules) {
    return simulate(schedule, load,
                    {.launch_rule = rules.launch_rule,
                     .compute_in_order = rules.compute_in_order,
                     .verified = true});
  };
  for (auto _ : state) benchmark::DoNotOptimize(plan(scenario, {}, score));
}

/// Everything that `zebroid plan` looks for, but the gains.
void plan_all(benchmark::State& state, const std::string& model, const std::string& cluster) {
  Scenario scenario = scenario_of(model, cluster, 4096);
  scenario.training.global_batch_sequences = default_global_batch(scenario);
  WaysRequest request;
  for (const Strategy strategy :
       {Strategy::zebra, Strategy::expert_parallel, Strategy::dist_ep, Strategy::pipeline}) {
    request.strategies.push_back({.strategy = strategy});
  }
  std::uint64_t candidates = 0;
  const Scorer score = [&](const Schedule& schedule, const Load& load, const RunRules& rules) {
    ++candidates;
    return simulate(schedule, load,
                    {.launch_rule = rules.launch_rule,
                     .compute_in_order = rules.compute_in_order,
                     .verified = true});
  };
  for (auto _ : state) {
    std::vector<Way> ways;
    find_ways(scenario, request, score, {}, ways);
    rank_ways(ways);
    benchmark::DoNotOptimize(judge_ways(scenario, ways, {}, score));
  }
  state.counters["simulated"] =
      benchmark::Counter(static_cast<double>(candidates), benchmark::Counter::kAvgIterations);
}

template <class... Arguments>
benchmark::internal::Benchmark* add(const std::string& name, Arguments... arguments) {
  return benchmark::RegisterBenchmark(name.c_str(), arguments...)->Unit(benchmark::kMillisecond);
}

/// Registers all before main() runs them.
const bool registered = [] {
  for (const std::uint32_t gpus : {8U, 64U, 256U, 1024U}) {
    for (const Mix mix : {Mix::balanced, Mix::jitter, Mix::skew}) {
      if (mix == Mix::skew && gpus > 64) continue;
      const Reference w{gpus, 32, 8, mix};
      add("fast/" + w.name(), reference, w, Part::run);
      add("fast/" + w.name() + "/whole", reference, w, Part::whole);
    }
  }
  for (const std::uint16_t rounds : std::array<std::uint16_t, 3>{2, 4, 16}) {  // growth with L * R
    const Reference w{64, 32, rounds, Mix::balanced};
    add("fast/" + w.name(), reference, w, Part::run);
  }
  const Reference w64{64, 32, 8, Mix::balanced};
  add("fast/W/64/32/8/folded", folded_reference, w64, Part::run);
  add("fast/W/64/32/8/folded/whole", folded_reference, w64, Part::whole);
  add("simgrid/port/W/64/32/8", simgrid_reference, w64)->UseRealTime();  // in other processes
  add("ratio/W/64/32/8", ratio_to_simgrid, w64)->UseRealTime();
  for (const Part part : {Part::run, Part::whole}) {
    const std::string whole = part == Part::whole ? "/whole" : "";
    add("fast/zebra/8/8/plain" + whole, zebra, "mixtral-d1", 0U, false, part);
    add("fast/zebra/8/8/asym" + whole, zebra, "mixtral-d1", 1U, false, part);
    add("fast/zebra/6+6/unequal/plain" + whole, zebra, "mixtral-d1", 0U, true, part);
    add("fast/zebra/6+6/unequal/asym" + whole, zebra, "mixtral-d1", 1U, true, part);
  }
  add("simgrid/pair/zebra/mixtral-d1/o1", simgrid_zebra)->UseRealTime();
  add("plan/zebra/mixtral-d1/o1", plan_zebra, 16384U);
  add("plan/zebra/mixtral-d1/o1/4096", plan_zebra, 4096U);
  add("plan/all/mixtral-d1/o1", plan_all, "mixtral-d1", "6xA40,6xV100-16GB");
  add("plan/all/mixtral-8x7b/64", plan_all, "mixtral-8x7b", "32xA100-80GB,32xV100-32GB");
  return true;
}();

}  // namespace
}  // namespace zebroid
