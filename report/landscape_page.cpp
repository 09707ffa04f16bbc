#include "report/landscape_page.hpp"

#include <fmt/format.h>

#include <array>

#include "report/svg.hpp"
#include "report/table.hpp"

namespace zebroid {

void LandscapePage::text(double x, double y_text, std::string_view css, std::string_view content) {
  body += fmt::format("<text x=\"{}\" y=\"{}\" class=\"{}\">{}</text>\n", px(x), px(y_text), css,
                      content);
}

void LandscapePage::upward_text(double x, double y_text, std::string_view content) {
  body += fmt::format(
      "<text x=\"{0}\" y=\"{1}\" class=\"k\" transform=\"rotate(-90 {0} {1})\">{2}</text>\n", px(x),
      px(y_text), content);
}

double text_width(std::string_view text) {
  return static_cast<double>(display_width(text)) * landscape_character;
}

double draw_swatches(LandscapePage& page, double x, const std::vector<LandscapeSwatch>& swatches) {
  constexpr double size = 12;
  for (const LandscapeSwatch& swatch : swatches) {
    page.body += fmt::format(
        "<rect x=\"{0}\" y=\"{1}\" width=\"{2}\" height=\"{2}\" fill=\"{3}\" "
        "stroke=\"#8c959f\" stroke-width=\".6\"/>\n",
        px(x), px(page.y), px(size), swatch.fill);
    page.text(x + size + 6, page.y + 10, "g", xml_escaped(swatch.name));
    x += size + 6 + text_width(swatch.name) + 14;
  }
  return x;
}

std::string_view strategy_color(std::size_t strategy) {
  constexpr std::array<std::string_view, 7> colors = {"#0072b2", "#d55e00", "#009e73", "#cc79a7",
                                                      "#e69f00", "#56b4e9", "#000000"};
  return colors.at(strategy % colors.size());
}

}  // namespace zebroid
