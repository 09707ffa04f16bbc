#pragma once

#include <optional>
#include <vector>

#include "report/landscape.hpp"

namespace zebroid {

/// From tokens/s that fit in memory to shares of a palette, between round numbers.
struct TokensScale {
  double low = 0;
  double high = 1;
  bool logarithmic = false;   ///< where the greatest is over 30 times the least
  std::vector<double> ticks;  ///< round numbers from low to high

  double share(double tokens_per_s) const;  ///< in [0, 1]
};

/// Nothing when nothing fits.
std::optional<TokensScale> tokens_scale(const Landscape& landscape);

/// From ratios to shares of a palette around 1: as far for half as for twice.
struct RatioScale {
  double limit = 2;  ///< a round number; from 1/limit to limit

  double share(double ratio) const;  ///< in [-1, 1]
};

/// Nothing when the two strategies fit nowhere together, or there is only one.
std::optional<RatioScale> ratio_scale(const Landscape& landscape);

/// The place with this number, in the order of Landscape::cells.
LandscapePlace place_number(const Landscape& landscape, std::size_t number);

}  // namespace zebroid
