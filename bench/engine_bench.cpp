#include <benchmark/benchmark.h>
#include <sys/resource.h>

#include "models/config_dir.hpp"
#include "models/scenario.hpp"
#include "planner/builder.hpp"
#include "planner/listing.hpp"
#include "planner/planner.hpp"
#include "planner/zebra.hpp"
#include "schedule/predicted_load.hpp"
#include "sim/simulate.hpp"

namespace zebroid {
namespace {

/// The workload W(G, L, R): G ranks that all run attention (500 us) and experts (800 us), R
/// microbatches listed layer by layer, backward twice as long; every all-to-all moves 32 MiB per
/// GPU, of which its own 1/G stays, over 12.5 GB/s and 1 us.
class FixedLoad final : public Load {
 public:
  explicit FixedLoad(std::uint32_t gpus)
      : gpus_(gpus),
        network_(load_cluster(std::to_string(gpus) + "xA40", parse_bandwidth("100Gbps"))) {}

  Seconds seconds(RankId /*rank*/, const Op& op) const override {
    constexpr Seconds attention{500e-6};
    constexpr Seconds expert{800e-6};
    const double products = op.pass == Pass::backward ? 2 : 1;
    if (op.work == Work::attention) return attention * products;
    return op.work == Work::expert ? expert * products : Seconds{};
  }
  Bytes bytes(GroupId /*group*/, const Op& op, RankId /*from*/, RankId /*to*/) const override {
    constexpr double per_gpu = 32.0 * 1024 * 1024;
    const bool moves = op.work == Work::dispatch || op.work == Work::combine;
    return {moves ? per_gpu / gpus_ : 0};
  }
  Seconds latency(GroupId /*group*/, const Op& /*op*/) const override { return {1e-6}; }
  double rows(RankId /*rank*/, const Op& /*op*/) const override { return 0; }
  double sm_share(RankId /*rank*/) const override { return 0; }
  const Network& network() const override { return network_; }

 private:
  double gpus_;
  Network network_;
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

/// Simulates again and again. Counts compute and exchange ops over all ranks per second, and the
/// memory of the largest process forked so far (SimGrid's).
void run(benchmark::State& state, const Schedule& schedule, const Load& load,
         const SimulateOptions& options) {
  if (options.engine == Engine::simgrid && !has_simgrid()) {
    state.SkipWithError("built without SimGrid");
    return;
  }
  for (auto _ : state) benchmark::DoNotOptimize(simulate(schedule, load, options));
  double tasks = 0;
  for (std::uint32_t r = 0; r < schedule.ranks.size(); ++r) {
    tasks += static_cast<double>(schedule.program_of({r}).size());
  }
  state.counters["tasks_per_second"] =
      benchmark::Counter(tasks, benchmark::Counter::kIsIterationInvariantRate);
  if (options.engine == Engine::simgrid) {
    rusage usage{};
    getrusage(RUSAGE_CHILDREN, &usage);
    state.counters["process_MB"] = static_cast<double>(usage.ru_maxrss) * 1024 / 1e6;
  }
}

void reference(benchmark::State& state, Engine engine, Fidelity fidelity) {
  const auto gpus = static_cast<std::uint32_t>(state.range(0));
  const Schedule free = reference_schedule(gpus, static_cast<std::uint16_t>(state.range(1)),
                                           static_cast<std::uint16_t>(state.range(2)));
  const FixedLoad load(gpus);
  const Schedule schedule =
      list_by_start(free, simulate(free, load, {.launch_rule = false, .verified = true}));
  run(state, schedule, load, {.verified = true, .engine = engine, .fidelity = fidelity});
}
BENCHMARK_CAPTURE(reference, fast, Engine::fast, Fidelity::pair)
    ->Name("fast/W")
    ->Args({16, 8, 4})
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(reference, simgrid_port, Engine::simgrid, Fidelity::port)
    ->Name("simgrid/port/W")
    ->Args({16, 8, 4})
    ->Args({64, 32, 8})
    ->UseRealTime()  // its work is done in other processes
    ->Unit(benchmark::kMillisecond);

void zebra(benchmark::State& state, Engine engine) {
  Scenario scenario = scenario_of("mixtral-d1", "6xA40,6xV100-16GB", 16384);
  scenario.training.global_batch_sequences = 48;
  ZebraShape shape;
  shape.groups.push_back(
      {gpus_of_kinds(scenario.cluster, {0}), gpus_of_kinds(scenario.cluster, {1})});
  shape.microbatches = 8;
  shape.offload.assign(scenario.model.layers.size(), 0);
  const Schedule schedule = zebra_schedule(scenario, shape);
  const PredictedLoad load(schedule, scenario);
  run(state, schedule, load, {.verified = true, .engine = engine, .fidelity = Fidelity::pair});
}
BENCHMARK_CAPTURE(zebra, fast, Engine::fast)
    ->Name("fast/zebra/mixtral-d1/o1")
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(zebra, simgrid, Engine::simgrid)
    ->Name("simgrid/pair/zebra/mixtral-d1/o1")
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);

void plan_zebra(benchmark::State& state) {
  Scenario scenario = scenario_of("mixtral-d1", "6xA40,6xV100-16GB", 16384);
  scenario.training.global_batch_sequences = default_global_batch(scenario);
  const Scorer score = [](const Schedule& schedule, const Load& load, bool launch_rule) {
    return simulate(schedule, load, {.launch_rule = launch_rule, .verified = true});
  };
  for (auto _ : state) benchmark::DoNotOptimize(plan(scenario, {}, score));
}
BENCHMARK(plan_zebra)->Name("plan/zebra/mixtral-d1/o1")->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace zebroid
