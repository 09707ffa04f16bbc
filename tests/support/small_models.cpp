#include "tests/support/small_models.hpp"

namespace zebroid::testing {

MoeModel make_model(const SmallModel& small) {
  MoeModel out;
  out.name = "small";
  out.hidden = small.hidden;
  out.vocabulary = small.vocabulary;
  out.experts = small.experts;
  out.top_k = small.top_k;
  out.expert_ffn = small.expert_ffn;
  for (const SmallLayer& layer : small.layers) {
    Layer to;
    to.attention = {.heads = small.heads,
                    .kv_heads = small.kv_heads,
                    .head_dim = small.head_dim,
                    .value_dim = small.head_dim,
                    .window = layer.window,
                    .chunked = layer.chunked};
    to.dense_ffn = layer.dense_ffn;
    to.shared_ffn = layer.shared_ffn;
    to.has_experts = layer.has_experts;
    out.layers.push_back(to);
  }
  return out;
}

std::vector<double> random_numbers(std::mt19937_64& random, std::size_t size) {
  std::vector<double> out(size);
  for (double& number : out) number = static_cast<double>(random() >> 11U) * 0x1p-52 - 1;
  return out;
}

std::uint32_t random_between(std::mt19937_64& random, std::uint32_t low, std::uint32_t high) {
  return low + static_cast<std::uint32_t>(random() % (std::uint64_t{high} - low + 1));
}

}  // namespace zebroid::testing
