#include "backend/host/host_run.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <fstream>
#include <memory>
#include <system_error>
#include <thread>
#include <utility>

#include "backend/executor.hpp"
#include "backend/host/compute_ops.hpp"
#include "backend/host/exchange_ops.hpp"
#include "backend/host/gemm.hpp"
#include "backend/host/reference.hpp"
#include "backend/host/thread_queues.hpp"
#include "backend/host/watch.hpp"
#include "core/hash.hpp"
#include "schedule/memory.hpp"
#include "schedule/order.hpp"
#include "schedule/verify.hpp"

namespace zebroid {
namespace {

using Clock = std::chrono::steady_clock;

/// What the system can give to new work, or 0 when it does not say.
double available_memory_bytes() {
  std::ifstream file("/proc/meminfo");
  constexpr double kibibyte = 1024;
  std::string key;
  double number = 0;
  std::string unit;
  while (file >> key >> number >> unit) {
    if (key == "MemAvailable:") return number * kibibyte;
  }
  return 0;
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

/// A program in which an op has changed places with the next one of its stream, and what its ops
/// are in the real one.
struct Issued {
  Program program;
  std::vector<std::uint32_t> real;  // [ops]
};

Issued swapped(const Program& program, std::uint32_t op) {
  Issued out{program, std::vector<std::uint32_t>(program.size())};
  for (std::uint32_t i = 0; i < program.size(); ++i) out.real[i] = i;
  const std::uint32_t other = next_on_stream(program, op).value_or(op);
  std::swap(out.program[op], out.program[other]);
  std::swap(out.real[op], out.real[other]);
  return out;
}

/// Queues a changed program under the names that its ops have in the real one.
class RenamedQueues final : public Queues {
 public:
  RenamedQueues(Queues& queues, const std::vector<std::uint32_t>& real)
      : queues_(queues), real_(real) {}

  void wait(Stream stream, Event event) override { queues_.wait(stream, real(event)); }
  void record(Stream stream, Event event) override { queues_.record(stream, real(event)); }
  void run(Stream stream, std::uint32_t op) override { queues_.run(stream, real_[op]); }

 private:
  Event real(Event event) const { return launched(real_[event / 2]) + event % 2; }

  Queues& queues_;
  const std::vector<std::uint32_t>& real_;
};

/// One rank while a schedule runs: state, streams, and the times of its ops.
template <class Real>
class HostRank {
 public:
  struct Context {  ///< all outlive this
    const StepJob& job;
    const NormParts& norm;
    const Values& values;
    const OpIndex& index;
    const Reads& reads;
    RouteCounts& routes;
    const CountedAmounts& amounts;
    Communicator& communicator;
    Trouble& trouble;
    const HostOptions& options;
  };

  HostRank(const Context& context, RankId rank)
      : context_(context),
        rank_(rank),
        program_(context.job.schedule.program_of(rank)),
        arena_(context.options.memory_limit_bytes),
        memory_(context.job.model, program_, context.values, arena_),
        parameters_(context.job, context.norm, rank, arena_),
        state_{context.job, rank,        program_,       context.index,
               memory_,     parameters_, context.routes, context.amounts},
        compute_(state_),
        exchanges_(state_, context.communicator, injection()),
        times_(program_.size()),
        started_(program_.size()) {}

  /// Its streams, for an iteration; their threads end before this does.
  std::unique_ptr<ThreadQueues> make_queues() {
    const bool swaps = injection() != nullptr && injection()->kind == FaultKind::swapped;
    auto out = std::make_unique<ThreadQueues>(
        static_cast<std::uint32_t>(2 * program_.size()), [this](std::uint32_t op) { run(op); },
        context_.trouble);
    if (swaps) {
      const Issued changed = swapped(program_, injection()->op);
      RenamedQueues renamed(*out, changed.real);
      issue(changed.program, reads(context_.job.schedule, changed.program), renamed);
    } else {
      issue(program_, context_.reads, *out);
    }
    if (injection() != nullptr && injection()->kind == FaultKind::dropped) {
      out->drop(injection()->op);
    }
    return out;
  }

  const RankParameters<Real>& parameters() const { return parameters_; }
  const RankMemory<Real>& memory() const { return memory_; }
  const Arena& arena() const { return arena_; }
  const std::vector<double>& losses() const { return compute_.losses(); }

  /// Before an iteration.
  void begin(std::uint64_t step) {
    step_ = step;
    memory_.begin();
    parameters_.begin();
    compute_.begin(step);
  }

  /// Of the iteration that has ended.
  std::vector<OpTimes> times(const ThreadQueues& queues, Clock::time_point start) const {
    const std::vector<Clock::time_point> at = queues.times();
    const auto seconds = [&](Clock::time_point point) {
      return Seconds{std::chrono::duration<double>(point - start).count()};
    };
    std::vector<OpTimes> out = times_;
    for (std::uint32_t i = 0; i < out.size(); ++i) {
      out[i].ready = seconds(at[launched(i)]);
      out[i].ended = seconds(at[ended(i)]);
      out[i].started = is_exchange(program_[i].work) ? seconds(started_[i]) : out[i].ready;
    }
    return out;
  }

 private:
  const Injection* injection() const {
    const auto& injection = context_.options.injection;
    return injection && injection->rank == rank_ ? &*injection : nullptr;
  }
  bool fails(FaultKind kind, std::uint32_t op) const {
    const Injection* fault = injection();
    return fault != nullptr && fault->kind == kind && fault->op == op;
  }

  /// On the thread of the op's stream.
  void run(std::uint32_t op) {
    try {
      disturb(op);
      run_op(op);
      return;
    } catch (const MissingValue& missing) {
      context_.trouble.report(
          {ErrorKind::aborted, rank_, missing.writer,
           fmt::format("was lost: {} finds nothing that it left", name_of(program_[op]))});
    } catch (const OutOfMemory& lack) {
      context_.trouble.report({ErrorKind::infeasible, rank_, op, lack.what()});
    } catch (const Error& error) {
      context_.trouble.report({error.kind(), rank_, op, error.what()});
    } catch (const std::exception& error) {
      context_.trouble.report({ErrorKind::internal, rank_, op, error.what()});
    }
    throw Stopped{};
  }

  void run_op(std::uint32_t op) {
    const Op& of = program_[op];
    if (!is_exchange(of.work)) {
      const double tokens = state_.amounts.tokens(rank_, of);
      const double rows = of.work == Work::expert ? state_.amounts.rows(rank_, of) : 0;
      memory_.take(op, tokens, rows);
      compute_.run(op);
      memory_.finish(op);
      times_[op].rows = rows;
      return;
    }
    const auto done = exchanges_.run(op);
    started_[op] = done.started;
    times_[op].sent = {static_cast<double>(done.sent_bytes)};
  }

  /// Delays and faults that were asked for.
  void disturb(std::uint32_t op) {
    if (context_.options.delay_seed) {
      constexpr std::uint64_t most_us = 300;
      const std::uint64_t draw =
          mix(*context_.options.delay_seed + mix(rank_.value + mix(op + mix(step_))));
      if (draw % 2 == 0) {
        std::this_thread::sleep_for(std::chrono::microseconds(draw / 2 % most_us));
      }
    }
    if (fails(FaultKind::dead, op)) dead_ = true;
    if (dead_) throw Stopped{};
    if (!fails(FaultKind::stuck, op)) return;
    while (!context_.trouble.stopped()) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    throw Stopped{};
  }

  Context context_;
  RankId rank_;
  const Program& program_;
  Arena arena_;
  RankMemory<Real> memory_;
  RankParameters<Real> parameters_;
  RankState<Real> state_;
  ComputeOps<Real> compute_;
  ExchangeOps<Real> exchanges_;
  std::vector<OpTimes> times_;
  std::vector<Clock::time_point> started_;
  std::uint64_t step_ = 0;
  std::atomic<bool> dead_ = false;
};

/// Compares what ranks have after a step with the reference.
template <class Real>
class BitCheck {
 public:
  BitCheck(const StepJob& job, const NormParts& norm) : job_(job), reference_(job, norm) {}

  void check(const StepReport& report, const std::vector<std::unique_ptr<HostRank<Real>>>& ranks) {
    const auto expected = reference_.run();
    step_ = report.step;
    compare(report.loss, expected.loss, "the loss");
    for (std::uint32_t r = 0; r < ranks.size(); ++r) {
      const RankParameters<Real>& parameters = ranks[r]->parameters();
      for (std::uint32_t l = 0; l < job_.schedule.layers; ++l) {
        const std::string place = fmt::format("of layer {} on rank {}", l, r);
        if (const Held<Real>* held = parameters.shared(l)) {
          compare(*held, reference_.shared_gradient(l), reference_.shared_values(l), place);
        }
        for (const std::uint32_t e : job_.layout.experts_of({r}, l)) {
          compare(*parameters.expert(l, e), reference_.expert_gradient(l, e),
                  reference_.expert_values(l, e), fmt::format("of expert {} {}", e, place));
        }
      }
    }
    compare(report.gradient_norm, expected.gradient_norm, "the norm of all gradients");
  }

 private:
  template <class Number>
  void compare(Number run, Number expected, const std::string& what) const {
    if (bits(run) == bits(expected)) return;
    throw Error(ErrorKind::check,
                fmt::format("step {}: {} is {:.17g} ({:a}), the single-rank reference has {:.17g} "
                            "({:a})",
                            step_, what, run, run, expected, expected));
  }
  void compare(const Held<Real>& held, const std::vector<Real>& gradient,
               const std::vector<Real>& values, const std::string& place) const {
    for (const Tensor& tensor : held.tensors) {
      const Interval all{tensor.offset, tensor.offset + tensor.size()};
      const Interval summed = common(all, held.summed);
      const auto name = [&](const char* what, std::size_t i) {
        return fmt::format("{} of {}[{}, {}] {}", what, tensor.name,
                           (i - tensor.offset) / tensor.columns,
                           (i - tensor.offset) % tensor.columns, place);
      };
      for (std::size_t i = summed.begin; i < summed.end; ++i) {
        if (differ(held.gradient[i], gradient[i])) {
          compare(held.gradient[i], gradient[i], name("gradient", i));
        }
      }
      for (std::size_t i = all.begin; i < all.end; ++i) {
        if (differ(held.values[i], values[i])) compare(held.values[i], values[i], name("value", i));
      }
    }
  }
  static bool differ(Real a, Real b) { return bits(a) != bits(b); }
  static std::uint32_t bits(float number) { return std::bit_cast<std::uint32_t>(number); }
  static std::uint64_t bits(double number) { return std::bit_cast<std::uint64_t>(number); }

  const StepJob& job_;
  Reference<Real> reference_;
  std::uint32_t step_ = 0;
};

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
    for (std::uint32_t r = 0; r < schedule.ranks.size(); ++r) add_rank({r});
    Watch::Rules rules{.least = options.least_deadline,
                       .deadline_s = deadlines(schedule, scenario)};
    watch_ =
        std::make_unique<Watch>(schedule, job_.exchanges, queues_, communicator_, std::move(rules));
    if (options.verify) check_ = std::make_unique<BitCheck<Real>>(job_, norm_);
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
      if (check_) check_->check(report, ranks_);
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

  /// 20 times what an op is predicted to take on this host, at full load.
  std::vector<std::vector<double>> deadlines(const Schedule& schedule,
                                             const Scenario& scenario) const {
    constexpr double slack = 20;
    const double rate = seconds_per_flop(schedule.ranks.size());
    const PredictedLoad load(schedule, scenario);
    std::vector<std::vector<double>> out;
    for (std::uint32_t r = 0; r < schedule.ranks.size(); ++r) {
      auto& own = out.emplace_back();
      for (const Op& op : schedule.program_of({r})) {
        own.push_back(slack * rate * load.flops({r}, op).value);
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
      while (!queues->finish(look_every)) {
        if (!trouble_.stopped()) watch_->look(trouble_);
        if (trouble_.stopped()) throw_trouble();
        if (options_.poll) options_.poll();
      }
    }
    if (!trouble_.stopped()) watch_->look(trouble_);  // the last op of a stream may be lost
    if (trouble_.stopped()) throw_trouble();
    if (options_.poll) options_.poll();
  }

  [[noreturn]] void throw_trouble() {
    const Culprit culprit = trouble_.first().value_or(
        Culprit{.kind = ErrorKind::internal, .message = "the run stopped and says not why"});
    const std::string place = culprit.op ? op_name(schedule_, culprit.rank, *culprit.op)
                                         : fmt::format("rank {}", culprit.rank.value);
    throw Error(culprit.kind, fmt::format("{}: {}", place, culprit.message));
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
    const double bytes = memory[r].total().value;
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
    out.bytes += once + gradients;
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
