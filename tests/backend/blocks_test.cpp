#include "backend/host/blocks.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <complex>
#include <functional>
#include <numeric>
#include <string>
#include <vector>

#include "tests/support/block_runs.hpp"

namespace zebroid {
namespace {

using testing::attention_case;
using testing::AttentionCase;
using testing::AttentionRun;
using testing::expert_case;
using testing::ExpertCase;
using testing::ExpertRun;
using testing::head_case;
using testing::HeadCase;
using testing::HeadRun;
using testing::make_model;
using testing::random_attention_case;
using testing::random_numbers;
using testing::rounded;
using testing::run_attention;
using testing::run_expert;
using testing::run_head;
using testing::SmallModel;
using testing::unwritten;

using Numbers = std::vector<double>;

double inner_product(const Numbers& a, const Numbers& b) {
  return std::inner_product(a.begin(), a.end(), b.begin(), 0.0);
}

double largest_size(const Numbers& values) {
  double out = 0;
  for (const double value : values) out = std::max(out, std::abs(value));
  return out;
}

/// max |a - b| / max |b|, infinite where sizes differ or either is not a number; where b is all but
/// zero, max |a - b| / 0.01.
double difference(const Numbers& a, const Numbers& b) {
  if (a.size() != b.size()) return HUGE_VAL;
  double out = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double apart = std::abs(a[i] - b[i]);
    out = std::max(out, std::isnan(apart) ? HUGE_VAL : apart);
  }
  return out / std::max(largest_size(b), 1e-2);
}

template <class Real>
Numbers widened(const Real* values, std::size_t size) {
  return {values, values + size};
}
template <class Real>
Numbers widened(const std::vector<Real>& values) {
  return {values.begin(), values.end()};
}

constexpr double step = 1e-5;
constexpr double gradient_tolerance = 1e-7;

/// The derivative at 0 by central differences over one and two steps, so that what is left is of
/// fourth order in the step: norms bend sharply where all of x is small.
double slope(const std::function<double(double)>& f) {
  const double near = (f(step) - f(-step)) / (2 * step);
  const double far = (f(2 * step) - f(-2 * step)) / (4 * step);
  return (4 * near - far) / 3;
}

/// Derivatives of `loss` after each of `values`.
Numbers slopes(Numbers& values, const std::function<double()>& loss) {
  Numbers out;
  for (double& value : values) {
    const double start = value;
    out.push_back(slope([&](double distance) {
      value = start + distance;
      return loss();
    }));
    value = start;
  }
  return out;
}

/// The part of a flat array that holds this tensor.
Numbers part(const Numbers& array, const Tensor& tensor) {
  const auto begin = array.begin() + static_cast<std::ptrdiff_t>(tensor.offset);
  return {begin, begin + static_cast<std::ptrdiff_t>(tensor.size())};
}

void expect_gradients(const std::vector<Tensor>& tensors, const Numbers& gradient,
                      const Numbers& measured) {
  ASSERT_EQ(gradient.size(), measured.size());
  for (const Tensor& tensor : tensors) {
    EXPECT_LT(difference(part(gradient, tensor), part(measured, tensor)), gradient_tolerance)
        << tensor.name;
  }
}

/// The derivative along a random direction, measured and by the gradient.
void expect_slope_along(Numbers& values, const Numbers& gradient,
                        const std::function<double()>& loss, const std::string& what) {
  std::mt19937_64 random(99);
  Numbers direction = random_numbers(random, values.size());
  const double length = std::sqrt(inner_product(direction, direction));
  const Numbers start = values;
  const auto at = [&](double distance) {
    for (std::size_t i = 0; i < values.size(); ++i) {
      values[i] = start[i] + distance * direction[i] / length;
    }
    return loss();
  };
  const double measured = slope(at);
  values = start;
  const double expected = inner_product(gradient, direction) / length;
  const double size = std::sqrt(inner_product(gradient, gradient));
  EXPECT_NEAR(measured, expected, gradient_tolerance * std::max(size, 1e-2)) << what;
}

// Attention.

struct Arrays {
  AttentionValues<double> values;
  std::size_t tokens, hidden, experts, heads;

  Numbers after_attention() const { return widened(values.after_attention, tokens * hidden); }
  Numbers ffn_input() const { return widened(values.ffn_input, tokens * hidden); }
  Numbers logits() const { return widened(values.logits, tokens * experts); }
  Numbers logsumexp() const { return widened(values.logsumexp, tokens * heads); }
};

template <class Real>
Arrays arrays_of(const AttentionCase& test, Numbers& array, const AttentionRun<Real>& run) {
  array = widened(run.values);
  const Layer& layer = test.model.layers[test.layer];
  return {attention_values(test.model, test.layer, test.tokens, array.data()), test.tokens.count(),
          test.model.hidden, layer.has_experts ? test.model.experts : 0, layer.attention.heads};
}

Numbers softmax(const Numbers& logits) {
  Numbers out;
  for (const double logit : logits) out.push_back(std::exp(logit));
  const double sum = std::accumulate(out.begin(), out.end(), 0.0);
  for (double& share : out) share /= sum;
  return out;
}

/// What the gradients are those of, with experts chosen as in `run`.
double attention_loss(const AttentionCase& test, const AttentionRun<double>& run) {
  const MoeModel& model = test.model;
  Numbers array = unwritten<double>(run.values.size());
  Numbers residual = unwritten<double>(test.x.size());
  const auto values = attention_values(model, test.layer, test.tokens, array.data());
  attention_forward<double>(model, test.layer, {test.parameters.data(), test.tokens, test.x.data()},
                            values, residual.data());
  double out = inner_product(residual, test.dresidual);
  if (!model.layers[test.layer].has_experts) return out;
  out += inner_product(widened(values.ffn_input, test.x.size()), test.dffn_input);
  for (std::size_t token = 0; token < test.tokens.count(); ++token) {
    Numbers chosen;
    for (std::size_t k = 0; k < model.top_k; ++k) {
      const std::int32_t expert = run.expert[token * model.top_k + k];
      chosen.push_back(values.logits[token * model.experts + static_cast<std::size_t>(expert)]);
    }
    const Numbers weights = softmax(chosen);
    for (std::size_t k = 0; k < model.top_k; ++k) {
      out += weights[k] * test.dweight[token * model.top_k + k];
    }
  }
  return out;
}

TEST(AttentionBlock, GradientsAreThoseOfFiniteDifferences) {
  for (std::uint64_t seed = 0; seed < 60; ++seed) {
    SCOPED_TRACE(seed);
    AttentionCase test = random_attention_case(seed);
    const AttentionRun<double> run = run_attention<double>(test);
    const auto loss = [&] { return attention_loss(test, run); };
    EXPECT_LT(difference(run.dx, slopes(test.x, loss)), gradient_tolerance);
    const Numbers measured = slopes(test.parameters, loss);
    expect_gradients(shared_tensors(test.model, test.layer).all(), run.gradient, measured);
  }
}

/// Longer than what meets in one product, with windows within and across.
std::vector<AttentionCase> long_cases() {
  std::vector<AttentionCase> out;
  for (const std::uint32_t window : {0, 1, 5, 64, 100, 500}) {
    for (const bool chunked : {false, true}) {
      const MoeModel model =
          make_model({.heads = 4,
                      .kv_heads = 2,
                      .head_dim = 6,
                      .layers = {{.shared_ffn = 5, .window = window, .chunked = chunked}}});
      out.push_back(attention_case(model, 0, {.sequences = 2, .length = 150}, 50 + window));
    }
  }
  return out;
}

TEST(AttentionBlock, GradientsOfLongSequencesAreThoseOfFiniteDifferences) {
  for (AttentionCase& test : long_cases()) {
    SCOPED_TRACE(test.model.layers[0].attention.window);
    const AttentionRun<double> run = run_attention<double>(test);
    const auto loss = [&] { return attention_loss(test, run); };
    expect_slope_along(test.x, run.dx, loss, "x");
    for (const Tensor& tensor : shared_tensors(test.model, 0).all()) {
      Numbers values = part(test.parameters, tensor);
      const auto moved = [&] {
        std::copy(values.begin(), values.end(),
                  test.parameters.begin() + static_cast<std::ptrdiff_t>(tensor.offset));
        return loss();
      };
      expect_slope_along(values, part(run.gradient, tensor), moved, tensor.name);
      moved();
    }
  }
}

/// The layer one token at a time, from the formulas.
class Textbook {
 public:
  explicit Textbook(const AttentionCase& test)
      : test_(test),
        tensors_(shared_tensors(test.model, test.layer)),
        layer_(test.model.layers[test.layer]) {}

  void run() {
    const std::size_t hidden = test_.model.hidden;
    for (std::size_t sequence = 0; sequence < test_.tokens.sequences; ++sequence) {
      std::vector<Numbers> queries, keys, values;
      for (std::size_t position = 0; position < test_.tokens.length; ++position) {
        const std::size_t token = sequence * test_.tokens.length + position;
        const auto begin = test_.x.begin() + static_cast<std::ptrdiff_t>(token * hidden);
        const Numbers x(begin, begin + static_cast<std::ptrdiff_t>(hidden));
        const Numbers normed = norm(x, tensors_.attention_norm);
        queries.push_back(rotate(product(normed, tensors_.query), position));
        keys.push_back(rotate(product(normed, tensors_.key), position));
        values.push_back(product(normed, tensors_.value));
        finish(x, attend(position, queries.back(), keys, values));
      }
    }
  }

  Numbers after_attention, ffn_input, logits, residual, logsumexp;

 private:
  Numbers norm(const Numbers& x, const Tensor& tensor) const {
    const Numbers weights = part(test_.parameters, tensor);
    double mean = 0;
    for (const double value : x) mean += value * value / static_cast<double>(x.size());
    Numbers out;
    for (std::size_t i = 0; i < x.size(); ++i) {
      out.push_back(x[i] / std::sqrt(mean + 1e-5) * weights[i]);
    }
    return out;
  }

  Numbers product(const Numbers& x, const Tensor& tensor) const {
    const Numbers matrix = part(test_.parameters, tensor);
    Numbers out(tensor.columns);
    for (std::size_t i = 0; i < tensor.rows; ++i) {
      for (std::size_t j = 0; j < tensor.columns; ++j) {
        out[j] += x[i] * matrix[i * tensor.columns + j];
      }
    }
    return out;
  }

  /// Pairs (i, i + d / 2) of every head as complex numbers, turned.
  Numbers rotate(Numbers values, std::size_t position) const {
    const std::size_t width = layer_.attention.head_dim;
    for (std::size_t head = 0; head < values.size(); head += width) {
      for (std::size_t i = 0; i < width / 2; ++i) {
        const double power = 2 * static_cast<double>(i) / static_cast<double>(width);
        const double angle = static_cast<double>(position) / std::pow(10000.0, power);
        const std::complex<double> turned =
            std::complex(values[head + i], values[head + i + width / 2]) *
            std::exp(std::complex<double>(0, angle));
        values[head + i] = turned.real();
        values[head + i + width / 2] = turned.imag();
      }
    }
    return values;
  }

  bool sees(std::size_t query, std::size_t key) const {
    const std::size_t window = layer_.attention.window;
    if (window == 0) return true;
    return layer_.attention.chunked ? query / window == key / window : query - key < window;
  }

  Numbers attend(std::size_t position, const Numbers& query, const std::vector<Numbers>& keys,
                 const std::vector<Numbers>& values) {
    const Attention& attention = layer_.attention;
    const std::size_t width = attention.head_dim;
    Numbers out;
    for (std::size_t head = 0; head < attention.heads; ++head) {
      const std::size_t from = head / (attention.heads / attention.kv_heads) * width;
      double sum = 0;
      Numbers attended(width);
      for (std::size_t key = 0; key <= position; ++key) {
        if (!sees(position, key)) continue;
        double score = 0;
        for (std::size_t i = 0; i < width; ++i) {
          score += query[head * width + i] * keys[key][from + i];
        }
        const double share = std::exp(score / std::sqrt(static_cast<double>(width)));
        sum += share;
        for (std::size_t i = 0; i < width; ++i) attended[i] += share * values[key][from + i];
      }
      for (const double value : attended) out.push_back(value / sum);
      logsumexp.push_back(std::log(sum));
    }
    return out;
  }

  void finish(const Numbers& x, const Numbers& attended) {
    Numbers after = product(attended, tensors_.output);
    for (std::size_t i = 0; i < x.size(); ++i) after[i] += x[i];
    const Numbers normed = norm(after, tensors_.ffn_norm);
    append(after_attention, after);
    append(ffn_input, normed);
    if (tensors_.router) append(logits, product(normed, *tensors_.router));
    if (tensors_.gate) {
      Numbers inside = product(normed, *tensors_.up);
      const Numbers gates = product(normed, *tensors_.gate);
      for (std::size_t i = 0; i < gates.size(); ++i) {
        inside[i] *= gates[i] / (1 + std::exp(-gates[i]));
      }
      const Numbers down = product(inside, *tensors_.down);
      for (std::size_t i = 0; i < x.size(); ++i) after[i] += down[i];
    }
    append(residual, after);
  }

  static void append(Numbers& to, const Numbers& values) {
    to.insert(to.end(), values.begin(), values.end());
  }

  const AttentionCase& test_;
  SharedTensors tensors_;
  const Layer& layer_;
};

void expect_textbook(const AttentionCase& test) {
  const AttentionRun<double> run = run_attention<double>(test);
  Numbers array;
  const Arrays arrays = arrays_of(test, array, run);
  Textbook textbook(test);
  textbook.run();
  EXPECT_LT(difference(arrays.after_attention(), textbook.after_attention), 1e-12);
  EXPECT_LT(difference(arrays.ffn_input(), textbook.ffn_input), 1e-12);
  EXPECT_LT(difference(arrays.logits(), textbook.logits), 1e-12);
  EXPECT_LT(difference(arrays.logsumexp(), textbook.logsumexp), 1e-12);
  EXPECT_LT(difference(run.residual, textbook.residual), 1e-12);
}

TEST(AttentionBlock, AgreesWithTheTextbook) {
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    SCOPED_TRACE(seed);
    expect_textbook(random_attention_case(seed));
  }
  for (const AttentionCase& test : long_cases()) {
    SCOPED_TRACE(test.model.layers[0].attention.window);
    expect_textbook(test);
  }
}

TEST(AttentionBlock, OfFloatsAgreesWithDoubles) {
  std::vector<AttentionCase> tests = long_cases();
  for (std::uint64_t seed = 0; seed < 100; ++seed) tests.push_back(random_attention_case(seed));
  for (AttentionCase& test : tests) {
    for (Numbers* numbers : {&test.parameters, &test.x, &test.dresidual, &test.dffn_input}) {
      *numbers = widened(rounded<float>(*numbers));
    }
    const AttentionRun<double> exact = run_attention<double>(test);
    const AttentionRun<float> run = run_attention<float>(test);
    ASSERT_EQ(run.expert, exact.expert);  // or nothing below means anything
    EXPECT_LT(difference(widened(run.residual), exact.residual), 1e-5);
    EXPECT_LT(difference(widened(run.weight), exact.weight), 1e-4);
    EXPECT_LT(difference(widened(run.dx), exact.dx), 1e-4);
    EXPECT_LT(difference(widened(run.gradient), exact.gradient), 1e-4);
  }
}

TEST(AttentionBlock, AddsItsOwnGradientToWhatIsThere) {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const AttentionCase test = random_attention_case(seed);
    std::vector<float> expected = run_attention<float>(test).gradient;
    for (float& value : expected) value = 1.7F + value;
    EXPECT_EQ(run_attention<float>(test, 1.7F).gradient, expected);
  }
}

TEST(AttentionBlock, ComputesEachSequenceByItself) {
  const MoeModel model = make_model({.layers = {{.shared_ffn = 3}}});
  const AttentionCase both = attention_case(model, 0, {.sequences = 2, .length = 5}, 3);
  AttentionCase second = both;
  second.tokens.sequences = 1;
  for (Numbers* numbers : {&second.x, &second.dresidual, &second.dffn_input, &second.dweight}) {
    numbers->erase(numbers->begin(),
                   numbers->begin() + static_cast<std::ptrdiff_t>(numbers->size() / 2));
  }
  const AttentionRun<double> run = run_attention<double>(both);
  const Numbers residual(run.residual.begin() + 40, run.residual.end());
  const Numbers dx(run.dx.begin() + 40, run.dx.end());
  EXPECT_LT(difference(run_attention<double>(second).residual, residual), 1e-14);
  EXPECT_LT(difference(run_attention<double>(second).dx, dx), 1e-14);
}

TEST(AttentionBlock, OfHugeLogitsStaysFinite) {
  AttentionCase test = attention_case(make_model({.layers = {{.shared_ffn = 3}}}), 0,
                                      {.sequences = 1, .length = 9}, 3);
  for (double& value : test.parameters) value *= 1000;
  const AttentionRun<float> run = run_attention<float>(test);
  for (const auto* values : {&run.residual, &run.weight, &run.dx, &run.gradient}) {
    EXPECT_TRUE(std::all_of(values->begin(), values->end(),
                            [](float value) { return std::isfinite(value); }));
  }
}

TEST(AttentionBlock, OfNoTokensTouchesNothing) {
  const MoeModel model = make_model({.layers = {{.shared_ffn = 3}}});
  EXPECT_EQ(attention_values_size(model, 0, {.sequences = 0, .length = 8}), 0);
  const AttentionInput<float> input = {nullptr, {.sequences = 0, .length = 8}, nullptr};
  const auto values = attention_values<float>(model, 0, input.tokens, nullptr);
  attention_forward<float>(model, 0, input, values, nullptr);
  choose_experts<float>(model, 0, nullptr, values, {});
  const Chosen<float> chosen;
  attention_backward<float>(model, 0, input, values, {.chosen = &chosen});
}

TEST(AttentionBlock, KeepsAsManyValuesAsItSays) {
  const MoeModel model = make_model({.hidden = 7,
                                     .heads = 6,
                                     .kv_heads = 3,
                                     .head_dim = 4,
                                     .experts = 5,
                                     .layers = {{.shared_ffn = 9}, {.has_experts = false}}});
  const Tokens tokens = {.sequences = 2, .length = 3};
  // 2 * 7 + 6 * (4 + 4) + 3 * (4 + 4) + 3 * 9 + 6 + 2 * 5, without FFN and experts 92
  EXPECT_EQ(attention_values_size(model, 0, tokens), 6 * 129);
  EXPECT_EQ(attention_values_size(model, 1, tokens), 6 * 92);
  Numbers array(6 * 129);
  const auto values = attention_values(model, 0, tokens, array.data());
  EXPECT_EQ(values.scores + 6 * 5, array.data() + array.size());
}

// The choice of experts.

struct Choices {
  std::vector<std::int32_t> expert;
  Numbers weight;
};

Choices choose(std::uint32_t top_k, std::size_t tokens, Numbers logits, const Numbers& bias = {}) {
  MoeModel model = make_model({.top_k = top_k});
  model.experts = static_cast<std::uint32_t>(logits.size() / tokens);
  AttentionValues<double> values;
  Numbers scores = unwritten<double>(logits.size());
  values.logits = logits.data();
  values.scores = scores.data();
  Choices out = {std::vector<std::int32_t>(tokens * top_k, -1), unwritten<double>(tokens * top_k)};
  choose_experts<double>(model, tokens, bias.empty() ? nullptr : bias.data(), values,
                         {out.expert.data(), out.weight.data()});
  for (std::size_t i = 0; i < scores.size(); ++i) {
    const double expected = logits[i] + (bias.empty() ? 0 : bias[i % model.experts]);
    EXPECT_EQ(scores[i], expected);
  }
  return out;
}

TEST(ChooseExperts, TakesTheBestInFallingOrderAndOfEqualOnesTheFirst) {
  EXPECT_THAT(choose(3, 2, {1, 3, 2, 3, 0, 0, 0, 0}).expert,
              ::testing::ElementsAre(1, 3, 2, 0, 1, 2));
}

TEST(ChooseExperts, AgreesWithASort) {
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    std::mt19937_64 random(seed);
    const std::uint32_t experts = testing::random_between(random, 1, 9);
    const std::uint32_t top_k = testing::random_between(random, 1, experts);
    Numbers logits(experts);
    for (double& logit : logits) logit = testing::random_between(random, 0, 5);
    std::vector<std::int32_t> order(experts);
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&logits](std::int32_t a, std::int32_t b) {
      return logits[static_cast<std::size_t>(a)] > logits[static_cast<std::size_t>(b)];
    });
    order.resize(top_k);
    EXPECT_EQ(choose(top_k, 1, logits).expert, order);
  }
}

TEST(ChooseExperts, WeighsByTheChosenLogitsAlone) {
  const Choices chosen = choose(2, 1, {0, std::log(3.0), -50, -1});
  EXPECT_LT(difference(chosen.weight, {0.75, 0.25}), 1e-15);
  EXPECT_THAT(choose(1, 2, {4, -3, 2, 7}).weight, ::testing::ElementsAre(1, 1));
}

TEST(ChooseExperts, BiasMovesTheChoiceAndNotTheWeights) {
  const Choices chosen = choose(2, 2, {0, std::log(3.0), 9, 9, 0, 0, 0, 0}, {7, 8, -20, 0});
  EXPECT_THAT(chosen.expert, ::testing::ElementsAre(1, 3, 1, 0));
  const double other = 3 / (3 + std::exp(9.0));
  EXPECT_LT(difference(chosen.weight, {other, 1 - other, 0.5, 0.5}), 1e-14);
}

// Experts.

std::vector<ExpertCase> expert_cases() {
  std::vector<ExpertCase> out;
  for (const std::size_t rows : {0, 1, 2, 7}) {
    for (const std::uint32_t hidden : {1, 5, 8}) {
      for (const std::uint32_t ffn : {1, 6, 11}) {
        const MoeModel model = make_model({.hidden = hidden, .expert_ffn = ffn});
        out.push_back(expert_case(model, rows, rows + 10 * hidden + ffn));
      }
    }
  }
  return out;
}

double expert_loss(const ExpertCase& test) {
  Numbers internals = unwritten<double>(3 * test.rows * test.model.expert_ffn);
  Numbers y = unwritten<double>(test.x.size());
  expert_forward<double>(test.model,
                         {test.parameters.data(), test.rows, test.x.data(), test.weight.data()},
                         internals.data(), y.data());
  return inner_product(y, test.dy);
}

TEST(ExpertBlock, GradientsAreThoseOfFiniteDifferences) {
  for (ExpertCase& test : expert_cases()) {
    const ExpertRun<double> run = run_expert<double>(test);
    const auto loss = [&test] { return expert_loss(test); };
    EXPECT_LT(difference(run.dx, slopes(test.x, loss)), gradient_tolerance);
    EXPECT_LT(difference(run.dweight, slopes(test.weight, loss)), gradient_tolerance);
    expect_gradients(expert_tensors(test.model).all(), run.gradient, slopes(test.parameters, loss));
  }
}

Numbers textbook_expert(const ExpertCase& test) {
  const ExpertTensors tensors = expert_tensors(test.model);
  const Numbers gate = part(test.parameters, tensors.gate);
  const Numbers up = part(test.parameters, tensors.up);
  const Numbers down = part(test.parameters, tensors.down);
  const std::size_t hidden = test.model.hidden;
  const std::size_t ffn = test.model.expert_ffn;
  Numbers y(test.x.size());
  for (std::size_t row = 0; row < test.rows; ++row) {
    for (std::size_t j = 0; j < ffn; ++j) {
      double gated = 0;
      double raised = 0;
      for (std::size_t i = 0; i < hidden; ++i) {
        gated += test.x[row * hidden + i] * gate[i * ffn + j];
        raised += test.x[row * hidden + i] * up[i * ffn + j];
      }
      const double inside = gated / (1 + std::exp(-gated)) * raised;
      for (std::size_t i = 0; i < hidden; ++i) {
        y[row * hidden + i] += test.weight[row] * inside * down[j * hidden + i];
      }
    }
  }
  return y;
}

TEST(ExpertBlock, AgreesWithTheTextbook) {
  for (const ExpertCase& test : expert_cases()) {
    EXPECT_LT(difference(run_expert<double>(test).y, textbook_expert(test)), 1e-12);
  }
}

TEST(ExpertBlock, OfFloatsAgreesWithDoubles) {
  for (ExpertCase& test : expert_cases()) {
    const ExpertRun<double> exact = run_expert<double>(test);
    const ExpertRun<float> run = run_expert<float>(test);
    EXPECT_LT(difference(widened(run.y), exact.y), 1e-5);
    EXPECT_LT(difference(widened(run.dx), exact.dx), 1e-4);
    EXPECT_LT(difference(widened(run.dweight), exact.dweight), 1e-4);
    EXPECT_LT(difference(widened(run.gradient), exact.gradient), 1e-4);
  }
}

TEST(ExpertBlock, FillsTheSameInternalsWithoutItsOutput) {
  const ExpertCase test = expert_case(make_model({}), 5, 1);
  Numbers internals = unwritten<double>(3 * 5 * 6);
  expert_forward<double>(test.model,
                         {test.parameters.data(), test.rows, test.x.data(), test.weight.data()},
                         internals.data(), nullptr);
  EXPECT_EQ(internals, run_expert<double>(test).internals);
}

TEST(ExpertBlock, AddsItsOwnGradientToWhatIsThere) {
  const ExpertCase test = expert_case(make_model({}), 5, 1);
  std::vector<float> expected = run_expert<float>(test).gradient;
  for (float& value : expected) value = 1.7F + value;
  EXPECT_EQ(run_expert<float>(test, 1.7F).gradient, expected);
}

TEST(ExpertBlock, OfNoRowsTouchesNothing) {
  expert_forward<float>(make_model({}), {}, nullptr, nullptr);
  expert_backward<float>(make_model({}), {}, nullptr, {});
}

// Head.

std::vector<HeadCase> head_cases() {
  std::vector<HeadCase> out;
  for (const std::size_t tokens : {0, 1, 2, 7}) {
    for (const std::uint32_t vocabulary : {1, 2, 9, 16}) {
      for (const std::uint32_t hidden : {1, 5, 8}) {
        const MoeModel model = make_model({.hidden = hidden, .vocabulary = vocabulary});
        out.push_back(head_case(model, tokens, tokens + 10 * vocabulary + hidden));
      }
    }
  }
  return out;
}

double head_loss(const HeadCase& test) {
  Numbers workspace = unwritten<double>(head_workspace_size(test.model, test.targets.size()));
  return test.scale * head_forward<double>(test.model,
                                           {test.parameters.data(), test.x.data(), test.targets},
                                           workspace.data());
}

TEST(HeadBlock, GradientsAreThoseOfFiniteDifferences) {
  for (HeadCase& test : head_cases()) {
    const HeadRun<double> run = run_head<double>(test);
    const auto loss = [&test] { return head_loss(test); };
    EXPECT_LT(difference(run.dx, slopes(test.x, loss)), gradient_tolerance);
    expect_gradients(shared_tensors(test.model, 0).all(), run.gradient,
                     slopes(test.parameters, loss));
  }
}

double textbook_loss(const HeadCase& test) {
  const SharedTensors tensors = shared_tensors(test.model, 0);
  const Numbers weights = part(test.parameters, held(tensors.final_norm));
  const Numbers matrix = part(test.parameters, held(tensors.head));
  const std::size_t hidden = test.model.hidden;
  double out = 0;
  for (std::size_t token = 0; token < test.targets.size(); ++token) {
    const double* x = test.x.data() + token * hidden;
    double mean = 0;
    for (std::size_t i = 0; i < hidden; ++i) mean += x[i] * x[i] / static_cast<double>(hidden);
    Numbers logits(test.model.vocabulary);
    for (std::size_t i = 0; i < hidden; ++i) {
      for (std::size_t j = 0; j < logits.size(); ++j) {
        logits[j] += x[i] / std::sqrt(mean + 1e-5) * weights[i] * matrix[i * logits.size() + j];
      }
    }
    out -= std::log(softmax(logits)[test.targets[token]]);
  }
  return out;
}

/// More tokens than one slice of logits, and not a multiple.
HeadCase long_head_case() {
  const MoeModel model = make_model({.hidden = 3, .vocabulary = 5});
  return head_case(model, 2 * logit_slice_tokens + 77, 4);
}

TEST(HeadBlock, AgreesWithTheTextbook) {
  std::vector<HeadCase> tests = head_cases();
  tests.push_back(long_head_case());
  for (const HeadCase& test : tests) {
    const double expected = textbook_loss(test);
    EXPECT_NEAR(run_head<double>(test).loss, expected, 1e-12 * std::max(1.0, expected));
  }
}

TEST(HeadBlock, GradientsOfManySlicesAreThoseOfFiniteDifferences) {
  HeadCase test = long_head_case();
  const HeadRun<double> run = run_head<double>(test);
  const auto loss = [&test] { return head_loss(test); };
  expect_slope_along(test.x, run.dx, loss, "x");
  expect_gradients(shared_tensors(test.model, 0).all(), run.gradient,
                   slopes(test.parameters, loss));
  EXPECT_EQ(head_workspace_size(test.model, test.targets.size()), 4096 * (2 * 5 + 3));
}

TEST(HeadBlock, OfFloatsAgreesWithDoubles) {
  for (HeadCase& test : head_cases()) {
    const HeadRun<double> exact = run_head<double>(test);
    const HeadRun<float> run = run_head<float>(test);
    EXPECT_NEAR(run.loss, exact.loss, 1e-5 * std::max(1.0, exact.loss));
    EXPECT_LT(difference(widened(run.dx), exact.dx), 1e-4);
    EXPECT_LT(difference(widened(run.gradient), exact.gradient), 1e-4);
  }
}

TEST(HeadBlock, AddsItsOwnGradientToWhatIsThere) {
  const HeadCase test = long_head_case();
  std::vector<float> expected = run_head<float>(test).gradient;
  for (float& value : expected) value = 1.7F + value;
  EXPECT_EQ(run_head<float>(test, 1.7F).gradient, expected);
}

TEST(HeadBlock, OfHugeLogitsStaysFinite) {
  HeadCase test = head_case(make_model({}), 9, 3);
  for (double& value : test.parameters) value *= 1000;
  const HeadRun<float> run = run_head<float>(test);
  EXPECT_TRUE(std::isfinite(run.loss));
  EXPECT_TRUE(
      std::all_of(run.dx.begin(), run.dx.end(), [](float value) { return std::isfinite(value); }));
}

// Embedding.

TEST(EmbeddingBlock, CopiesRows) {
  const MoeModel model = make_model({.hidden = 2, .vocabulary = 3});
  const Numbers embedding = {10, 11, 20, 21, 30, 31};
  const std::vector<std::uint32_t> ids = {2, 0, 2};
  Numbers x = unwritten<double>(6);
  embed<double>(model, embedding.data(), ids, x.data());
  EXPECT_THAT(x, ::testing::ElementsAre(30, 31, 10, 11, 30, 31));
}

TEST(EmbeddingBlock, AddsTheSumOfEachIdsRowsAndTouchesNoOthers) {
  const MoeModel model = make_model({.hidden = 2, .vocabulary = 3});
  const std::vector<std::uint32_t> ids = {2, 0, 2, 2};
  // In float the order shows: (1e8 + 1) - 1e8 = 0 in token order, plus what was there.
  const std::vector<float> dx = {1e8F, 1, 5, 6, 1, 2, -1e8F, 3};
  std::vector<float> into = {1, 2, std::numeric_limits<float>::quiet_NaN(), 7, 0.5F, 0.5F};
  auto scratch = unwritten<float>(2);
  embed_backward<float>(model, ids, dx.data(), into.data(), scratch.data());
  EXPECT_TRUE(std::isnan(into[2]));
  into.erase(into.begin() + 2);
  EXPECT_THAT(into, ::testing::ElementsAre(6, 8, 7, 0.5F, 6.5F));
}

}  // namespace
}  // namespace zebroid
