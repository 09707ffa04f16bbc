#include "report/landscape_scales.hpp"

#include <algorithm>
#include <array>
#include <cmath>

#include "report/svg.hpp"

namespace zebroid {
namespace {

/// 1, 2 and 5 times powers of ten from the last not above `low` to the first not below `high`;
/// powers of ten only when that are too many.
std::vector<double> logarithmic_ticks(double low, double high) {
  constexpr double few_decades = 4;
  const std::vector<double> factors =
      std::log10(high / low) > few_decades ? std::vector{1.0} : std::vector{1.0, 2.0, 5.0};
  constexpr double slack = 1e-9;
  std::vector<double> out;
  for (double power = std::floor(std::log10(low)) - 1;; ++power) {
    for (const double factor : factors) {
      const double tick = factor * std::pow(10.0, power);
      if (tick <= low * (1 + slack)) out.clear();
      out.push_back(tick);
      if (tick >= high * (1 - slack)) return out;
    }
  }
}

std::vector<double> linear_ticks(double low, double high) {
  constexpr double steps = 4;
  constexpr double alike = 1e-9;
  if (high - low <= high * alike) low = 0;
  const double step = nice_step(high - low, steps);
  std::vector<double> out;
  for (double k = std::floor(low / step + alike); out.empty() || out.back() < high * (1 - alike);
       ++k) {
    out.push_back(k * step);
  }
  return out;
}

}  // namespace

double TokensScale::share(double tokens_per_s) const {
  const double out = logarithmic ? std::log(tokens_per_s / low) / std::log(high / low)
                                 : (tokens_per_s - low) / (high - low);
  return std::clamp(out, 0.0, 1.0);
}

std::optional<TokensScale> tokens_scale(const Landscape& landscape) {
  std::vector<double> values;
  for (const LandscapeCell& cell : landscape.cells) {
    if (cell.state == LandscapeState::fits) values.push_back(cell.tokens_per_s);
  }
  if (values.empty()) return std::nullopt;
  const auto [least, most] = std::minmax_element(values.begin(), values.end());
  constexpr double wide = 30;
  TokensScale out;
  out.logarithmic = *most / *least > wide;
  out.ticks = out.logarithmic ? logarithmic_ticks(*least, *most) : linear_ticks(*least, *most);
  out.low = out.ticks.front();
  out.high = out.ticks.back();
  return out;
}

double RatioScale::share(double ratio) const {
  return std::clamp(std::log(ratio) / std::log(limit), -1.0, 1.0);
}

std::optional<RatioScale> ratio_scale(const Landscape& landscape) {
  if (landscape.strategies.size() < 2) return std::nullopt;
  double farthest = 0;
  for (std::size_t n = 0; n < landscape.places(); ++n) {
    const auto ratio = speed_up(landscape, place_number(landscape, n));
    if (ratio) farthest = std::max({farthest, *ratio, 1 / *ratio});
  }
  if (farthest == 0) return std::nullopt;
  constexpr std::array limits = {1.1, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0};
  for (const double limit : limits) {
    if (farthest <= limit) return RatioScale{limit};
  }
  return RatioScale{std::exp2(std::ceil(std::log2(farthest)))};
}

LandscapePlace place_number(const Landscape& landscape, std::size_t number) {
  LandscapePlace out{};
  for (std::size_t a = landscape.axes.size(); a-- > 0;) {
    out.at(a) = number % landscape.axes[a].values.size();
    number /= landscape.axes[a].values.size();
  }
  return out;
}

}  // namespace zebroid
