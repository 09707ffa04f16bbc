#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "backend/host/blocks.hpp"
#include "backend/host/tensors.hpp"
#include "tests/support/small_models.hpp"

namespace zebroid::testing {

/// Numbers that no op may read.
template <class Real>
std::vector<Real> unwritten(std::size_t size) {
  return std::vector<Real>(size, std::numeric_limits<Real>::quiet_NaN());
}

template <class Real>
std::vector<Real> rounded(const std::vector<double>& values) {
  return {values.begin(), values.end()};
}

/// One layer's attention on a batch, all arrays in double.
struct AttentionCase {
  MoeModel model;
  std::uint32_t layer = 0;
  Tokens tokens;
  std::vector<double> parameters;
  std::vector<double> x;
  std::vector<double> bias;        ///< [experts]
  std::vector<double> dresidual;   ///< [tokens, hidden]
  std::vector<double> dffn_input;  ///< [tokens, hidden], zeros without experts
  std::vector<double> dweight;     ///< [tokens, top_k]
};

/// Parameters, inputs and gradients of outputs, for a model and a batch.
AttentionCase attention_case(const MoeModel& model, std::uint32_t layer, Tokens tokens,
                             std::uint64_t seed);
/// Of all kinds of layers and a few tokens, or none.
AttentionCase random_attention_case(std::uint64_t seed);

template <class Real>
struct AttentionRun {
  std::vector<Real> values;  ///< as attention_values()
  std::vector<Real> residual;
  std::vector<std::int32_t> expert;
  std::vector<Real> weight;
  std::vector<Real> dx;
  std::vector<Real> gradient;
};

/// Forward, choice and backward. `before`: what each gradient held.
template <class Real>
AttentionRun<Real> run_attention(const AttentionCase& test, Real before = 0);

/// One expert on a few rows.
struct ExpertCase {
  MoeModel model;
  std::size_t rows = 0;
  std::vector<double> parameters;
  std::vector<double> x;
  std::vector<double> weight;
  std::vector<double> dy;
};
ExpertCase expert_case(const MoeModel& model, std::size_t rows, std::uint64_t seed);

template <class Real>
struct ExpertRun {
  std::vector<Real> internals;
  std::vector<Real> y;
  std::vector<Real> dx;
  std::vector<Real> dweight;
  std::vector<Real> gradient;
};
template <class Real>
ExpertRun<Real> run_expert(const ExpertCase& test, Real before = 0);

struct HeadCase {
  MoeModel model;
  std::vector<double> parameters;
  std::vector<double> x;
  std::vector<std::uint32_t> targets;
  double scale = 0.75;
};
HeadCase head_case(const MoeModel& model, std::size_t tokens, std::uint64_t seed);

template <class Real>
struct HeadRun {
  double loss = 0;
  std::vector<Real> dx;
  std::vector<Real> gradient;
};
template <class Real>
HeadRun<Real> run_head(const HeadCase& test, Real before = 0);

}  // namespace zebroid::testing
