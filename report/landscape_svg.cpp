#include "report/landscape_svg.hpp"

#include <fmt/format.h>

#include "report/landscape.hpp"
#include "report/landscape_page.hpp"
#include "report/svg.hpp"
#include "report/table.hpp"

namespace zebroid {
namespace {

constexpr std::string_view style =
    "text{font:11px sans-serif;fill:#24292f}"
    ".t{font-size:17px;font-weight:bold}.g{fill:#57606a}.b{font-weight:bold}"
    ".n{font-size:10px;text-anchor:middle;pointer-events:none}"
    ".d{fill:#24292f}.l{fill:#fff}"
    ".k{text-anchor:middle;fill:#57606a}.e{text-anchor:end;fill:#57606a}"
    ".m{text-anchor:middle;font-weight:bold;pointer-events:none}"
    ".grid{stroke:#d0d7de;stroke-width:.6}.x{stroke:#fff;stroke-width:.6}"
    ".halo{fill:none;stroke:#fff;stroke-width:4;pointer-events:none}"
    ".best{fill:none;stroke:#24292f;stroke-width:2;pointer-events:none}";

/// What fills cells without a number.
constexpr std::string_view patterns =
    "<defs>"
    "<pattern id=\"over\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\">"
    "<path fill=\"#fff\" d=\"M0 0h6v6h-6z\"/>"
    "<path stroke=\"#8c959f\" d=\"M-1 1l2 -2M0 6l6 -6M5 7l2 -2\"/></pattern>"
    "<pattern id=\"first\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\">"
    "<path fill=\"#d1e5f0\" d=\"M0 0h6v6h-6z\"/>"
    "<path fill=\"#2166ac\" d=\"M2 2h2v2h-2z\"/></pattern>"
    "<pattern id=\"second\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\">"
    "<path fill=\"#fddbc7\" d=\"M0 0h6v6h-6z\"/>"
    "<path fill=\"#b2182b\" d=\"M2 2h2v2h-2z\"/></pattern>"
    "</defs>\n";

/// What the axis is, without its unit.
std::string name_of(const LandscapeAxis& axis) {
  return axis.lead.empty() ? axis.tail.substr(1) : axis.lead.substr(0, axis.lead.size() - 1);
}

/// "Throughput over a", "... a and b", "... a, b and c".
std::string title_of(const Landscape& landscape) {
  std::string out = "Throughput over ";
  const std::size_t count = landscape.axes.size();
  for (std::size_t a = 0; a < count; ++a) {
    if (a > 0) out += a + 1 == count ? " and " : ", ";
    constexpr std::size_t longest = 40;
    out += shortened(name_of(landscape.axes[a]), longest);
  }
  return out;
}

std::string facts_of(const Landscape& landscape, std::string_view caption) {
  std::string out(caption);
  const auto add = [&out](std::string_view fact) {
    if (!out.empty()) out += " · ";
    out += fact;
  };
  for (const LandscapeAxis& axis : landscape.fixed) {
    add(axis_value_in_words(axis, axis.values.front()));
  }
  add(fmt::format("{} point{}", format_number(static_cast<double>(landscape.points)),
                  landscape.points == 1 ? "" : "s"));
  return out;
}

}  // namespace

std::string landscape_svg(std::span<const Json> points, std::string_view caption) {
  const Landscape landscape = read_landscape(points);
  LandscapePage page{.body = {}, .width = 0, .y = 58};
  if (landscape.axes.size() == 1) {
    draw_landscape_chart(landscape, page);
  } else {
    draw_landscape_maps(landscape, page);
  }
  const double room = page.width - 2 * landscape_margin;
  const auto columns = static_cast<std::size_t>(room / landscape_character);
  constexpr double title_scale = 1.75;  // of its font, bold, over that of the other text
  const auto title_columns = static_cast<std::size_t>(room / landscape_character / title_scale);
  const std::string title = xml_escaped(title_of(landscape));
  LandscapePage header;
  header.text(landscape_margin, 28, "t",
              xml_escaped(shortened(title_of(landscape), title_columns)));
  header.text(landscape_margin, 46, "g",
              xml_escaped(shortened(facts_of(landscape, caption), columns)));
  return fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" version=\"1.1\" width=\"{0}\" height=\"{1}\" "
      "viewBox=\"0 0 {0} {1}\">\n<title>{2}</title>\n<style>{3}</style>\n{4}"
      "<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n{5}{6}</svg>\n",
      px(page.width), px(page.y), title, style, patterns, header.body, page.body);
}

}  // namespace zebroid
