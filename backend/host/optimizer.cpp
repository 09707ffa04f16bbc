#include "backend/host/optimizer.hpp"

#include <cmath>

namespace zebroid {

template <class Real>
double sum_of_squares(const Real* values, std::size_t size) {
  double out = 0;
  for (std::size_t i = 0; i < size; ++i) {
    const auto value = static_cast<double>(values[i]);
    out += value * value;
  }
  return out;
}

double clip_scale(const AdamW& adamw, double norm) {
  return norm > adamw.clip ? adamw.clip / norm : 1;
}

template <class Real>
void update(const AdamW& adamw, const UpdateStep& step, const Learned<Real>& learned) {
  const auto number = static_cast<double>(step.number);
  const auto scale = static_cast<Real>(step.scale);
  const auto keep1 = static_cast<Real>(adamw.beta1);
  const auto keep2 = static_cast<Real>(adamw.beta2);
  const auto take1 = static_cast<Real>(1 - adamw.beta1);
  const auto take2 = static_cast<Real>(1 - adamw.beta2);
  const auto rate = static_cast<Real>(adamw.learning_rate / (1 - std::pow(adamw.beta1, number)));
  const auto correct2 = static_cast<Real>(1 / (1 - std::pow(adamw.beta2, number)));
  const auto epsilon = static_cast<Real>(adamw.epsilon);
  const auto keep = static_cast<Real>(1 - (step.decays ? adamw.learning_rate * adamw.decay : 0));
  const Real* __restrict gradient = learned.gradient;
  Real* __restrict moment1 = learned.moment1;
  Real* __restrict moment2 = learned.moment2;
  Real* __restrict parameters = learned.parameters;
  for (std::size_t i = 0; i < learned.size; ++i) {
    const Real slope = gradient[i] * scale;
    moment1[i] = keep1 * moment1[i] + take1 * slope;
    moment2[i] = keep2 * moment2[i] + take2 * slope * slope;
    const Real root = std::sqrt(moment2[i] * correct2) + epsilon;
    parameters[i] = parameters[i] * keep - rate * moment1[i] / root;
  }
}

template double sum_of_squares(const float*, std::size_t);
template double sum_of_squares(const double*, std::size_t);
template void update(const AdamW&, const UpdateStep&, const Learned<float>&);
template void update(const AdamW&, const UpdateStep&, const Learned<double>&);

}  // namespace zebroid
