#include "tests/support/block_runs.hpp"

#include <algorithm>

namespace zebroid::testing {
namespace {

std::vector<double> random_parameters(std::mt19937_64& random, const std::vector<Tensor>& tensors) {
  std::vector<double> out;
  for (const Tensor& tensor : tensors) {
    for (double number : random_numbers(random, tensor.size())) {
      out.push_back(tensor.is_norm ? 1 + number / 2 : number);
    }
  }
  return out;
}

}  // namespace

AttentionCase attention_case(const MoeModel& model, std::uint32_t layer, Tokens tokens,
                             std::uint64_t seed) {
  std::mt19937_64 random(seed);
  AttentionCase out;
  out.model = model;
  out.layer = layer;
  out.tokens = tokens;
  out.parameters = random_parameters(random, shared_tensors(model, layer).all());
  const bool has_experts = model.layers[layer].has_experts;
  const std::size_t size = tokens.count() * model.hidden;
  out.x = random_numbers(random, size);
  out.bias = random_numbers(random, model.experts);
  out.dresidual = random_numbers(random, size);
  out.dffn_input = has_experts ? random_numbers(random, size) : std::vector<double>(size);
  out.dweight = random_numbers(random, tokens.count() * model.top_k);
  return out;
}

AttentionCase random_attention_case(std::uint64_t seed) {
  std::mt19937_64 random(seed);
  const auto between = [&random](std::uint32_t low, std::uint32_t high) {
    return random_between(random, low, high);
  };
  SmallModel small;
  small.hidden = between(1, 9);
  small.vocabulary = between(1, 3);
  small.kv_heads = between(1, 3);
  small.heads = small.kv_heads * between(1, 3);
  small.head_dim = 2 * between(1, 5);
  small.experts = between(1, 5);
  small.top_k = seed % 3 == 0 ? 1 : seed % 3 == 1 ? small.experts : between(1, small.experts);
  SmallLayer layer;
  layer.has_experts = seed % 4 < 2;
  layer.shared_ffn = seed % 4 == 1 ? between(1, 6) : 0;
  layer.dense_ffn = seed % 4 == 2 ? between(1, 6) : 0;
  layer.window = between(0, 1) * between(1, 5);
  layer.chunked = between(0, 1) == 1;
  small.layers.assign(between(1, 3), layer);
  const std::uint32_t layers = static_cast<std::uint32_t>(small.layers.size());
  const Tokens tokens = {.sequences = seed % 7 == 6 ? 0 : between(1, 3), .length = between(1, 7)};
  return attention_case(make_model(small), between(0, layers - 1), tokens, seed + 1000);
}

template <class Real>
AttentionRun<Real> run_attention(const AttentionCase& test, Real before) {
  const MoeModel& model = test.model;
  const std::size_t tokens = test.tokens.count();
  const std::size_t size = attention_values_size(model, test.layer, test.tokens);
  const bool has_experts = model.layers[test.layer].has_experts;
  const auto parameters = rounded<Real>(test.parameters);
  const auto x = rounded<Real>(test.x);
  const AttentionInput<Real> input = {parameters.data(), test.tokens, x.data()};

  AttentionRun<Real> out;
  out.values = unwritten<Real>(size);
  out.residual = unwritten<Real>(x.size());
  const auto values = attention_values(model, test.layer, test.tokens, out.values.data());
  attention_forward(model, test.layer, input, values, out.residual.data());
  if (has_experts) {
    out.expert.assign(tokens * model.top_k, -1);
    out.weight = unwritten<Real>(tokens * model.top_k);
    const auto bias = rounded<Real>(test.bias);
    choose_experts<Real>(model, tokens, bias.data(), values,
                         {out.expert.data(), out.weight.data()});
  }

  auto workspace_array = unwritten<Real>(size);
  const auto workspace = attention_values(model, test.layer, test.tokens, workspace_array.data());
  const auto dffn_input = rounded<Real>(test.dffn_input);
  std::copy(dffn_input.begin(), dffn_input.end(), workspace.ffn_input);
  const auto dresidual = rounded<Real>(test.dresidual);
  const auto dweight = rounded<Real>(test.dweight);
  auto scratch = unwritten<Real>(largest_tensor(model));
  out.dx = unwritten<Real>(x.size());
  out.gradient.assign(parameters.size(), before);
  const Chosen<Real> chosen = {out.expert.data(), out.weight.data(), dweight.data()};
  attention_backward<Real>(model, test.layer, input, values,
                           {.dy = dresidual.data(),
                            .chosen = has_experts ? &chosen : nullptr,
                            .workspace = workspace,
                            .dx = out.dx.data(),
                            .gradient = {out.gradient.data(), scratch.data()}});
  return out;
}

ExpertCase expert_case(const MoeModel& model, std::size_t rows, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  ExpertCase out;
  out.model = model;
  out.rows = rows;
  out.parameters = random_parameters(random, expert_tensors(model).all());
  out.x = random_numbers(random, rows * model.hidden);
  out.weight = random_numbers(random, rows);
  out.dy = random_numbers(random, rows * model.hidden);
  return out;
}

template <class Real>
ExpertRun<Real> run_expert(const ExpertCase& test, Real before) {
  const auto parameters = rounded<Real>(test.parameters);
  const auto x = rounded<Real>(test.x);
  const auto weight = rounded<Real>(test.weight);
  const auto dy = rounded<Real>(test.dy);
  const ExpertInput<Real> input = {parameters.data(), test.rows, x.data(), weight.data()};
  const std::size_t internals = 3 * test.rows * test.model.expert_ffn;
  ExpertRun<Real> out;
  out.internals = unwritten<Real>(internals);
  out.y = unwritten<Real>(x.size());
  expert_forward<Real>(test.model, input, out.internals.data(), out.y.data());

  auto workspace = unwritten<Real>(internals);
  auto scratch = unwritten<Real>(largest_tensor(test.model));
  out.dx = unwritten<Real>(x.size());
  out.dweight = unwritten<Real>(test.rows);
  out.gradient.assign(parameters.size(), before);
  expert_backward<Real>(test.model, input, out.internals.data(),
                        {.dy = dy.data(),
                         .workspace = workspace.data(),
                         .dx = out.dx.data(),
                         .dweight = out.dweight.data(),
                         .gradient = {out.gradient.data(), scratch.data()}});
  return out;
}

HeadCase head_case(const MoeModel& model, std::size_t tokens, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  const auto last = static_cast<std::uint32_t>(model.layers.size() - 1);
  HeadCase out;
  out.model = model;
  out.parameters = random_parameters(random, shared_tensors(model, last).all());
  out.x = random_numbers(random, tokens * model.hidden);
  for (std::size_t i = 0; i < tokens; ++i) {
    out.targets.push_back(random_between(random, 0, model.vocabulary - 1));
  }
  return out;
}

template <class Real>
HeadRun<Real> run_head(const HeadCase& test, Real before) {
  const auto parameters = rounded<Real>(test.parameters);
  const auto x = rounded<Real>(test.x);
  const HeadInput<Real> input = {parameters.data(), x.data(), test.targets};
  auto workspace = unwritten<Real>(head_workspace_size(test.model, test.targets.size()));
  HeadRun<Real> out;
  out.loss = head_forward<Real>(test.model, input, workspace.data());

  std::fill(workspace.begin(), workspace.end(), std::numeric_limits<Real>::quiet_NaN());
  auto scratch = unwritten<Real>(largest_tensor(test.model));
  out.dx = unwritten<Real>(x.size());
  out.gradient.assign(parameters.size(), before);
  head_backward<Real>(test.model, input,
                      {.scale = test.scale,
                       .workspace = workspace.data(),
                       .dx = out.dx.data(),
                       .gradient = {out.gradient.data(), scratch.data()}});
  return out;
}

template AttentionRun<float> run_attention(const AttentionCase&, float);
template AttentionRun<double> run_attention(const AttentionCase&, double);
template ExpertRun<float> run_expert(const ExpertCase&, float);
template ExpertRun<double> run_expert(const ExpertCase&, double);
template HeadRun<float> run_head(const HeadCase&, float);
template HeadRun<double> run_head(const HeadCase&, double);

}  // namespace zebroid::testing
