#include "schedule/values.hpp"

#include <algorithm>
#include <utility>

#include "schedule/op_index.hpp"

namespace zebroid {
namespace {

bool sums_gradients(Work work) {
  return work == Work::attention || work == Work::expert || work == Work::head;
}

class Table {
 public:
  Table(const Schedule& schedule, const Program& program, const MoeModel& model)
      : schedule_(schedule), program_(program), model_(model), index_(program) {}

  Values run() {
    out_.first.reserve(program_.size() + 1);
    out_.all.reserve(3 * program_.size());
    out_.readers.reserve(6 * program_.size());
    out_.first.push_back(0);
    find_turns();
    for (op_ = 0; op_ < program_.size(); ++op_) {
      write(program_[op_]);
      out_.first.push_back(static_cast<std::uint32_t>(out_.all.size()));
    }
    find_reads();
    return std::move(out_);
  }

 private:
  /// A value of the current op; read_by() and its like add its readers.
  void leave(What what, Pool pool = Pool::activations) {
    out_.all.push_back({what, pool, op_, static_cast<std::uint32_t>(out_.readers.size()), 0});
  }
  void read_by(std::span<const std::uint32_t> ops) {
    for (const std::uint32_t op : ops) {
      if (op != op_) out_.readers.push_back(op);
    }
    Value& value = out_.all.back();
    value.readers = static_cast<std::uint32_t>(out_.readers.size()) - value.first_reader;
  }

  std::span<const std::uint32_t> find(Work work, Pass pass, const Op& like) const {
    return index_.all_chunks(work, pass, like.layer, like.microbatch);
  }
  bool lists(Work work, Pass pass, const Op& like) const { return !find(work, pass, like).empty(); }
  std::span<const std::uint32_t> find_chunk(Work work, Pass pass, const Op& like) const {
    return index_.one_chunk(work, pass, like);
  }

  // Around experts what attention left in the residual stream is not read by its next reader alone:
  // their outputs are added to it, their input gradients to the gradient of the layer's output.

  // Gradients of parameters are added up microbatch after microbatch, chunk after chunk. What comes
  // before its turn is kept apart until the last of those before it has run.

  bool keeps_turns() const {
    std::vector<std::uint32_t> turns(schedule_.layers * (static_cast<std::size_t>(Work::head) + 1));
    return std::all_of(program_.begin(), program_.end(), [&](const Op& op) {
      if (op.pass != Pass::backward || !sums_gradients(op.work)) return true;
      std::uint32_t& last = turns[static_cast<std::size_t>(op.work) * schedule_.layers + op.layer];
      const std::uint32_t turn = std::uint32_t{op.microbatch} << 16U | op.chunk;
      return std::exchange(last, turn) <= turn;
    });
  }
  void find_turns() {
    last_before_.assign(program_.size(), 0);
    if (keeps_turns()) return;
    for (const Work work : {Work::attention, Work::expert, Work::head}) {
      for (std::uint32_t l = 0; l < schedule_.layers; ++l) {
        std::uint32_t last = 0;
        for (std::uint32_t j = 0; j < schedule_.microbatches; ++j) {
          for (const std::uint32_t op : index_.all_chunks(work, Pass::backward, l, j)) {
            last_before_[op] = last;
            last = std::max(last, op);
          }
        }
      }
    }
  }
  void leave_early_gradient() {
    const std::uint32_t last = last_before_[op_];
    if (last <= op_) return;
    leave(What::early_gradient);
    read_by(std::span(&last, 1));
  }

  void read_by_what_follows(const Op& op) {
    read_by(index_.all_chunks(Work::attention, Pass::forward, op.layer + 1U, op.microbatch));
    read_by(index_.all_chunks(Work::stage, Pass::forward, op.layer + 1U, op.microbatch));
    if (op.layer + 1U == schedule_.layers) read_by(find(Work::head, Pass::forward, op));
  }
  /// Those that read the gradient of the output of the layer of `like`.
  void gradient_read_by(const Op& like) {
    const auto dispatches = find(Work::dispatch, Pass::backward, like);
    read_by(dispatches);
    if (dispatches.empty()) read_by(find(Work::expert, Pass::backward, like));
    read_by(find(Work::attention, Pass::backward, like));
  }
  void gradient_read_below(const Op& op) {
    if (op.layer == 0) return;
    Op below = op;
    --below.layer;
    gradient_read_by(below);
  }

  void leave_routing(const Op& op) {
    leave(What::routing);
    for (const Work work : {Work::dispatch, Work::expert, Work::combine, Work::attention}) {
      for (const Pass pass : {Pass::forward, Pass::recompute, Pass::backward}) {
        read_by(find(work, pass, op));
      }
    }
    read_by_what_follows(op);
  }

  /// Experts that read where attention sorted, and whose backward does so too.
  bool feeds_own_experts(const Op& op) const {
    return lists(Work::expert, Pass::backward, op) && !lists(Work::dispatch, Pass::forward, op);
  }

  void write_attention(const Op& op) {
    const bool recomputed = lists(Work::attention, Pass::recompute, op);
    const auto backward = find(Work::attention, Pass::backward, op);
    if (op.pass == Pass::backward) {
      leave(What::gradient);
      const auto stage = find(Work::stage, Pass::backward, op);
      read_by(stage);
      if (stage.empty()) gradient_read_below(op);
      leave(What::workspace);
      return leave_early_gradient();
    }
    const bool routes = model_.layers[op.layer].has_experts;
    if (op.pass == Pass::recompute) {
      leave(What::attention_values);
      read_by(backward);
      if (routes) leave_rows_sorted_again(op);
      return;
    }
    leave(What::layer_input);
    read_by(find(Work::attention, Pass::recompute, op));
    read_by(backward);
    leave(What::residual);
    read_by_what_follows(op);
    leave(recomputed ? What::workspace : What::attention_values);
    if (!recomputed) read_by(backward);
    if (!routes) return;
    leave_routing(op);
    leave(What::sorted_rows);
    const auto dispatches = find(Work::dispatch, Pass::forward, op);
    read_by(dispatches);
    if (!dispatches.empty()) return;
    read_by(find(Work::expert, Pass::forward, op));
    if (recomputed) return;
    read_by(find(Work::expert, Pass::recompute, op));
    read_by(find(Work::expert, Pass::backward, op));
  }

  void leave_rows_sorted_again(const Op& op) {
    const auto dispatches = find(Work::dispatch, Pass::recompute, op);
    if (dispatches.empty() && !feeds_own_experts(op)) return;
    leave(What::sorted_rows);
    read_by(dispatches);
    if (!feeds_own_experts(op)) return;
    read_by(find(Work::expert, Pass::recompute, op));
    read_by(find(Work::expert, Pass::backward, op));
  }

  void write_expert(const Op& op) {
    const auto backward = find_chunk(Work::expert, Pass::backward, op);
    const bool recomputed = !find_chunk(Work::expert, Pass::recompute, op).empty();
    const bool keeps = op.pass == Pass::recompute || (op.pass == Pass::forward && !recomputed);
    leave(keeps ? What::expert_values : What::workspace);
    if (keeps) read_by(backward);
    const auto combine = find_chunk(Work::combine, op.pass, op);
    if (op.pass == Pass::recompute && combine.empty()) return;
    leave(What::outputs);
    read_by(combine);
    if (op.pass == Pass::forward && !lists(Work::combine, Pass::forward, op)) {
      read_by_what_follows(op);
    }
    if (op.pass != Pass::backward) return;
    if (combine.empty()) read_by(find(Work::attention, Pass::backward, op));
    // Gradients of the outputs, which nobody sent.
    if (!lists(Work::dispatch, Pass::backward, op)) leave(What::gradient);
    leave_early_gradient();
  }

  void write_dispatch(const Op& op) {
    if (find_chunk(Work::expert, op.pass, op).empty()) return;
    const bool sent_again = !find_chunk(Work::dispatch, Pass::recompute, op).empty();
    const bool stays = op.pass == Pass::forward && !sent_again;
    leave(What::received_rows, stays ? Pool::activations : Pool::receive_buffers);
    if (op.pass == Pass::forward) read_by(find_chunk(Work::expert, Pass::forward, op));
    if (stays || op.pass == Pass::recompute) {
      read_by(find_chunk(Work::expert, Pass::recompute, op));
    }
    if (stays || op.pass != Pass::forward) read_by(find_chunk(Work::expert, Pass::backward, op));
  }

  void write_combine(const Op& op) {
    if (!lists(Work::attention, Pass::forward, op) && !lists(Work::attention, Pass::backward, op)) {
      return;
    }
    leave(What::returned, Pool::receive_buffers);
    if (op.pass == Pass::forward) read_by_what_follows(op);
    if (op.pass == Pass::backward) read_by(find(Work::attention, Pass::backward, op));
  }

  void write_stage(const Op& op) {
    if (op.pass == Pass::forward) {
      const auto attention = find(Work::attention, Pass::forward, op);
      if (attention.empty()) return;
      leave(What::hidden_states, Pool::receive_buffers);
      read_by(attention);
      return;
    }
    const bool receives =
        op.layer > 0 &&
        !index_.all_chunks(Work::attention, Pass::backward, op.layer - 1U, op.microbatch).empty();
    if (!receives) return;
    leave(What::hidden_states, Pool::receive_buffers);
    gradient_read_below(op);
  }

  void write(const Op& op) {
    switch (op.work) {
      case Work::attention:
        return write_attention(op);
      case Work::expert:
        return write_expert(op);
      case Work::head:
        if (op.pass == Pass::forward) {
          leave(What::head_input);
          read_by(find(Work::head, Pass::backward, op));
        } else {
          leave(What::gradient);
          gradient_read_by(op);
          leave_early_gradient();
        }
        return leave(What::workspace);
      case Work::dispatch:
        return write_dispatch(op);
      case Work::combine:
        return write_combine(op);
      case Work::stage:
        return write_stage(op);
      default:
        return;
    }
  }

  void find_reads() {
    auto& first = out_.first_read;
    first.assign(program_.size() + 1, 0);
    for (const std::uint32_t reader : out_.readers) ++first[reader + 1];
    for (std::size_t i = 0; i < program_.size(); ++i) first[i + 1] += first[i];
    out_.read.resize(out_.readers.size());
    std::vector<std::uint32_t> at(first.begin(), first.end() - 1);
    for (std::uint32_t v = 0; v < out_.all.size(); ++v) {
      for (const std::uint32_t reader : out_.readers_of(out_.all[v])) out_.read[at[reader]++] = v;
    }
  }

  const Schedule& schedule_;
  const Program& program_;
  const MoeModel& model_;
  OpIndex index_;
  std::uint32_t op_ = 0;
  std::vector<std::uint32_t> last_before_;  // [ops] of backward: last one of an earlier turn
  Values out_;
};

/// Everything that backward of the attention side needs beside its input.
Elements attention_elements(const MoeModel& model, std::uint32_t number, double tokens) {
  const Layer& layer = model.layers[number];
  const Attention& a = layer.attention;
  const double half = 2.0 * model.hidden +
                      static_cast<double>(a.heads) * (a.head_dim + a.value_dim) +
                      static_cast<double>(a.kv_heads) * (a.head_dim + a.value_dim) +
                      3.0 * (layer.dense_ffn + layer.shared_ffn);
  const double routed =
      layer.has_experts ? 2.0 * model.experts : 0;  // gate logits and probabilities
  return {.half = tokens * half, .single = tokens * (a.heads + routed)};
}

/// Gate, up and product.
Elements expert_elements(const MoeModel& model, double rows) {
  return {.half = rows * 3 * model.expert_ffn};
}

Elements workspace_elements(const MoeModel& model, const Op& writer, const Counts& counts) {
  if (writer.work == Work::attention) {
    return attention_elements(model, writer.layer, counts.tokens);
  }
  if (writer.work == Work::expert) return expert_elements(model, counts.rows);
  const double slice =
      std::min(counts.tokens, static_cast<double>(logit_slice_tokens));  // of the head
  return {.half = slice * (static_cast<double>(model.vocabulary) + model.hidden),
          .single = slice * model.vocabulary};
}

Elements gradient_elements(const MoeModel& model, const Op& writer, const Counts& counts) {
  if (writer.work != Work::expert) return {.half = shared_parameters(model, writer.layer)};
  return {.half = counts.experts * layer_parameters(model, writer.layer).expert};
}

}  // namespace

Values values_of(const Schedule& schedule, const Program& program, const MoeModel& model) {
  return Table(schedule, program, model).run();
}

Elements elements_of(const MoeModel& model, const Op& writer, What what, const Counts& counts) {
  const double tokens = counts.tokens;
  const double rows = counts.rows;
  constexpr double indices_per_copy = 3;  // its expert, where its row goes, where it comes back
  const double hidden = model.hidden;
  const double copies = tokens * model.top_k;
  const bool backward = writer.pass == Pass::backward;
  switch (what) {
    case What::layer_input:
    case What::residual:
    case What::hidden_states:
    case What::head_input:
      return {.half = tokens * hidden};
    case What::attention_values:
      return attention_elements(model, writer.layer, tokens);
    case What::routing:
      return {.single = copies, .index = indices_per_copy * copies};
    case What::sorted_rows:
      return {.half = copies * hidden};
    case What::received_rows:
      return {.half = rows * hidden, .single = backward ? 0 : rows};
    case What::expert_values:
      return expert_elements(model, rows);
    case What::outputs:
      return {.half = rows * hidden, .single = backward ? rows : 0};
    case What::returned:
      return {.half = copies * hidden, .single = backward ? copies : 0};
    case What::gradient:
      return {.half = (writer.work == Work::expert ? rows : tokens) * hidden};
    case What::early_gradient:
      return gradient_elements(model, writer, counts);
    case What::workspace:
      return workspace_elements(model, writer, counts);
  }
  return {};
}

}  // namespace zebroid
