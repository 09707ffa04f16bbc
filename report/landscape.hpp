#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/json.hpp"

namespace zebroid {

/// A varied field.
struct LandscapeAxis {
  std::string path;          ///< "cluster.A40"
  std::string label;         ///< "A40 GPUs"; the path itself where there is no better name
  std::string lead;          ///< what is said before a value: "", "sequence length "
  std::string tail;          ///< and after it: " A40 GPUs", " tokens"
  std::vector<Json> values;  ///< numbers ascending, others in the order in which they came
  bool numeric = false;      ///< all values are numbers
};

enum class LandscapeState : std::uint8_t {
  unswept,      ///< the sweep has no such point, or not this strategy
  unplanned,    ///< no schedule, whatever the memory
  over_memory,  ///< predicted as if there were memory enough
  fits,
};

/// What one strategy reaches at one point.
struct LandscapeCell {
  LandscapeState state = LandscapeState::unswept;
  double tokens_per_s = 0;       ///< of states over_memory and fits
  const Json* result = nullptr;  ///< all of it; none when unswept
};

inline constexpr std::size_t most_landscape_axes = 3;
/// Position on each axis, 0 where there are fewer axes.
using LandscapePlace = std::array<std::size_t, most_landscape_axes>;

/// A sweep by its axes. The lines that it was read from outlive it.
struct Landscape {
  std::vector<LandscapeAxis> axes;   ///< 1 to 3, in the order of the --vary flags
  std::vector<LandscapeAxis> fixed;  ///< the others, of one value each
  std::vector<std::string> strategies;
  std::vector<LandscapeCell> cells;  ///< by strategy, then axes, the last fastest
  std::size_t points = 0;

  const LandscapeCell& at(std::size_t strategy, const LandscapePlace& place) const {
    return cells[index(strategy, place)];
  }
  std::size_t index(std::size_t strategy, const LandscapePlace& place) const;
  std::size_t places() const { return cells.size() / strategies.size(); }
};

/// Reads lines of a sweep (docs/formats/sweep.md) in any order; lines of several sweeps of other
/// strategies over the same axes may come together. Axes with one value are `fixed`, but for the
/// first when all are. Throws Error(input) for lines that are none, that vary other fields than
/// the first line, that have a strategy twice at one point, for none at all, for more than three
/// axes with several values, and for more than 100,000 cells.
Landscape read_landscape(std::span<const Json> points);

/// "16,384", "0.5", "lognormal:0.5", cut to `most` columns.
std::string axis_value_text(const Json& value, std::size_t most = 24);

/// `digits` significant digits, more before the point, without trailing zeros; k, M, G or T for
/// powers of a thousand: "226k", "1.23M", "0.5".
std::string compact_number(double number, int digits = 3);

/// "6 A40 GPUs", "1 A40 GPU", "sequence length 4,096 tokens", "routing.seed 3".
std::string axis_value_in_words(const LandscapeAxis& axis, const Json& value);

/// "6 A40 GPUs, sequence length 4,096 tokens": where a place is, on `axes` of the landscape.
std::string place_text(const Landscape& landscape, const LandscapePlace& place,
                       std::span<const std::size_t> axes);

/// All numbers of a cell, a line each, not escaped.
std::string cell_tooltip(const Landscape& landscape, std::size_t strategy,
                         const LandscapePlace& place);

/// The first strategy's tokens/s over the second's when both fit.
std::optional<double> speed_up(const Landscape& landscape, const LandscapePlace& place);

/// What there is of speed_up in words, and why not.
std::string speed_up_tooltip(const Landscape& landscape, const LandscapePlace& place);

}  // namespace zebroid
