#include "schedule/memory.hpp"

#include <algorithm>
#include <array>
#include <map>
#include <utility>

#include "core/hash.hpp"

namespace zebroid {
namespace {

constexpr double half_bytes = 2;
constexpr double single_bytes = 4;
constexpr double optimizer_bytes_adamw = 12;      // float master weight and two float moments
constexpr double optimizer_bytes_adamw_8bit = 6;  // float master weight and two 8-bit moments
// CUDA context about 0.5 GiB; NCCL 342 to 392 MiB (AIConfigurator's reserve), rounded up together.
constexpr Bytes runtime_bytes = gibibytes(1);
// The head computes logits in slices, so that they never take more than this many tokens' worth.
constexpr double logit_slice_tokens = 4096;

enum class Pool : std::uint8_t { activations, receive_buffers };

/// A value: written while one op runs, kept until another has ended.
struct Value {
  Bytes bytes;
  Pool pool = Pool::activations;
  std::uint32_t last_reader = 0;
};

/// Walks one rank's program and keeps account of what is alive.
class Walk {
 public:
  Walk(const Schedule& schedule, const Scenario& scenario, const PredictedLoad& load, RankId rank)
      : model_(scenario.model),
        load_(load),
        rank_(rank),
        program_(schedule.program_of(rank)),
        reads_(reads(schedule, program_)),
        last_reader_(program_.size()) {
    for (std::uint32_t i = 0; i < program_.size(); ++i) last_reader_[i] = i;
    for (std::uint32_t i = 0; i < program_.size(); ++i) {
      // Recomputed attention reads the layer's input, which forward attention keeps; sums read
      // gradients of parameters, which have their own place.
      if (program_[i].work == Work::attention && program_[i].pass == Pass::recompute) continue;
      if (is_sum(program_[i].work)) continue;
      for (std::uint32_t k = reads_.first[i]; k < reads_.first[i + 1]; ++k) {
        std::uint32_t& last = last_reader_[reads_.ops[k]];
        last = std::max(last, i);
      }
    }
    for (std::uint32_t i = 0; i < program_.size(); ++i) {
      if (kinds_.add(key_of(program_[i])) == first_.size()) first_.push_back(i);
    }
  }

  /// Adds the peak to `use`.
  void run(MemoryUse& use) {
    std::vector<std::vector<Value>> dying(program_.size());
    for (std::uint32_t i = 0; i < program_.size(); ++i) {
      values_.clear();
      workspace_ = {};
      write(i);
      for (const Value& value : values_) {
        alive_.at(static_cast<std::size_t>(value.pool)) += value.bytes;
        dying[std::max(i, value.last_reader)].push_back(value);
      }
      const Bytes now = alive_[0] + alive_[1] + workspace_;
      if (now > peak_) {
        peak_ = now;
        use.activations = alive_[0] + workspace_;
        use.receive_buffers = alive_[1];
      }
      for (const Value& value : dying[i]) {
        alive_.at(static_cast<std::size_t>(value.pool)) -= value.bytes;
      }
    }
  }

 private:
  /// Index of an op of this program, or `otherwise`.
  std::uint32_t find(Work work, Pass pass, const Op& like, std::uint32_t otherwise) const {
    const std::uint32_t kind =
        kinds_.find(key_of({work, pass, 0, like.layer, like.microbatch, like.chunk}));
    return kind != KeyIndex::none ? first_[kind] : otherwise;
  }
  void keep(Bytes bytes, std::uint32_t last_reader, Pool pool = Pool::activations) {
    values_.push_back({bytes, pool, last_reader});
  }
  Bytes hidden(double rows) const { return {rows * model_.hidden * half_bytes}; }

  /// Everything that backward of the attention side needs beside its input.
  Bytes attention_internals(const Op& op) const {
    const Layer& layer = model_.layers[op.layer];
    const Attention& a = layer.attention;
    const double values = 2.0 * model_.hidden +
                          static_cast<double>(a.heads) * (a.head_dim + a.value_dim) +
                          static_cast<double>(a.kv_heads) * (a.head_dim + a.value_dim) +
                          3.0 * (layer.dense_ffn + layer.shared_ffn);
    const double tokens = load_.tokens(rank_, op);
    const double routed =
        layer.has_experts ? 2.0 * model_.experts : 0;  // gate logits and probabilities
    return {tokens * (values * half_bytes + (a.heads + routed) * single_bytes)};
  }

  /// The last op that needs what op i leaves in the residual stream. Around experts this is not
  /// the last reader alone: their outputs are added to what attention left, their input gradients
  /// to the gradient of the layer's output.
  std::uint32_t end_of_residual(std::uint32_t i) const {
    Op next = program_[i];
    const bool up = next.pass == Pass::forward;
    std::uint32_t end = last_reader_[i];
    if (up) end = std::max(end, find(Work::head, Pass::forward, next, i));
    if (!up && next.work != Work::head) {
      if (next.layer == 0) return end;
      --next.layer;
    } else if (up) {
      ++next.layer;
      end = std::max(end, find(Work::stage, Pass::forward, next, i));
    }
    return std::max(end, find(Work::attention, next.pass, next, i));
  }

  /// Where experts get their rows from attention of the same GPU, backward reads these rows where
  /// attention left them.
  bool feeds_own_experts(const Op& op) const {
    return find(Work::expert, Pass::backward, op, UINT32_MAX) != UINT32_MAX &&
           find(Work::dispatch, Pass::forward, op, UINT32_MAX) == UINT32_MAX;
  }

  /// The last op that needs the rows that attention op i sorted.
  std::uint32_t end_of_rows(std::uint32_t i, bool rows_come_again) const {
    if (!feeds_own_experts(program_[i]) || rows_come_again) return last_reader_[i];
    return find(Work::expert, Pass::backward, program_[i], i);
  }

  void write_attention(std::uint32_t i) {
    const Op& op = program_[i];
    const double tokens = load_.tokens(rank_, op);
    const std::uint32_t backward = find(Work::attention, Pass::backward, op, i);
    const bool routes = model_.layers[op.layer].has_experts;
    switch (op.pass) {
      case Pass::forward: {
        const bool recomputed =
            find(Work::attention, Pass::recompute, op, UINT32_MAX) != UINT32_MAX;
        keep(hidden(tokens), backward);  // the layer's input
        keep(hidden(tokens),
             end_of_residual(i));  // its output, or what the expert outputs are added to
        if (recomputed) {
          workspace_ = attention_internals(op);
        } else {
          keep(attention_internals(op), backward);
        }
        if (routes)
          keep(hidden(tokens * model_.top_k), end_of_rows(i, recomputed));  // sorted for dispatch
        break;
      }
      case Pass::recompute:
        keep(attention_internals(op), backward);
        if (find(Work::dispatch, Pass::recompute, op, UINT32_MAX) != UINT32_MAX ||
            feeds_own_experts(op)) {
          keep(hidden(tokens * model_.top_k), end_of_rows(i, false));
        }
        break;
      case Pass::backward:
        keep(hidden(tokens), end_of_residual(i));  // gradient of its input
        workspace_ = attention_internals(op);
        break;
    }
  }

  void write_expert(std::uint32_t i) {
    const Op& op = program_[i];
    const double rows = load_.rows(rank_, op);
    constexpr double internals_per_row = 3;  // gate, up, product
    const Bytes internals{rows * internals_per_row * model_.expert_ffn * half_bytes};
    const std::uint32_t backward = find(Work::expert, Pass::backward, op, i);
    const bool recomputed = find(Work::expert, Pass::recompute, op, UINT32_MAX) != UINT32_MAX;
    if (op.pass == Pass::recompute || (op.pass == Pass::forward && !recomputed)) {
      keep(internals, backward);
    } else {
      workspace_ = internals;
    }
    if (op.pass != Pass::recompute || last_reader_[i] != i) {
      keep(hidden(rows), last_reader_[i]);  // outputs, or input gradients
    }
    if (op.pass == Pass::backward && feeds_own_experts(op)) {
      workspace_ += hidden(rows);  // gradients of the outputs, which nobody sent
    }
  }

  void write_dispatch(std::uint32_t i) {
    const Op& op = program_[i];
    const std::uint32_t expert = find(Work::expert, op.pass, op, UINT32_MAX);
    if (expert == UINT32_MAX) return;
    const double rows = load_.rows(rank_, program_[expert]);
    const std::uint32_t backward = find(Work::expert, Pass::backward, op, expert);
    const bool sent_again = find(Work::dispatch, Pass::recompute, op, UINT32_MAX) != UINT32_MAX;
    if (op.pass == Pass::forward && !sent_again) {
      keep(hidden(rows), backward);  // the experts' input, kept in place
    } else {
      keep(hidden(rows), op.pass == Pass::forward ? expert : backward, Pool::receive_buffers);
    }
  }

  void write(std::uint32_t i) {
    const Op& op = program_[i];
    const double tokens = load_.tokens(rank_, op);
    switch (op.work) {
      case Work::attention:
        return write_attention(i);
      case Work::expert:
        return write_expert(i);
      case Work::head:
        workspace_ = Bytes{std::min(tokens, logit_slice_tokens) * model_.vocabulary *
                           (half_bytes + single_bytes)};
        keep(hidden(tokens), op.pass == Pass::forward ? find(Work::head, Pass::backward, op, i)
                                                      : end_of_residual(i));
        return;
      case Work::dispatch:
        return write_dispatch(i);
      case Work::combine:
        return keep(hidden(tokens * model_.top_k), last_reader_[i], Pool::receive_buffers);
      case Work::stage:
        return keep(hidden(tokens),
                    op.pass == Pass::backward ? end_of_residual(i) : last_reader_[i],
                    Pool::receive_buffers);
      default:
        return;
    }
  }

  const MoeModel& model_;
  const PredictedLoad& load_;
  RankId rank_;
  const Program& program_;
  Reads reads_;
  std::vector<std::uint32_t> last_reader_;
  KeyIndex kinds_{program_.size()};
  std::vector<std::uint32_t> first_;  // [kinds] op
  std::vector<Value> values_;
  std::array<Bytes, 2> alive_;
  Bytes workspace_;
  Bytes peak_;
};

double optimizer_bytes(Optimizer optimizer) {
  return optimizer == Optimizer::adamw ? optimizer_bytes_adamw : optimizer_bytes_adamw_8bit;
}

}  // namespace

Bytes runtime_memory() { return runtime_bytes; }

double bytes_per_parameter(Optimizer optimizer) {
  return 2 * half_bytes + optimizer_bytes(optimizer);
}

std::vector<MemoryUse> parameter_memory(const Schedule& schedule, const Scenario& scenario,
                                        const PredictedLoad& load) {
  std::vector<MemoryUse> out(schedule.ranks.size());
  for (std::uint32_t r = 0; r < out.size(); ++r) {
    const double parameters = load.shared_parameters({r}) + load.expert_parameters({r});
    out[r].weights = out[r].gradients = {parameters * half_bytes};
    out[r].optimizer = {load.optimizer_parameters({r}) *
                        optimizer_bytes(scenario.training.optimizer)};
    out[r].runtime = runtime_bytes;
  }
  return out;
}

std::vector<MemoryUse> peak_memory(const Schedule& schedule, const Scenario& scenario,
                                   const PredictedLoad& load) {
  std::vector<MemoryUse> out = parameter_memory(schedule, scenario, load);
  std::map<std::pair<std::uint16_t, RankId>, MemoryUse> walked;  // by program and rank alike
  for (std::uint32_t r = 0; r < schedule.ranks.size(); ++r) {
    const auto [alike, is_new] =
        walked.try_emplace({schedule.ranks[r].program, load.like(RankId{r})});
    if (is_new) Walk(schedule, scenario, load, {r}).run(alike->second);
    out[r].activations = alike->second.activations;
    out[r].receive_buffers = alike->second.receive_buffers;
  }
  return out;
}

}  // namespace zebroid
