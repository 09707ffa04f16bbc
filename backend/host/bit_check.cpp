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
void BitCheck<Real>::check(const Claim& claim,
                           const std::vector<const RankParameters<Real>*>& ranks) {
  const auto expected = reference_.run();
  step_ = claim.step;
  compare(claim.loss, expected.loss, "the loss");
  for (std::uint32_t r = 0; r < ranks.size(); ++r) {
    for (std::uint32_t l = 0; l < job_.schedule.layers; ++l) {
      const std::string place = fmt::format("of layer {} on rank {}", l, r);
      if (const Held<Real>* held = ranks[r]->shared(l)) {
        compare(*held, reference_.shared_gradient(l), reference_.shared_values(l), place);
      }
      for (const std::uint32_t e : job_.layout.experts_of({r}, l)) {
        compare(*ranks[r]->expert(l, e), reference_.expert_gradient(l, e),
                reference_.expert_values(l, e), fmt::format("of expert {} {}", e, place));
      }
    }
  }
  compare(claim.gradient_norm, expected.gradient_norm, "the norm of all gradients");
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
void BitCheck<Real>::compare(const Held<Real>& held, const std::vector<Real>& gradient,
                             const std::vector<Real>& values, const std::string& place) const {
  for (const Tensor& tensor : held.tensors) {
    const Interval all{tensor.offset, tensor.offset + tensor.size()};
    const Interval summed = common(all, held.summed);
    const auto name = [&](const char* what, std::size_t i) {
      return fmt::format("{} of {}[{}, {}] {}", what, tensor.name,
                         (i - tensor.offset) / tensor.columns, (i - tensor.offset) % tensor.columns,
                         place);
    };
    for (std::size_t i = summed.begin; i < summed.end; ++i) {
      if (bits(held.gradient[i]) == bits(gradient[i])) continue;
      compare(held.gradient[i], gradient[i], name("gradient", i));
    }
    for (std::size_t i = all.begin; i < all.end; ++i) {
      if (bits(held.values[i]) == bits(values[i])) continue;
      compare(held.values[i], values[i], name("value", i));
    }
  }
}

template class BitCheck<float>;
template class BitCheck<double>;

}  // namespace zebroid
