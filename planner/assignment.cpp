#include "planner/assignment.hpp"

#include <algorithm>
#include <cmath>

namespace zebroid {

std::vector<std::uint32_t> deal_evenly(std::uint32_t experts, std::uint32_t holders,
                                       std::uint32_t shift) {
  const std::uint32_t base = experts / holders;
  const std::uint32_t longer = experts % holders;
  std::vector<std::uint32_t> out;
  out.reserve(experts);
  for (std::uint32_t h = 0; h < holders; ++h) {
    const bool is_longer = (h + holders - shift % holders) % holders < longer;
    out.insert(out.end(), base + (is_longer ? 1 : 0), h);
  }
  return out;
}

Offload gather_and_squeeze(const GatherAndSqueeze& in) {
  Offload out;
  out.per_layer.assign(in.layers, 0);
  out.fits = in.least_offloaded <= 0;
  const std::uint32_t m = in.attention_gpus;
  const std::uint32_t n = in.expert_gpus;
  if (m == 0 || n == 0 || in.layers == 0 || (m % n != 0 && n % m != 0)) return out;
  const std::uint32_t arriving = std::max(1U, n / m);  // n1: on each attention GPU
  const std::uint32_t leaving = arriving * m / n;      // n2: from each expert GPU
  const bool swapped = in.form == SqueezeForm::printed;
  const double n1 = swapped ? leaving : arriving;
  const double n2 = swapped ? arriving : leaving;
  const double squeeze =
      static_cast<double>(n) / in.experts *
      (n2 * in.experts_on_expert_gpu.value + n1 * in.experts_on_attention_gpu.value);
  const double most_chunks = std::floor(in.most_offloaded / leaving);
  const double least_chunks = std::ceil(in.least_offloaded / leaving);
  if (in.least_offloaded > in.most_offloaded) {
    out.fits = false;
    return out;
  }
  out.fits = true;
  if (!(squeeze > 0)) return out;
  const double per_layer =
      squeeze / in.layers;  // of gap that one chunk in all layers together closes
  double gap = in.experts_on_expert_gpu.value - in.attention.value;  // T_gather
  gap = std::min(gap, most_chunks * per_layer);
  gap = std::max(gap, least_chunks * per_layer);
  if (gap <= 0) return out;
  double gathered = 0;
  constexpr double rounding = 1e-9;
  for (std::uint32_t& offloaded : out.per_layer) {
    gathered += gap;
    const double affordable = std::floor(gathered / squeeze + rounding);
    const std::uint32_t left = in.experts / n / leaving;  // whole chunks
    const double chunks = std::min(affordable, static_cast<double>(left));
    offloaded = static_cast<std::uint32_t>(chunks) * leaving;
    gathered -= chunks * squeeze;
  }
  return out;
}

}  // namespace zebroid
