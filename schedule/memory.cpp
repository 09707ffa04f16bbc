#include "schedule/memory.hpp"

#include <algorithm>
#include <array>
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
    const double tokens = sizes.amounts.tokens(rank, op);
    double rows = 0;
    if (op.work == Work::expert || op.work == Work::dispatch) {
      Op expert = op;
      expert.work = Work::expert;
      expert.slot = 0;
      rows = sizes.amounts.rows(rank, expert);
    }
    for (const Value& value : written) {
      const Elements elements = elements_of(sizes.model, op, value.what, tokens, rows);
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

}  // namespace zebroid
