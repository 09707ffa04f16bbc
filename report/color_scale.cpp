#include "report/color_scale.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <span>

namespace zebroid {
namespace {

using Channels = std::array<double, 3>;  ///< red, green, blue in [0, 255]

Channels channels_of(std::string_view color) {
  constexpr int hexadecimal = 16;
  Channels out{};
  for (std::size_t c = 0; c < out.size(); ++c) {
    out.at(c) = std::stoi(std::string(color.substr(1 + 2 * c, 2)), nullptr, hexadecimal);
  }
  return out;
}

std::string interpolated(std::span<const std::string_view> stops, double share) {
  const double at = std::clamp(share, 0.0, 1.0) * static_cast<double>(stops.size() - 1);
  const auto below = std::min(static_cast<std::size_t>(at), stops.size() - 2);
  const double weight = at - static_cast<double>(below);
  const Channels low = channels_of(stops[below]);
  const Channels high = channels_of(stops[below + 1]);
  std::string out = "#";
  for (std::size_t c = 0; c < low.size(); ++c) {
    out += fmt::format("{:02x}", std::lround(low.at(c) + (high.at(c) - low.at(c)) * weight));
  }
  return out;
}

/// Relative luminance, WCAG 2.1.
double luminance(std::string_view color) {
  constexpr Channels weights = {0.2126, 0.7152, 0.0722};
  const Channels channels = channels_of(color);
  double out = 0;
  for (std::size_t c = 0; c < channels.size(); ++c) {
    const double value = channels.at(c) / 255;
    const double linear = value <= 0.03928 ? value / 12.92 : std::pow((value + 0.055) / 1.055, 2.4);
    out += weights.at(c) * linear;
  }
  return out;
}

}  // namespace

std::string sequential_color(double share) { return interpolated(sequential_stops, share); }

std::string diverging_color(double share) { return interpolated(diverging_stops, (share + 1) / 2); }

std::string_view ink_on(std::string_view fill) {
  constexpr std::string_view dark = "#24292f";
  constexpr std::string_view light = "#ffffff";
  constexpr double glare = 0.05;  // WCAG 2.1, contrast ratio
  const double behind = luminance(fill) + glare;
  const bool dark_is_better =
      behind / (luminance(dark) + glare) >= (luminance(light) + glare) / behind;
  return dark_is_better ? dark : light;
}

}  // namespace zebroid
