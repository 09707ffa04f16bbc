#pragma once

#include <string>
#include <vector>

#include "models/scenario.hpp"
#include "schedule/timeline.hpp"

namespace zebroid {

/// Costs of one class on the critical path of a prediction that rest on less than was asked for.
struct WeakCosts {
  std::string gpu;   ///< "" = the network
  std::string name;  ///< "gemm on A40"
  double share = 0;  ///< of the critical path
  Evidence worst = Evidence::roofline;
  std::vector<std::string> missing;  ///< what to measure, as measure_kernels.py and --show take it
};

/// Classes whose weak part is at least 2 % of the critical path, the largest first.
std::vector<WeakCosts> weak_costs(const Schedule& schedule, const Timeline& timeline,
                                  const Scenario& scenario, Evidence least);

/// One paragraph: classes, missing shapes, and the commands that measure them and try again.
std::string explanation(const std::vector<WeakCosts>& weak, Evidence least);
Json to_json(const std::vector<WeakCosts>& weak, Evidence least);

}  // namespace zebroid
