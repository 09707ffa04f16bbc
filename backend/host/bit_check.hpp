#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "backend/host/rank_parameters.hpp"
#include "backend/host/reference.hpp"

namespace zebroid {

/// Compares what ranks have after each step with the single-rank reference, which runs beside them.
template <class Real>
class BitCheck {
 public:
  /// Both outlive this.
  BitCheck(const StepJob& job, const NormParts& norm) : job_(job), reference_(job, norm) {}

  /// What ranks say of a step that has ended.
  struct Claim {
    std::uint32_t step = 0;  ///< from 1
    double loss = 0;
    double gradient_norm = 0;
  };
  /// Runs the reference's next step. ranks: [ranks]. Throws Error(check) naming the first number
  /// that differs, of gradients before that of parameters.
  void check(const Claim& claim, const std::vector<const RankParameters<Real>*>& ranks);

 private:
  template <class Number>
  void compare(Number run, Number expected, const std::string& what) const;
  void compare(const Held<Real>& held, const std::vector<Real>& gradient,
               const std::vector<Real>& values, const std::string& place) const;

  const StepJob& job_;
  Reference<Real> reference_;
  std::uint32_t step_ = 0;
};

}  // namespace zebroid
