#include "backend/host/host_run.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <memory>
#include <optional>
#include <system_error>
#include <thread>
#include <utility>

#include "backend/host/bit_check.hpp"
#include "backend/host/gemm.hpp"
#include "backend/host/host_rank.hpp"
#include "backend/host/watch.hpp"
#include "schedule/memory.hpp"
#include "schedule/order.hpp"
#include "schedule/verify.hpp"

namespace zebroid {
namespace {

using Clock = std::chrono::steady_clock;

/// The number that a file of the system holds; nothing when there is none.
std::optional<double> number_in(const char* path) {
  double number = 0;
  return std::ifstream(path) >> number ? std::optional(number) : std::nullopt;
}

/// What this process can still take, of the system and of its control group (2nd version); 0 when
/// neither says.
double available_memory_bytes() {
  std::ifstream file("/proc/meminfo");
  constexpr double kibibyte = 1024;
  double out = 0;
  std::string key;
  double number = 0;
  std::string unit;
  while (out == 0 && file >> key >> number >> unit) {
    if (key == "MemAvailable:") out = number * kibibyte;
  }
  const auto limit = number_in("/sys/fs/cgroup/memory.max");
  const auto in_use = number_in("/sys/fs/cgroup/memory.current");
  if (!limit || !in_use) return out;
  const double left = std::max(1.0, *limit - *in_use);
  return out == 0 ? left : std::min(out, left);
}

double numbers_in(const Elements& elements) { return elements.half + elements.single; }

/// What the reference keeps of its largest microbatch, of all layers at once.
double reference_activations(const Schedule& schedule, const Scenario& scenario) {
  const StepLayout layout(schedule);
  const MoeModel& model = scenario.model;
  double most = 0;
  for (std::uint32_t v = 0; v < schedule.replicas.size(); ++v) {
    for (std::uint32_t j = 0; j < schedule.microbatches; ++j) {
      std::uint64_t sequences = 0;
      for (const RankId rank : layout.attention_on(v, 0)) {
        sequences += layout.sequences_of(rank, 0, j).size();
      }
      most = std::max(most, static_cast<double>(sequences) * scenario.training.sequence_length);
    }
  }
  const Counts counts{.tokens = most, .rows = most * model.top_k};
  double out = 0;
  for (std::uint16_t l = 0; l < schedule.layers; ++l) {
    const Op attention{Work::attention, Pass::forward, 0, l, 0, 0};
    const Op expert{Work::expert, Pass::forward, 0, l, 0, 0};
    for (const What what : {What::layer_input, What::residual, What::attention_values}) {
      out += numbers_in(elements_of(model, attention, what, counts));
    }
    if (!model.layers[l].has_experts) continue;
    for (const What what : {What::expert_values, What::outputs}) {
      out += numbers_in(elements_of(model, expert, what, counts));
    }
    out += numbers_in(elements_of(model, attention, What::sorted_rows, counts));
  }
  return out;
}

/// What a rank needs beside its arena's values and states, in numbers: room for one gradient, and
/// what others send of a layer's sum.
double beside_values(const Schedule& schedule, const Scenario& scenario, RankId rank) {
  double sums = 0;
  for (std::uint32_t l = 0; l < schedule.layers; ++l) {
    const auto& holders = schedule.replicas[schedule.ranks[rank.value].replica].expert_on[l];
    const auto held = static_cast<double>(std::count(holders.begin(), holders.end(), rank));
    sums = std::max({sums, shared_parameters(scenario.model, l),
                     held * layer_parameters(scenario.model, l).expert});
  }
  return sums + static_cast<double>(largest_tensor(scenario.model));
}

/// Widths of numbers on the host, where activations, statistics and parameters are of one type.
template <class Real>
Widths host_widths() {
  return {.half = sizeof(Real),
          .single = sizeof(Real),
          .index = sizeof(std::int32_t),
          .parameter = sizeof(Real),
          .optimizer = 2 * sizeof(Real),
          .runtime = {}};
}

std::size_t streams_of(const Program& program) {
  std::array<char, stream_count> used{};
  for (const Op& op : program) used.at(static_cast<std::size_t>(stream_of(op))) = 1;
  return static_cast<std::size_t>(std::count(used.begin(), used.end(), 1));
}

std::string op_name(const Schedule& schedule, RankId rank, std::uint32_t op) {
  return fmt::format("rank {}: {}", rank.value, name_of(schedule.program_of(rank)[op]));
}

/// Seconds that one multiply-add, times two, takes on this host, when all cores are busy.
double seconds_per_flop(std::size_t ranks) {
  constexpr std::size_t size = 64;
  constexpr double flops = 2.0 * size * size * size;
  constexpr int rounds = 20;
  const std::vector<float> a(size * size, 1);
  std::vector<float> c(size * size);
  const auto start = Clock::now();
  for (int i = 0; i < rounds; ++i) {
    multiply({size, size, size}, Factor<float>{a.data()}, Factor<float>{a.data()}, c.data());
  }
  const std::chrono::duration<double> took = Clock::now() - start;
  const double cores = std::max(1U, std::thread::hardware_concurrency());
  return took.count() / rounds / flops * std::max(1.0, static_cast<double>(ranks) / cores);
}

/// A schedule while it runs on this host.
template <class Real>
class Runner {
 public:
  Runner(const Schedule& schedule, const Scenario& scenario, Text text, const HostOptions& options)
      : schedule_(schedule),
        options_(options),
        job_(schedule, scenario, std::move(text), options.seed),
        norm_(job_),
        routes_(schedule),
        amounts_(schedule, job_.layout, routes_, job_.length),
        communicator_(schedule, job_.exchanges, trouble_,
                      {.checksums = options.checksums,
                       .injection = options.injection ? &*options.injection : nullptr}),
        orders_(local_orders(schedule)) {
    job_.adamw = options.adamw;
    for (const Program& program : schedule.programs) {
      indices_.emplace_back(program);
      values_.push_back(values_of(schedule, program, job_.model));
      reads_.push_back(reads(schedule, program));
    }
    for (std::uint32_t r = 0; r < schedule.ranks.size(); ++r) {
      add_rank({r});
      poll();
    }
    Watch::Rules rules{.least = options.least_deadline,
                       .deadline_s = deadlines(schedule, scenario)};
    watch_ =
        std::make_unique<Watch>(schedule, job_.exchanges, queues_, communicator_, std::move(rules));
    if (options.verify) {
      check_ = std::make_unique<BitCheck<Real>>(job_, norm_, [this] { poll(); });
    }
  }

  ~Runner() { trouble_.stop(); }
  Runner(const Runner&) = delete;
  Runner& operator=(const Runner&) = delete;

  HostRun run() {
    start_threads();
    HostRun out;
    for (std::uint32_t step = 0; step < options_.steps; ++step) {
      const auto start = Clock::now();
      for (auto& rank : ranks_) rank->begin(step);
      watch_->begin();
      for (auto& queues : queues_) queues->begin();
      wait();
      const StepReport report = report_of(step, start);
      add_memory(out.memory);
      if (check_) check(report);
      if (options_.on_step) options_.on_step(report);
      out.steps.push_back(report);
      if (step + 1 == options_.steps) out.timeline = timeline(start);
    }
    for (std::uint32_t l = 0; l < schedule_.layers; ++l) {
      if (job_.model.layers[l].has_experts) out.tokens.push_back(routes_.tokens(l));
    }
    for (const Rank& rank : schedule_.ranks) {
      out.threads += streams_of(schedule_.programs[rank.program]);
    }
    out.arithmetic = fmt::format("{}, {}", gemm_library(),
                                 sizeof(Real) == sizeof(float) ? "float32" : "float64");
    return out;
  }

 private:
  void add_rank(RankId rank) {
    const std::uint16_t program = schedule_.ranks[rank.value].program;
    try {
      ranks_.push_back(std::make_unique<HostRank<Real>>(
          typename HostRank<Real>::Context{job_, norm_, values_[program], indices_[program],
                                           reads_[program], routes_, amounts_, communicator_,
                                           trouble_, options_},
          rank));
    } catch (const OutOfMemory& lack) {
      throw Error(ErrorKind::infeasible,
                  fmt::format("rank {}: parameters, gradients and optimizer states: {}", rank.value,
                              lack.what()));
    }
    queues_.push_back(ranks_.back()->make_queues());
  }

  /// 20 times what an op is predicted to take on this host, at full load: its FLOPs, where it goes
  /// over all parameters some for each of these.
  std::vector<std::vector<double>> deadlines(const Schedule& schedule,
                                             const Scenario& scenario) const {
    constexpr double slack = 20;
    constexpr double per_parameter = 32;
    const double rate = seconds_per_flop(schedule.ranks.size());
    const PredictedLoad load(schedule, scenario);
    std::vector<std::vector<double>> out;
    for (std::uint32_t r = 0; r < schedule.ranks.size(); ++r) {
      auto& own = out.emplace_back();
      const double parameters = load.shared_parameters({r}) + load.expert_parameters({r});
      for (const Op& op : schedule.program_of({r})) {
        const bool all = op.work == Work::step || op.work == Work::gather || is_sum(op.work);
        own.push_back(slack * rate *
                      (all ? per_parameter * parameters : load.flops({r}, op).value));
      }
    }
    return out;
  }

  void start_threads() {
    try {
      for (auto& queues : queues_) queues->start();
    } catch (const std::system_error& error) {
      std::size_t threads = 0;
      for (const Rank& rank : schedule_.ranks) {
        threads += streams_of(schedule_.programs[rank.program]);
      }
      throw Error(ErrorKind::input,
                  fmt::format("{} ranks need {} threads, which this system does not give: {}; "
                              "plan for fewer GPUs, or raise its limit of processes",
                              schedule_.ranks.size(), threads, error.what()));
    }
  }

  /// Until the iteration has ended on all ranks; throws when it does not.
  void wait() {
    constexpr std::chrono::milliseconds look_every{50};
    for (auto& queues : queues_) {
      while (!queues->finish(look_every)) look();
    }
    look();  // the last op of a stream may be lost
    ops_ended_before_ += ops_ended_;
    ops_ended_ = 0;
  }
  void look() {
    if (!trouble_.stopped()) ops_ended_ = watch_->look(trouble_);
    if (trouble_.stopped()) throw_trouble();
    poll();
  }
  void poll() {
    if (options_.poll) options_.poll(ops_ended_before_ + ops_ended_);
  }

  /// Throws Error(check) naming the first bit that differs from the reference.
  void check(const StepReport& report) {
    std::vector<const RankParameters<Real>*> parameters;
    for (const auto& rank : ranks_) parameters.push_back(&rank->parameters());
    check_->check({report.step, report.loss, report.gradient_norm}, parameters);
  }

  [[noreturn]] void throw_trouble() {
    const Culprit culprit = trouble_.first().value_or(
        Culprit{.kind = ErrorKind::internal, .message = "the run stopped and says not why"});
    const std::string place = culprit.op ? op_name(schedule_, culprit.rank, *culprit.op)
                                         : fmt::format("rank {}", culprit.rank.value);
    const Error error(culprit.kind, fmt::format("{}: {}", place, culprit.message));
    if (options_.on_hang && !come_to_rest()) options_.on_hang(error);
    throw error;
  }

  /// Whether all threads rest soon after the run was stopped.
  bool come_to_rest() const {
    constexpr std::chrono::milliseconds patience{500};
    constexpr std::chrono::milliseconds pause{5};
    for (const auto start = Clock::now(); Clock::now() - start < patience;) {
      const bool rest = std::all_of(queues_.begin(), queues_.end(),
                                    [](const auto& queues) { return queues->rests(); });
      if (rest) return true;
      std::this_thread::sleep_for(pause);
    }
    return false;
  }

  StepReport report_of(std::uint32_t step, Clock::time_point start) const {
    double loss = 0;
    for (std::uint32_t v = 0; v < schedule_.replicas.size(); ++v) {
      for (std::uint32_t j = 0; j < schedule_.microbatches; ++j) {
        double of_microbatch = 0;
        for (const RankId rank : job_.layout.attention_on(v, schedule_.layers - 1U)) {
          of_microbatch += ranks_[rank.value]->losses()[j];
        }
        loss += of_microbatch;
      }
    }
    return {.step = step + 1,
            .loss = loss / job_.tokens_in_batch(),
            .gradient_norm = ranks_[0]->parameters().gradient_norm(),
            .duration = {std::chrono::duration<double>(Clock::now() - start).count()}};
  }

  Timeline timeline(Clock::time_point start) const {
    Timeline out;
    out.origin =
        fmt::format("measured on this host ({} cores)", std::thread::hardware_concurrency());
    for (std::size_t r = 0; r < ranks_.size(); ++r) {
      out.ranks.push_back(ranks_[r]->times(*queues_[r], start));
    }
    return out;
  }

  /// Of the step that has ended, where it is more than before.
  void add_memory(std::vector<RankMemoryUse>& memory) const {
    memory.resize(ranks_.size());
    for (std::uint32_t r = 0; r < ranks_.size(); ++r) {
      const std::uint16_t program = schedule_.ranks[r].program;
      const auto peak = [&](const std::vector<double>& bytes) {
        return peak_in_any_order(schedule_.programs[program], values_[program], orders_[r], bytes)
            .bytes;
      };
      const auto fixed = static_cast<double>(ranks_[r]->parameters().bytes());
      const double predicted =
          fixed + peak(value_bytes(schedule_, {r}, values_[program],
                                   {job_.model, amounts_, host_widths<Real>()}));
      const double needed = fixed + peak(ranks_[r]->memory().value_bytes());
      RankMemoryUse& use = memory[r];
      use.predicted_bytes = std::max(use.predicted_bytes, predicted);
      use.needed_bytes = std::max(use.needed_bytes, needed);
      use.peak_bytes = static_cast<double>(ranks_[r]->arena().peak_bytes());
    }
  }

  const Schedule& schedule_;
  const HostOptions& options_;
  Trouble trouble_;
  StepJob job_;
  NormParts norm_;
  RouteCounts routes_;
  CountedAmounts amounts_;
  Communicator communicator_;
  std::vector<OpIndex> indices_;    // [programs]
  std::vector<Values> values_;      // [programs]
  std::vector<Reads> reads_;        // [programs]
  std::vector<LocalOrder> orders_;  // [ranks]
  std::vector<std::unique_ptr<HostRank<Real>>> ranks_;
  std::vector<std::unique_ptr<ThreadQueues>> queues_;  // [ranks]; their threads end first
  std::unique_ptr<Watch> watch_;
  std::size_t ops_ended_ = 0;         // of this step
  std::size_t ops_ended_before_ = 0;  // of those before
  std::unique_ptr<BitCheck<Real>> check_;
};

template <class Real>
HostRun run_as(const Schedule& schedule, const Scenario& scenario, Text text,
               const HostOptions& options) {
  return Runner<Real>(schedule, scenario, std::move(text), options).run();
}

}  // namespace

HostNeeds host_needs(const Schedule& schedule, const Scenario& scenario,
                     const HostOptions& options) {
  refuse_unknown_parts(scenario.model);
  const bool is_double = options.precision == Precision::float64;
  const Widths widths = is_double ? host_widths<double>() : host_widths<float>();
  const PredictedLoad load(schedule, scenario);
  const std::vector<MemoryUse> memory = peak_memory_in_any_order(schedule, scenario, load, widths);
  HostNeeds out;
  for (std::uint32_t r = 0; r < memory.size(); ++r) {
    const double bytes =
        memory[r].total().value + beside_values(schedule, scenario, {r}) * widths.parameter;
    out.bytes += bytes;
    if (bytes <= out.largest_rank_bytes) continue;
    out.largest_rank_bytes = bytes;
    out.largest_rank = {r};
  }
  if (options.verify) {
    const double once = total_parameters(scenario.model) * (widths.parameter + widths.optimizer);
    double gradients = 0;
    for (std::uint32_t r = 0; r < memory.size(); ++r) {
      gradients += (load.shared_parameters({r}) + load.expert_parameters({r})) * widths.parameter;
    }
    out.bytes += once + gradients + reference_activations(schedule, scenario) * widths.half;
  }
  out.available_bytes = available_memory_bytes();
  return out;
}

HostRun run_on_host(const Schedule& schedule, const Scenario& scenario, Text text,
                    const HostOptions& options) {
  refuse_faults(schedule, "the schedule to run");
  const auto run = options.precision == Precision::float32 ? run_as<float> : run_as<double>;
  return run(schedule, scenario, std::move(text), options);
}

}  // namespace zebroid
