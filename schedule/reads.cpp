#include <algorithm>
#include <span>

#include "schedule/op_index.hpp"
#include "schedule/schedule.hpp"

namespace zebroid {
namespace {

class Finder {
 public:
  Finder(const Schedule& schedule, const Program& program)
      : schedule_(schedule), program_(program), index_(program) {
    for (const Op& op : program) {
      most_microbatches_ = std::max(most_microbatches_, op.microbatch + 1U);
    }
  }

  Reads run() {
    Reads out;
    out.first.reserve(program_.size() + 1);
    out.ops.reserve(2 * program_.size());
    out.first.push_back(0);
    for (std::uint32_t i = 0; i < program_.size(); ++i) {
      found_.clear();
      if (!row(program_[i])) out.lacking.push_back(i);
      std::sort(found_.begin(), found_.end());
      found_.erase(std::unique(found_.begin(), found_.end()), found_.end());
      out.ops.insert(out.ops.end(), found_.begin(), found_.end());
      out.first.push_back(static_cast<std::uint32_t>(out.ops.size()));
    }
    return out;
  }

 private:
  bool add(std::span<const std::uint32_t> ops) {
    found_.insert(found_.end(), ops.begin(), ops.end());
    return !ops.empty();
  }
  bool all_chunks(Work work, Pass pass, std::uint32_t layer, std::uint32_t microbatch) {
    return add(index_.all_chunks(work, pass, layer, microbatch));
  }
  bool one_chunk(Work work, Pass pass, const Op& op) {
    return add(index_.one_chunk(work, pass, op));
  }
  bool all_microbatches(Work work, Pass pass, std::uint32_t layer) {
    bool some = false;
    for (std::uint32_t j = 0; j < most_microbatches_; ++j) {
      some = all_chunks(work, pass, layer, j) || some;
    }
    return some;
  }
  bool all_layers(Work work, Pass pass) {
    const std::size_t before = found_.size();
    for (std::uint32_t i = 0; i < program_.size(); ++i) {
      if (program_[i].work == work && program_[i].pass == pass) found_.push_back(i);
    }
    return found_.size() > before;
  }

  /// What layer `layer` - 1 leaves behind: combine | expert | attention.
  bool below(std::uint32_t layer, std::uint32_t microbatch) {
    if (layer == 0) return false;
    return all_chunks(Work::combine, Pass::forward, layer - 1, microbatch) ||
           all_chunks(Work::expert, Pass::forward, layer - 1, microbatch) ||
           all_chunks(Work::attention, Pass::forward, layer - 1, microbatch);
  }
  bool input(std::uint32_t layer, std::uint32_t microbatch) {
    return all_chunks(Work::stage, Pass::forward, layer, microbatch) || below(layer, microbatch);
  }
  bool output_gradient(std::uint32_t layer, std::uint32_t microbatch) {
    return all_chunks(Work::stage, Pass::backward, layer + 1, microbatch) ||
           all_chunks(Work::attention, Pass::backward, layer + 1, microbatch) ||
           (layer + 1U == schedule_.layers &&
            all_chunks(Work::head, Pass::backward, layer, microbatch));
  }

  bool attention(const Op& op) {
    const std::uint32_t l = op.layer;
    const std::uint32_t j = op.microbatch;
    if (op.pass == Pass::forward) return input(l, j) || l == 0;
    if (op.pass == Pass::recompute) {
      input(l, j);  // kept, where nothing is found
      feeds_experts_again(l, j) ? output_gradient(l, j) : attention_gradient(l, j);
      return true;
    }
    all_chunks(Work::attention, Pass::recompute, l, j);
    return attention_gradient(l, j);
  }
  /// What attention computes again goes to the experts, sent or on this rank.
  bool feeds_experts_again(std::uint32_t layer, std::uint32_t microbatch) const {
    const auto lists = [&](Work work, Pass pass) {
      return !index_.all_chunks(work, pass, layer, microbatch).empty();
    };
    return lists(Work::dispatch, Pass::recompute) ||
           (lists(Work::expert, Pass::recompute) && !lists(Work::dispatch, Pass::forward));
  }
  bool attention_gradient(std::uint32_t layer, std::uint32_t microbatch) {
    return all_chunks(Work::combine, Pass::backward, layer, microbatch) ||
           all_chunks(Work::expert, Pass::backward, layer, microbatch) ||
           output_gradient(layer, microbatch);
  }
  bool expert_gradient(const Op& op) {
    return one_chunk(Work::dispatch, Pass::backward, op) ||
           output_gradient(op.layer, op.microbatch);
  }

  bool expert(const Op& op) {
    if (op.pass == Pass::backward) {
      one_chunk(Work::expert, Pass::recompute, op);
      return expert_gradient(op);
    }
    const bool again = op.pass == Pass::recompute;
    if (again && one_chunk(Work::dispatch, Pass::recompute, op)) return true;
    const bool is_dispatched = one_chunk(Work::dispatch, Pass::forward, op);
    if (again && !is_dispatched &&
        all_chunks(Work::attention, Pass::recompute, op.layer, op.microbatch)) {
      return true;
    }
    if (again) expert_gradient(op);
    return is_dispatched || all_chunks(Work::attention, Pass::forward, op.layer, op.microbatch) ||
           again;
  }

  /// An exchange may find nothing: then this member only receives. verify knows who must send.
  void exchange(const Op& op) {
    switch (op.work) {
      case Work::dispatch:
        if (op.pass == Pass::backward) {
          output_gradient(op.layer, op.microbatch);
        } else {
          all_chunks(Work::attention, op.pass, op.layer, op.microbatch);
        }
        break;
      case Work::combine:
        one_chunk(Work::expert, op.pass, op);
        break;
      default:  // stage
        if (op.pass == Pass::backward) {
          all_chunks(Work::attention, Pass::backward, op.layer, op.microbatch);
        } else {
          below(op.layer, op.microbatch);
        }
        break;
    }
  }

  /// A phase of a sum goes on with what the phases before it left here.
  void earlier_phases(const Op& op) {
    for (const std::uint32_t i : index_.all_chunks(op.work, op.pass, op.layer, op.microbatch)) {
      if (program_[i].chunk < op.chunk) found_.push_back(i);
    }
  }

  /// Everything that leaves a gradient on this rank, summed or not.
  void all_gradients() {
    for (const Work work :
         {Work::attention, Work::expert, Work::head, Work::reduce_shared, Work::reduce_experts}) {
      all_layers(work, Pass::backward);
    }
  }

  /// Collects what the op reads; false when its row finds nothing although it must.
  bool row(const Op& op) {
    switch (op.work) {
      case Work::attention:
        return attention(op);
      case Work::expert:
        return expert(op);
      case Work::head:
        if (op.pass == Pass::backward) {
          return all_chunks(Work::head, Pass::forward, op.layer, op.microbatch);
        }
        return below(schedule_.layers, op.microbatch);
      case Work::step:
        return all_layers(Work::reduce_norm, Pass::backward);
      case Work::dispatch:
      case Work::combine:
      case Work::stage:
        exchange(op);
        return true;
      case Work::reduce_shared: {
        earlier_phases(op);
        const bool some = all_microbatches(Work::attention, Pass::backward, op.layer);
        return (op.layer + 1U == schedule_.layers &&
                all_microbatches(Work::head, Pass::backward, op.layer)) ||
               some;
      }
      case Work::reduce_experts:
        earlier_phases(op);
        return all_microbatches(Work::expert, Pass::backward, op.layer);
      case Work::reduce_norm:
        earlier_phases(op);
        all_gradients();
        return true;  // a rank without parameters adds nothing
      case Work::gather:
        return all_layers(Work::step, Pass::backward);
    }
    return false;
  }

  const Schedule& schedule_;
  const Program& program_;
  OpIndex index_;
  std::uint32_t most_microbatches_ = 0;
  std::vector<std::uint32_t> found_;
};

}  // namespace

Reads reads(const Schedule& schedule, const Program& program) {
  return Finder(schedule, program).run();
}

}  // namespace zebroid
