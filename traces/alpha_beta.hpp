#pragma once

#include <vector>

#include "models/collectives.hpp"

namespace zebroid {

struct Transfer {
  double bytes = 0;
  double time_us = 0;
};

/// Pieces of alpha + bytes / rate with the least squared relative error, as many as pay for
/// themselves by the Bayesian information criterion, each over at least three sizes. Transfers by
/// size, every size once, at least one; times above 0.
std::vector<AlphaBeta> fit_alpha_beta(const std::vector<Transfer>& transfers);

}  // namespace zebroid
