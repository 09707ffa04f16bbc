#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "backend/host/rank_parameters.hpp"
#include "backend/host/reference.hpp"

namespace zebroid {

/// Compares what ranks have after each step with the single-rank reference, which runs beside them.
template <class Real>
class BitCheck {
 public:
  /// Both outlive this. poll: called now and then while the reference runs; may throw.
  BitCheck(const StepJob& job, const NormParts& norm, std::function<void()> poll)
      : job_(job), reference_(job, norm, std::move(poll)) {}

  /// What ranks say of a step that has ended.
  struct Claim {
    std::uint32_t step = 0;  ///< from 1
    double loss = 0;
    double gradient_norm = 0;
  };
  /// Runs the reference's next step. ranks: [ranks]. Throws Error(check) naming the first number
  /// that differs: of the loss, of gradients, their norm, of parameters.
  void check(const Claim& claim, const std::vector<const RankParameters<Real>*>& ranks);

 private:
  /// Visits all that ranks hold, with the reference's gradient and values and a name for the place.
  template <class Visit>
  void each_held(const std::vector<const RankParameters<Real>*>& ranks, const Visit& visit) const;
  template <class Number>
  void compare(Number run, Number expected, const std::string& what) const;
  struct Arrays {
    Interval elements;  ///< to compare
    const Real* run = nullptr;
    const Real* expected = nullptr;
  };
  void compare_arrays(const char* what, const Held<Real>& held, const std::string& place,
                      const Arrays& arrays) const;

  const StepJob& job_;
  Reference<Real> reference_;
  std::uint32_t step_ = 0;
};

}  // namespace zebroid
