#include "backend/host/blocks.hpp"
#include "backend/host/projection.hpp"
#include "backend/host/rows.hpp"
#include "backend/host/swiglu.hpp"
#include "backend/host/tensors.hpp"

namespace zebroid {
namespace {

/// [rows, width]: to[i] = weight of the row * from[i].
template <class Real>
void weigh(const ExpertInput<Real>& input, std::size_t width, const Real* from, Real* to) {
  for (std::size_t row = 0; row < input.rows; ++row) {
    for (std::size_t i = row * width; i < (row + 1) * width; ++i)
      to[i] = from[i] * input.weight[row];
  }
}

}  // namespace

template <class Real>
void expert_forward(const MoeModel& model, const ExpertInput<Real>& input, Real* internals,
                    Real* y) {
  if (input.rows == 0) return;
  const ExpertTensors tensors = expert_tensors(model);
  const std::size_t size = input.rows * model.expert_ffn;
  Real* gate = internals;
  Real* up = internals + size;
  Real* product = internals + 2 * size;
  const auto projection = [&input](const Tensor& tensor) {
    return Projection<Real>(tensor, input.parameters, input.rows);
  };
  projection(tensors.gate).forward(input.x, gate);
  projection(tensors.up).forward(input.x, up);
  swiglu<Real>(size, {gate, up, product});
  if (y == nullptr) return;
  projection(tensors.down).forward(product, y);
  weigh<Real>(input, model.hidden, y, y);
}

template <class Real>
void expert_backward(const MoeModel& model, const ExpertInput<Real>& input, const Real* internals,
                     const ExpertBackward<Real>& backward) {
  if (input.rows == 0) return;
  const ExpertTensors tensors = expert_tensors(model);
  const std::size_t ffn = model.expert_ffn;
  const std::size_t size = input.rows * ffn;
  const Real* product = internals + 2 * size;
  Real* dgate = backward.workspace;
  Real* dup = backward.workspace + size;
  Real* dproduct = backward.workspace + 2 * size;
  const Projection<Real> gate(tensors.gate, input.parameters, input.rows);
  const Projection<Real> up(tensors.up, input.parameters, input.rows);
  const Projection<Real> down(tensors.down, input.parameters, input.rows);

  Real* weighted = dgate;  // until it is needed
  weigh<Real>(input, ffn, product, weighted);
  down.add_gradient(weighted, backward.dy, backward.gradient);
  down.backward(backward.dy, dproduct);
  for (std::size_t row = 0; row < input.rows; ++row) {
    // dy . (product * down) = (dy * down transposed) . product
    backward.dweight[row] = dot(dproduct + row * ffn, product + row * ffn, ffn);
  }
  weigh<Real>(input, ffn, dproduct, dproduct);
  swiglu_backward<Real>(size, {internals, internals + size, product}, {dgate, dup, dproduct});
  gate.add_gradient(input.x, dgate, backward.gradient);
  up.add_gradient(input.x, dup, backward.gradient);
  gate.backward(dgate, backward.dx);
  up.backward(dup, backward.dx, true);
}

template void expert_forward(const MoeModel&, const ExpertInput<float>&, float*, float*);
template void expert_forward(const MoeModel&, const ExpertInput<double>&, double*, double*);
template void expert_backward(const MoeModel&, const ExpertInput<float>&, const float*,
                              const ExpertBackward<float>&);
template void expert_backward(const MoeModel&, const ExpertInput<double>&, const double*,
                              const ExpertBackward<double>&);

}  // namespace zebroid
