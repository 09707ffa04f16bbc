#include "models/cost_model.hpp"

namespace zebroid {

Cost CostModel::sum(const std::vector<KernelCall>& calls) const {
  Cost out;
  for (const KernelCall& call : calls) {
    const KernelTime time = times_.of(call);
    out.add(time.evidence, time.seconds * call.count);
  }
  return out;
}

std::vector<KernelCall> CostModel::expert_calls(Direction direction, double rows,
                                                double experts) const {
  if (rows <= 0 || experts <= 0) return {};
  if (!times_.has_grouped_gemm()) return expert_kernels(model_, direction, rows, experts);
  return {grouped_expert_kernel(model_, direction, rows, experts)};
}

Cost CostModel::attention(std::uint32_t layer, Direction direction, double sequences,
                          double sequence_length) const {
  return sum(attention_kernels(model_, layer, direction, sequences, sequence_length));
}

Cost CostModel::expert(Direction direction, double rows, double experts) const {
  return sum(expert_calls(direction, rows, experts));
}

Cost CostModel::head(Direction direction, double tokens) const {
  return sum(head_kernels(model_, direction, tokens));
}

Cost CostModel::step(double parameters) const { return sum(step_kernels(parameters)); }

}  // namespace zebroid
