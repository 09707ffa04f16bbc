#include "schedule/memory.hpp"

#include <algorithm>
#include <array>
#include <functional>
#include <map>
#include <optional>
#include <utility>

namespace zebroid {
namespace {

constexpr double optimizer_bytes_adamw = 12;      // float master weight and two float moments
constexpr double optimizer_bytes_adamw_8bit = 6;  // float master weight and two 8-bit moments
// CUDA context about 0.5 GiB; NCCL 342 to 392 MiB (AIConfigurator's reserve), rounded up together.
constexpr Bytes runtime_bytes = gibibytes(1);

double optimizer_bytes(Optimizer optimizer) {
  return optimizer == Optimizer::adamw ? optimizer_bytes_adamw : optimizer_bytes_adamw_8bit;
}

using Pools = std::array<double, 2>;  // bytes of each Pool

double& of(Pools& pools, const Value& value) {
  return pools.at(static_cast<std::size_t>(value.pool));
}

/// What is alive at the peak when a value lives until its last reader in the order of the program.
Pools peak_in_program_order(const Program& program, const Values& values,
                            const std::vector<double>& bytes) {
  std::vector<Pools> dying(program.size());  // [ops] with that op
  for (std::size_t v = 0; v < bytes.size(); ++v) {
    const Value& value = values.all[v];
    std::uint32_t last = value.writer;
    for (const std::uint32_t reader : values.readers_of(value)) last = std::max(last, reader);
    of(dying[last], value) += bytes[v];
  }
  Pools alive{};
  Pools peak{};
  for (std::uint32_t i = 0; i < program.size(); ++i) {
    for (std::uint32_t v = values.first[i]; v < values.first[i + 1]; ++v) {
      of(alive, values.all[v]) += bytes[v];
    }
    if (alive[0] + alive[1] > peak[0] + peak[1]) peak = alive;
    for (std::size_t p = 0; p < alive.size(); ++p) alive.at(p) -= dying[i].at(p);
  }
  return peak;
}

std::vector<MemoryUse> parameters_in(const Schedule& schedule, const PredictedLoad& load,
                                     const Widths& widths) {
  std::vector<MemoryUse> out(schedule.ranks.size());
  for (std::uint32_t r = 0; r < out.size(); ++r) {
    const double parameters = load.shared_parameters({r}) + load.expert_parameters({r});
    out[r].weights = out[r].gradients = {parameters * widths.parameter};
    out[r].optimizer = {load.optimizer_parameters({r}) * widths.optimizer};
    out[r].runtime = widths.runtime;
  }
  return out;
}

/// The values of each program and their sizes, each once for what is alike.
class Sized {
 public:
  Sized(const Schedule& schedule, const Sizes& sizes)
      : schedule_(schedule), sizes_(sizes), values_(schedule.programs.size()) {}

  const Values& values(RankId rank) {
    auto& values = values_[schedule_.ranks[rank.value].program];
    if (!values) values = values_of(schedule_, schedule_.program_of(rank), sizes_.model);
    return *values;
  }
  std::vector<double> bytes(RankId rank) {
    return value_bytes(schedule_, rank, values(rank), sizes_);
  }

 private:
  const Schedule& schedule_;
  const Sizes& sizes_;
  std::vector<std::optional<Values>> values_;  // [programs]
};

using StreamOps = std::array<std::vector<std::uint32_t>, stream_count>;  // in order

StreamOps ops_of_streams(const Program& program) {
  StreamOps out;
  for (std::uint32_t i = 0; i < program.size(); ++i) {
    out.at(static_cast<std::size_t>(stream_of(program[i]))).push_back(i);
  }
  return out;
}

/// From when on a value is surely free.
StreamClock end_of(const Program& program, const Values& values, const LocalOrder& order,
                   const Value& value) {
  StreamClock out{};
  const auto wait_for = [&](std::uint32_t op) {
    std::uint32_t& ended = out.at(static_cast<std::size_t>(stream_of(program[op])));
    ended = std::max(ended, order.position[op] + 1);
  };
  wait_for(value.writer);
  for (const std::uint32_t reader : values.readers_of(value)) wait_for(reader);
  return out;
}

bool has_reached(const StreamClock& clock, const StreamClock& other) {
  return std::equal(clock.begin(), clock.end(), other.begin(), std::greater_equal<>());
}

/// What may be alive when op `i` starts.
Pools alive_at(std::uint32_t i, const Program& program, const Values& values,
               const LocalOrder& order, std::span<const double> bytes) {
  Pools out{};
  for (std::uint32_t v = 0; v < values.first[i + 1]; ++v) {
    const Value& value = values.all[v];
    if (has_reached(order.at_start[i], end_of(program, values, order, value))) continue;
    of(out, value) += bytes[v];
  }
  return out;
}

}  // namespace

Bytes runtime_memory() { return runtime_bytes; }

Widths gpu_widths(const Scenario& scenario) {
  return {.optimizer = optimizer_bytes(scenario.training.optimizer), .runtime = runtime_bytes};
}

double bytes_per_parameter(Optimizer optimizer) {
  return 2 * Widths{}.parameter + optimizer_bytes(optimizer);
}

std::vector<MemoryUse> parameter_memory(const Schedule& schedule, const Scenario& scenario,
                                        const PredictedLoad& load) {
  return parameters_in(schedule, load, gpu_widths(scenario));
}

std::vector<double> value_bytes(const Schedule& schedule, RankId rank, const Values& values,
                                const Sizes& sizes) {
  const Program& program = schedule.program_of(rank);
  std::vector<double> out;
  out.reserve(values.all.size());
  for (std::uint32_t i = 0; i < program.size(); ++i) {
    const auto written = values.written_by(i);
    if (written.empty()) continue;
    const Op& op = program[i];
    Counts counts{.tokens = sizes.amounts.tokens(rank, op)};
    if (op.work == Work::expert || op.work == Work::dispatch) {
      Op expert = op;
      expert.work = Work::expert;
      expert.slot = 0;
      counts.rows = sizes.amounts.rows(rank, expert);
    }
    for (const Value& value : written) {
      if (value.what == What::early_gradient && op.work == Work::expert) {
        const auto& holders = schedule.replicas[schedule.ranks[rank.value].replica].expert_on;
        counts.experts = static_cast<double>(std::ranges::count(holders[op.layer], rank));
      }
      const Elements elements = elements_of(sizes.model, op, value.what, counts);
      out.push_back(elements.half * sizes.widths.half + elements.single * sizes.widths.single +
                    elements.index * sizes.widths.index);
    }
  }
  return out;
}

std::vector<MemoryUse> peak_memory(const Schedule& schedule, const Scenario& scenario,
                                   const PredictedLoad& load) {
  const Widths widths = gpu_widths(scenario);
  std::vector<MemoryUse> out = parameters_in(schedule, load, widths);
  const Sizes sizes{scenario.model, load, widths};
  Sized sized(schedule, sizes);
  std::map<std::pair<std::uint16_t, RankId>, Pools> walked;  // by program and rank alike
  for (std::uint32_t r = 0; r < schedule.ranks.size(); ++r) {
    const auto [alike, is_new] =
        walked.try_emplace({schedule.ranks[r].program, load.like(RankId{r})});
    if (is_new) {
      alike->second =
          peak_in_program_order(schedule.program_of({r}), sized.values({r}), sized.bytes({r}));
    }
    out[r].activations = {alike->second[0]};
    out[r].receive_buffers = {alike->second[1]};
  }
  return out;
}

/// On each stream the ops at whose start a value may be alive are consecutive: from the first one
/// that is listed no earlier than its writer to the first one that comes surely after its end.
Peak peak_in_any_order(const Program& program, const Values& values, const LocalOrder& order,
                       std::span<const double> bytes) {
  const StreamOps streams = ops_of_streams(program);
  std::array<std::vector<double>, stream_count> changes;  // [ops of the stream + 1]
  for (std::size_t s = 0; s < stream_count; ++s) changes.at(s).resize(streams.at(s).size() + 1);
  for (std::size_t v = 0; v < values.all.size(); ++v) {
    const StreamClock end = end_of(program, values, order, values.all[v]);
    for (std::size_t s = 0; s < stream_count; ++s) {
      const auto& ops = streams.at(s);
      const auto first = std::lower_bound(ops.begin(), ops.end(), values.all[v].writer);
      const auto last = std::partition_point(
          first, ops.end(), [&](std::uint32_t i) { return !has_reached(order.at_start[i], end); });
      changes.at(s)[static_cast<std::size_t>(first - ops.begin())] += bytes[v];
      changes.at(s)[static_cast<std::size_t>(last - ops.begin())] -= bytes[v];
    }
  }
  Peak peak;
  for (std::size_t s = 0; s < stream_count; ++s) {
    double alive = 0;
    for (std::size_t k = 0; k < streams.at(s).size(); ++k) {
      alive += changes.at(s)[k];
      if (alive > peak.bytes) peak = {alive, streams.at(s)[k]};
    }
  }
  return peak;
}

std::vector<MemoryUse> peak_memory_in_any_order(const Schedule& schedule, const Scenario& scenario,
                                                const Amounts& amounts, const Widths& widths) {
  std::vector<MemoryUse> out = parameters_in(schedule, PredictedLoad(schedule, scenario), widths);
  const std::vector<LocalOrder> orders = local_orders(schedule);
  const Sizes sizes{scenario.model, amounts, widths};
  Sized sized(schedule, sizes);
  for (std::uint32_t r = 0; r < out.size(); ++r) {
    const Program& program = schedule.program_of({r});
    if (program.empty()) continue;
    const Values& values = sized.values({r});
    const std::vector<double> bytes = sized.bytes({r});
    const Peak peak = peak_in_any_order(program, values, orders[r], bytes);
    const Pools alive = alive_at(peak.op, program, values, orders[r], bytes);
    out[r].activations = {alive[0]};
    out[r].receive_buffers = {alive[1]};
  }
  return out;
}

}  // namespace zebroid
