#pragma once

#include <span>
#include <string>
#include <string_view>

#include "core/json.hpp"

namespace zebroid {

/// A picture of a sweep from its lines (zebroid.sweep-point/1, docs/formats/sweep.md), in any
/// order: over one axis a chart of tokens/s, over two a heatmap per strategy and one of the first
/// strategy over the second, over three these maps for each value of the shortest axis. Cells say
/// what does not fit in memory and what has no schedule. Axes with one value are named below the
/// title, after `caption` (say, model and cluster, which the lines do not name). SVG 1.1 in one
/// piece without scripts; equal lines give equal bytes. Throws Error(input) for what
/// read_landscape refuses and for more than 40 maps of one kind.
std::string landscape_svg(std::span<const Json> points, std::string_view caption = {});

}  // namespace zebroid
