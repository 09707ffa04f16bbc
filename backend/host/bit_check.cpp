#include "backend/host/bit_check.hpp"

#include <fmt/format.h>

#include <bit>

#include "core/error.hpp"

namespace zebroid {
namespace {

std::uint32_t bits(float number) { return std::bit_cast<std::uint32_t>(number); }
std::uint64_t bits(double number) { return std::bit_cast<std::uint64_t>(number); }

}  // namespace

template <class Real>
template <class Visit>
void BitCheck<Real>::each_held(const std::vector<const RankParameters<Real>*>& ranks,
                               const Visit& visit) const {
  for (std::uint32_t r = 0; r < ranks.size(); ++r) {
    for (std::uint32_t l = 0; l < job_.schedule.layers; ++l) {
      const std::string place = fmt::format("of layer {} on rank {}", l, r);
      if (const Held<Real>* held = ranks[r]->shared(l)) {
        visit(*held, reference_.shared_gradient(l), reference_.shared_values(l), place);
      }
      for (const std::uint32_t e : job_.layout.experts_of({r}, l)) {
        visit(*ranks[r]->expert(l, e), reference_.expert_gradient(l, e),
              reference_.expert_values(l, e), fmt::format("of expert {} {}", e, place));
      }
    }
  }
}

template <class Real>
void BitCheck<Real>::check(const Claim& claim,
                           const std::vector<const RankParameters<Real>*>& ranks) {
  const auto expected = reference_.run();
  step_ = claim.step;
  compare(claim.loss, expected.loss, "the loss");
  each_held(ranks, [&](const Held<Real>& held, const std::vector<Real>& gradient,
                       const std::vector<Real>& /*values*/, const std::string& place) {
    compare_arrays("gradient", held, place, {held.summed, held.gradient, gradient.data()});
  });
  compare(claim.gradient_norm, expected.gradient_norm, "the norm of all gradients");
  each_held(ranks, [&](const Held<Real>& held, const std::vector<Real>& /*gradient*/,
                       const std::vector<Real>& values, const std::string& place) {
    compare_arrays("value", held, place, {{0, held.size}, held.values, values.data()});
  });
}

template <class Real>
template <class Number>
void BitCheck<Real>::compare(Number run, Number expected, const std::string& what) const {
  if (bits(run) == bits(expected)) return;
  throw Error(ErrorKind::check,
              fmt::format("step {}: {} is {:.17g} ({:a}), the single-rank reference has {:.17g} "
                          "({:a})",
                          step_, what, run, run, expected, expected));
}

template <class Real>
void BitCheck<Real>::compare_arrays(const char* what, const Held<Real>& held,
                                    const std::string& place, const Arrays& arrays) const {
  for (const Tensor& tensor : held.tensors) {
    const Interval here = common({tensor.offset, tensor.offset + tensor.size()}, arrays.elements);
    for (std::size_t i = here.begin; i < here.end; ++i) {
      if (bits(arrays.run[i]) == bits(arrays.expected[i])) continue;
      compare(arrays.run[i], arrays.expected[i],
              fmt::format("{} of {}[{}, {}] {}", what, tensor.name,
                          (i - tensor.offset) / tensor.columns,
                          (i - tensor.offset) % tensor.columns, place));
    }
  }
}

template class BitCheck<float>;
template class BitCheck<double>;

}  // namespace zebroid
