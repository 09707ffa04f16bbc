#pragma once

#include <array>
#include <string>
#include <string_view>

namespace zebroid {

/// Evenly spaced stops from dark (little) to light (much), readable without colour vision and in
/// grey. Source: matplotlib's viridis (CC0) at 0, 1/8, ..., 1.
inline constexpr std::array<std::string_view, 9> sequential_stops = {
    "#440154", "#472d7b", "#3b528b", "#2c728e", "#21918c",
    "#28ae80", "#5ec962", "#addc30", "#fde725"};

/// Evenly spaced stops from red over near white to blue. Source: ColorBrewer 2.0, RdBu with 9
/// classes, listed there as safe for the colour-blind.
inline constexpr std::array<std::string_view, 9> diverging_stops = {
    "#b2182b", "#d6604d", "#f4a582", "#fddbc7", "#f7f7f7",
    "#d1e5f0", "#92c5de", "#4393c3", "#2166ac"};

/// "#rrggbb" for a share in [0, 1], interpolated in sRGB as SVG gradients are; clamped.
std::string sequential_color(double share);

/// "#rrggbb" for a share in [-1, 1], interpolated likewise; 0 is near white.
std::string diverging_color(double share);

/// Dark or white text, whichever has more contrast (WCAG 2.1) on the fill "#rrggbb".
std::string_view ink_on(std::string_view fill);

}  // namespace zebroid
