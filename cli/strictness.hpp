#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cli/result.hpp"
#include "core/json.hpp"
#include "models/evidence.hpp"

namespace zebroid {

/// Costs of one class on the critical path of a prediction that rest on less than was asked for.
struct WeakCosts {
  std::string gpu;   ///< "" = the network
  std::string name;  ///< "gemm on A40"
  double share = 0;  ///< of the critical path
  Evidence worst = Evidence::roofline;
  std::vector<std::string> missing;  ///< what to measure, as measure_kernels.py and --show take it
};

/// Where the request asks for evidence puts "strict" into a result of these jobs, and returns the
/// classes whose weak part is at least 2 % of the critical path of a job, the largest first.
std::vector<WeakCosts> judge_evidence(const std::vector<PredictedJob>& jobs,
                                      std::optional<Evidence> least, Json& result);
/// 0, or 4 after saying on stderr why the evidence of `title` is not enough.
int strict_exit_code(const std::string& title, const std::vector<WeakCosts>& weak,
                     std::optional<Evidence> least);

}  // namespace zebroid
