// The single-rank reference against finite differences of its own loss, and written down for
// PyTorch (scripts/torch_reference.py).

#include "backend/host/reference.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <string>

#include "core/file.hpp"
#include "core/json.hpp"
#include "tests/support/training_cases.hpp"

namespace zebroid {
namespace {

using testing::Case;
using testing::make_case;
using testing::some_text;

/// One training step of a case in double.
class Training {
 public:
  explicit Training(const Case& c)
      : job(c.schedule, c.scenario, some_text(), 7), norm(job), reference(job, norm) {}

  StepJob job;
  NormParts norm;
  Reference<double> reference;
};

/// Of a layer's shared parameters, where e < 0, or of one of its experts.
double& number_of(Reference<double>& reference, std::uint32_t layer, std::int64_t e,
                  std::size_t i) {
  return e < 0 ? reference.shared_values(layer)[i]
               : reference.expert_values(layer, static_cast<std::uint32_t>(e))[i];
}

TEST(Reference, HasTheGradientsOfFiniteDifferences) {
  Case c = make_case({.microbatches = 2, .chunks = 2, .dense_layers = 1});
  c.scenario.model.top_k = c.scenario.model.experts;  // no choice that could jump
  Training training(c);
  training.reference.run();
  const auto loss_with = [&](std::uint32_t layer, std::int64_t e, std::size_t i, double change) {
    Training other(c);
    number_of(other.reference, layer, e, i) += change;
    return other.reference.run().loss;
  };
  constexpr double step = 1e-4;
  constexpr std::array weights = {4.0 / 5, -1.0 / 5, 4.0 / 105, -1.0 / 280};  // of order 8
  const auto slope = [&](std::uint32_t layer, std::int64_t e, std::size_t i) {
    double out = 0;
    for (std::size_t k = 0; k < weights.size(); ++k) {
      const double change = step * static_cast<double>(k + 1);
      out += weights.at(k) * (loss_with(layer, e, i, change) - loss_with(layer, e, i, -change));
    }
    return out / step;
  };
  double largest = 0;
  double worst = 0;
  const auto check = [&](std::uint32_t layer, std::int64_t e, const std::vector<double>& gradient) {
    const std::size_t stride = std::max<std::size_t>(1, gradient.size() / 12);
    for (std::size_t i = stride / 2; i < gradient.size(); i += stride) {
      largest = std::max(largest, std::abs(gradient[i]));
      worst = std::max(worst, std::abs(gradient[i] - slope(layer, e, i)));
    }
  };
  for (std::uint32_t l = 0; l < c.schedule.layers; ++l) {
    check(l, -1, training.reference.shared_gradient(l));
    if (!c.scenario.model.layers[l].has_experts) continue;
    for (const std::uint32_t e : {0U, 5U}) check(l, e, training.reference.expert_gradient(l, e));
  }
  EXPECT_GT(largest, 1e-2);
  EXPECT_LT(worst, 1e-10 * std::max(1.0, largest)) << "largest gradient " << largest;
}

/// What scripts/torch_reference.py reads: model, batch, parameters, and what the reference makes of
/// them.
Json document_of(const Case& c) {
  Training training(c);
  const StepJob& job = training.job;
  const MoeModel& model = job.model;
  Json out;
  Json& shape = out["model"];
  const Attention& attention = model.layers[0].attention;
  shape["hidden"] = model.hidden;
  shape["vocabulary"] = model.vocabulary;
  shape["heads"] = attention.heads;
  shape["kv_heads"] = attention.kv_heads;
  shape["head_dim"] = attention.head_dim;
  shape["experts"] = model.experts;
  shape["top_k"] = model.top_k;
  shape["expert_ffn"] = model.expert_ffn;
  shape["layers"] = Json::array();
  for (const Layer& layer : model.layers) {
    Json one;
    one["dense_ffn"] = layer.dense_ffn;
    one["shared_ffn"] = layer.shared_ffn;
    one["has_experts"] = layer.has_experts;
    one["window"] = layer.attention.window;
    one["chunked"] = layer.attention.chunked;
    shape["layers"].push_back(std::move(one));
  }
  out["sequence_length"] = job.length;
  for (std::uint64_t s = 0; s < job.batch; ++s) {
    const Text::Tokens tokens = job.text.sequences(s, 1, job.length);
    out["ids"].push_back(tokens.ids);
    out["targets"].push_back(tokens.targets);
  }
  const auto add = [&](const char* what, const std::string& place,
                       const std::vector<Tensor>& tensors, const std::vector<double>& values) {
    for (const Tensor& tensor : tensors) {
      const auto begin = values.begin() + static_cast<std::ptrdiff_t>(tensor.offset);
      out[what][place + tensor.name] =
          std::vector<double>(begin, begin + static_cast<std::ptrdiff_t>(tensor.size()));
    }
  };
  const auto add_all = [&](const char* what, const auto& shared, const auto& expert) {
    for (std::uint32_t l = 0; l < c.schedule.layers; ++l) {
      const std::string place = "layer" + std::to_string(l) + ".";
      add(what, place, job.shared[l].all(), shared(l));
      for (std::uint32_t e = 0; model.layers[l].has_experts && e < model.experts; ++e) {
        add(what, place + "expert" + std::to_string(e) + ".", job.expert.all(), expert(l, e));
      }
    }
  };
  const Reference<double>& reference = training.reference;
  add_all(
      "parameters", [&](std::uint32_t l) { return reference.shared_values(l); },
      [&](std::uint32_t l, std::uint32_t e) { return reference.expert_values(l, e); });
  out["loss"] = training.reference.run().loss;
  add_all(
      "gradients", [&](std::uint32_t l) { return reference.shared_gradient(l); },
      [&](std::uint32_t l, std::uint32_t e) { return reference.expert_gradient(l, e); });
  return out;
}

TEST(Reference, IsWrittenDownForPyTorch) {
  // Uniform routing: PyTorch's side knows no bias of the choice of experts.
  const Case c = make_case(
      {.microbatches = 3, .chunks = 2, .groups = 2, .dense_layers = 1, .routing = "uniform"});
  write_file(ZEBROID_TORCH_DOCUMENT, to_text(document_of(c)));
}

}  // namespace
}  // namespace zebroid
