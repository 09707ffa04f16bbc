#pragma once

#include <cstdint>
#include <vector>

#include "models/scenario.hpp"

namespace zebroid {

/// Which GPU of a group holds each expert: [layers][experts], below the number of expert GPUs an
/// expert GPU, from there on an attention GPU, both in ascending order. A layer without experts has
/// none.
using Placement = std::vector<std::vector<std::uint32_t>>;

/// As HeterMoE places them: dealt to the expert GPUs evenly, of which each then gives the last
/// offload[layer] ones, or all that it has, to the attention GPUs in turn.
Placement even_placement(const MoeModel& model, std::uint32_t expert_gpus,
                         std::uint32_t attention_gpus, const std::vector<std::uint32_t>& offload);

/// A GPU that may hold experts.
struct Holder {
  double busy = 0;      ///< seconds that it has other work, per layer
  double seconds = 1;   ///< that all experts of a layer would take it
  double room = 1e300;  ///< experts that it can hold, of all layers together
};

/// Places experts layer by layer, those with most load first: each on the side, expert or attention
/// GPUs, that is furthest below its part of the load, and there on the GPU that is done first; of
/// equal ones on that with fewest experts so far, so that over the layers all get equally many. A
/// side or GPU without room is passed over while another has some.
class LongestFirst {
 public:
  /// holders: the expert GPUs, then the attention GPUs.
  LongestFirst(std::vector<Holder> holders, std::uint32_t expert_gpus);

  /// The holder of each expert of the next layer, of which those on attention GPUs shall get
  /// `on_attention` of `shares.size()` parts of the load. shares: of the experts, in sum 1.
  std::vector<std::uint32_t> place(const std::vector<double>& shares, std::uint32_t on_attention);

 private:
  bool has_room(std::uint32_t first, std::uint32_t last) const;
  std::uint32_t first_done(std::uint32_t first, std::uint32_t last, double share) const;

  std::vector<Holder> holders_;
  std::uint32_t expert_gpus_;
  std::vector<std::uint32_t> held_;  // [holders] experts so far
  std::vector<double> load_;         // [holders] of this layer
};

/// All layers so; on_attention: [layers].
Placement longest_first_placement(const Scenario& scenario, const std::vector<Holder>& holders,
                                  std::uint32_t expert_gpus,
                                  const std::vector<std::uint32_t>& on_attention);

}  // namespace zebroid
