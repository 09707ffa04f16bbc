#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "report/landscape.hpp"

namespace zebroid {

inline constexpr double landscape_margin = 16;
inline constexpr double landscape_character = 6.1;  ///< width of 11 px text, on average

/// The body of a picture, which grows downwards.
struct LandscapePage {
  std::string body;
  double width = 0;
  double y = 0;  ///< where the next part begins

  /// `content` is escaped already.
  void text(double x, double y_text, std::string_view css, std::string_view content);
  /// Reading upwards, centred on the point.
  void upward_text(double x, double y_text, std::string_view content);
};

/// Width of 11 px text.
double text_width(std::string_view text);

/// Swatches with names in one line, from x; returns where it ends.
struct LandscapeSwatch {
  std::string fill;  ///< a colour, or "url(#pattern)"
  std::string name;  ///< not escaped
};
double draw_swatches(LandscapePage& page, double x, const std::vector<LandscapeSwatch>& swatches);

/// Colours of strategies on charts. Source: Okabe and Ito, "Color Universal Design" (2008), its
/// blue and vermillion first, as on the map of ratios; repeats after seven.
std::string_view strategy_color(std::size_t strategy);

/// A heatmap for each strategy, one of the first over the second, each once per value of the
/// shortest of three axes. Needs 2 or 3 axes. Sets the page's width.
void draw_landscape_maps(const Landscape& landscape, LandscapePage& page);

/// tokens/s of each strategy along the only axis, and the first over the second below. Sets the
/// page's width.
void draw_landscape_chart(const Landscape& landscape, LandscapePage& page);

}  // namespace zebroid
