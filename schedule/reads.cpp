#include <algorithm>
#include <utility>

#include "schedule/schedule.hpp"

namespace zebroid {
namespace {

/// An op's key packs work, pass, layer, microbatch and chunk, so that all chunks (and, with
/// any_microbatch, all microbatches) of one kind are neighbours in a sorted list.
using Key = std::uint64_t;

constexpr Key key_of(Work work, Pass pass, std::uint32_t layer, std::uint32_t microbatch,
                     std::uint32_t chunk) {
  return (static_cast<Key>(work) << 56U) | (static_cast<Key>(pass) << 52U) |
         (static_cast<Key>(layer) << 32U) | (static_cast<Key>(microbatch) << 16U) | chunk;
}

constexpr std::uint32_t any = 0xFFFF;  ///< as the upper end of a range of 16-bit numbers

class Finder {
 public:
  Finder(const Schedule& schedule, const Program& program)
      : schedule_(schedule), program_(program) {
    order_.reserve(program.size());
    for (std::uint32_t i = 0; i < program.size(); ++i) {
      const Op& op = program[i];
      order_.emplace_back(key_of(op.work, op.pass, op.layer, op.microbatch, op.chunk), i);
    }
    std::sort(order_.begin(), order_.end());
  }

  Reads run() {
    Reads out;
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
  bool take(Key low, Key high) {
    auto at = std::lower_bound(order_.begin(), order_.end(), std::pair{low, 0U});
    const bool some = at != order_.end() && at->first <= high;
    for (; at != order_.end() && at->first <= high; ++at) found_.push_back(at->second);
    return some;
  }
  /// All chunks of (work, pass, layer) for the microbatch of the op at hand.
  bool all_chunks(Work work, Pass pass, std::uint32_t layer, std::uint32_t microbatch) {
    return take(key_of(work, pass, layer, microbatch, 0),
                key_of(work, pass, layer, microbatch, any));
  }
  bool one_chunk(Work work, Pass pass, const Op& op) {
    const Key key = key_of(work, pass, op.layer, op.microbatch, op.chunk);
    return take(key, key);
  }
  bool all_microbatches(Work work, Pass pass, std::uint32_t layer) {
    return take(key_of(work, pass, layer, 0, 0), key_of(work, pass, layer, any, any));
  }
  bool all_layers(Work work, Pass pass) {
    return take(key_of(work, pass, 0, 0, 0), key_of(work, pass, any, any, any));
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
    if (op.pass == Pass::recompute) return input(l, j) || true;  // its input was kept
    all_chunks(Work::attention, Pass::recompute, l, j);
    return all_chunks(Work::combine, Pass::backward, l, j) ||
           all_chunks(Work::expert, Pass::backward, l, j) || output_gradient(l, j);
  }

  bool expert(const Op& op) {
    if (op.pass == Pass::backward) {
      one_chunk(Work::expert, Pass::recompute, op);
      return one_chunk(Work::dispatch, Pass::backward, op) ||
             output_gradient(op.layer, op.microbatch);
    }
    if (op.pass == Pass::recompute && one_chunk(Work::dispatch, Pass::recompute, op)) return true;
    return one_chunk(Work::dispatch, Pass::forward, op) ||
           all_chunks(Work::attention, Pass::forward, op.layer, op.microbatch) ||
           op.pass == Pass::recompute;
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
        const bool some = all_microbatches(Work::attention, Pass::backward, op.layer);
        return (op.layer + 1U == schedule_.layers &&
                all_microbatches(Work::head, Pass::backward, op.layer)) ||
               some;
      }
      case Work::reduce_experts:
        return all_microbatches(Work::expert, Pass::backward, op.layer);
      case Work::reduce_norm:
        all_gradients();
        return true;  // a rank without parameters adds nothing
      case Work::gather:
        return all_layers(Work::step, Pass::backward);
    }
    return false;
  }

  const Schedule& schedule_;
  const Program& program_;
  std::vector<std::pair<Key, std::uint32_t>> order_;
  std::vector<std::uint32_t> found_;
};

}  // namespace

Reads reads(const Schedule& schedule, const Program& program) {
  return Finder(schedule, program).run();
}

}  // namespace zebroid
