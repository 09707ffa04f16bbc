#include "backend/host/optimizer.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace zebroid {
namespace {

const AdamW simple = {
    .learning_rate = 0.1, .beta1 = 0.5, .beta2 = 0.75, .epsilon = 0, .decay = 0.5, .clip = 1};

/// One parameter from 2 through gradients 4 and then 2, both scaled by 1/2.
template <class Real>
std::vector<Real> two_steps(bool decays) {
  Real parameter = 2;
  Real moment1 = 0;
  Real moment2 = 0;
  std::vector<Real> out;
  for (const Real gradient : {Real{4}, Real{2}}) {
    const std::uint64_t number = out.size() + 1;
    update<Real>(simple, {.number = number, .scale = 0.5, .decays = decays},
                 {&gradient, &moment1, &moment2, &parameter, 1});
    out.push_back(parameter);
  }
  out.push_back(moment1);
  out.push_back(moment2);
  return out;
}

TEST(Optimizer, AgreesWithTwoStepsByHand) {
  // Step 1: g = 2, m = 1, v = 1; corrected m = 1 / 0.5 = 2, v = 1 / 0.25 = 4; p = 2 - 0.1 * 2 / 2.
  // Step 2: g = 1, m = 1, v = 1; corrected m = 1 / 0.75 = 4/3, v = 1 / 0.4375 = 16/7;
  // p = 1.9 - 0.1 * (4/3) / (4 / sqrt(7)) = 1.9 - sqrt(7) / 30.
  const std::vector<double> steps = two_steps<double>(false);
  EXPECT_NEAR(steps[0], 1.9, 1e-15);
  EXPECT_NEAR(steps[1], 1.9 - std::sqrt(7.0) / 30, 1e-15);
  EXPECT_DOUBLE_EQ(steps[2], 1);
  EXPECT_DOUBLE_EQ(steps[3], 1);
  EXPECT_NEAR(two_steps<float>(false)[1], steps[1], 1e-6);
}

TEST(Optimizer, DecaysByTheRateTimesTheParameterBeforeTheStep) {
  // Both steps take off 0.1 * 0.5 of the parameter as well.
  const std::vector<double> steps = two_steps<double>(true);
  EXPECT_NEAR(steps[0], 2 * 0.95 - 0.1, 1e-15);
  EXPECT_NEAR(steps[1], 1.8 * 0.95 - std::sqrt(7.0) / 30, 1e-15);
}

TEST(Optimizer, AddsEpsilonToTheCorrectedRoot) {
  AdamW adamw = simple;
  adamw.epsilon = 2;
  const double gradient = 2;
  double moment1 = 0;
  double moment2 = 0;
  double parameter = 1;
  update<double>(adamw, {.number = 1, .decays = false},
                 {&gradient, &moment1, &moment2, &parameter, 1});
  EXPECT_NEAR(parameter, 1 - 0.1 * 2 / (2 + 2), 1e-15);
}

TEST(Optimizer, UpdatesEveryElementByItself) {
  constexpr std::size_t size = 13;
  std::vector<double> gradients(size), moment1(size), moment2(size), parameters(size, 1.0);
  for (std::size_t i = 0; i < size; ++i) gradients[i] = static_cast<double>(i) - 6.0;
  std::vector<double> alone = parameters;
  for (std::size_t i = 0; i < size; ++i) {
    double first = 0;
    double second = 0;
    update<double>({}, {}, {&gradients[i], &first, &second, &alone[i], 1});
  }
  update<double>({}, {},
                 {gradients.data(), moment1.data(), moment2.data(), parameters.data(), size});
  EXPECT_EQ(parameters, alone);
  EXPECT_EQ(parameters[6], 1 - 3e-3 * 0.1);  // no gradient: decay alone
}

TEST(Optimizer, ClipsOnlyWhatIsLongerThanTheClip) {
  const AdamW adamw = {.clip = 2};
  EXPECT_EQ(clip_scale(adamw, 0), 1);
  EXPECT_EQ(clip_scale(adamw, 2), 1);
  EXPECT_EQ(clip_scale(adamw, 8), 0.25);
}

TEST(Optimizer, SumsSquaresInDouble) {
  const std::vector<float> values = {1e4F, 1e-2F, -3.0F};
  const double small = static_cast<double>(1e-2F);
  EXPECT_EQ(sum_of_squares(values.data(), values.size()), 1e8 + small * small + 9);
  EXPECT_EQ(sum_of_squares<double>(nullptr, 0), 0);
}

}  // namespace
}  // namespace zebroid
