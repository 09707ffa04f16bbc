#pragma once

#include <string>
#include <string_view>

namespace zebroid {

/// The text as XML content or attribute value; control characters, which XML cannot hold, become
/// blanks.
std::string xml_escaped(std::string_view text);

/// A coordinate: two decimals at most, no trailing zeros.
std::string px(double value);

/// Path data of a rectangle; many of them make one <path>, at a tenth of the bytes of <rect>s.
std::string rectangle_path(double x, double y, double width, double height);

/// Halfway between two colours "#rrggbb".
std::string mixed_color(std::string_view a, std::string_view b);

/// The largest of 1, 2 or 5 times a power of ten that goes at least `count` times into `length`.
double nice_step(double length, double count);

}  // namespace zebroid
