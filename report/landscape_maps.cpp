#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <optional>
#include <utility>

#include "core/error.hpp"
#include "report/color_scale.hpp"
#include "report/landscape_page.hpp"
#include "report/landscape_scales.hpp"
#include "report/svg.hpp"
#include "report/table.hpp"

namespace zebroid {
namespace {

constexpr double widest_page = 1300;
constexpr double gap = 24;             ///< between maps
constexpr double heading_height = 34;  ///< of a map: its name, and its best cell
constexpr double least_map = 270;      ///< room for a heading
constexpr std::size_t most_panels = 40;
constexpr std::size_t most_tooltips = 6000;

constexpr std::string_view no_schedule_fill = "#d8dee4";

/// Which axis goes where, and how large it becomes.
struct Layout {
  std::size_t x = 1;
  std::size_t y = 0;
  std::optional<std::size_t> panel;
  std::size_t maps = 1;  ///< per panel
  double cell_width = 0;
  double cell_height = 0;
  double left = 0;         ///< room for the y axis
  double tick_height = 0;  ///< room for the values of x
  bool slanted = false;    ///< values of x
  double map_width = 0;    ///< with the room for the y axis and the gap
  double map_height = 0;   ///< with heading, x axis and gap
};

double widest_value(const LandscapeAxis& axis) {
  double out = 0;
  for (const Json& value : axis.values) out = std::max(out, text_width(axis_value_text(value)));
  return out;
}

/// x is the axis of numbers, else the one with more values, else the one that varies faster.
void place_axes(const Landscape& landscape, Layout& layout) {
  const auto size = [&](std::size_t a) { return landscape.axes[a].values.size(); };
  std::vector<std::size_t> shown;
  if (landscape.axes.size() == most_landscape_axes) {
    std::size_t shortest = 0;
    for (std::size_t a = 1; a < landscape.axes.size(); ++a) {
      if (size(a) < size(shortest)) shortest = a;
    }
    layout.panel = shortest;
  }
  for (std::size_t a = 0; a < landscape.axes.size(); ++a) {
    if (layout.panel != a) shown.push_back(a);
  }
  layout.y = shown[0];
  layout.x = shown[1];
  const bool x_numeric = landscape.axes[layout.x].numeric;
  const bool y_numeric = landscape.axes[layout.y].numeric;
  const bool swap = x_numeric == y_numeric ? size(layout.y) > size(layout.x) : y_numeric;
  if (swap) std::swap(layout.x, layout.y);
}

Layout layout_of(const Landscape& landscape) {
  constexpr double least_cell = 2;
  constexpr double tallest_map = 600;
  constexpr double slant = 0.6;  // sine of the angle
  Layout out;
  place_axes(landscape, out);
  const LandscapeAxis& x = landscape.axes[out.x];
  const LandscapeAxis& y = landscape.axes[out.y];
  const auto columns = static_cast<double>(x.values.size());
  const auto rows = static_cast<double>(y.values.size());
  out.maps = landscape.strategies.size() + (landscape.strategies.size() > 1 ? 1 : 0);
  constexpr std::size_t most_in_a_row = 3;
  const auto in_a_row = static_cast<double>(std::min(out.maps, most_in_a_row));
  out.left = widest_value(y) + 26;
  const double room = (widest_page - 2 * landscape_margin + gap) / in_a_row - gap - out.left;
  const double fitting = room / columns;
  // Few cells are larger, so that headings and axes stand beside more than a stamp.
  const double widest_cell = std::clamp(least_map / columns, 48.0, 90.0);
  const double tallest_cell = std::clamp(130 / rows, 26.0, 48.0);
  out.cell_width =
      fitting < 8 ? std::max(least_cell, fitting) : std::min(widest_cell, std::floor(fitting));
  const double limit = tallest_map / rows;
  out.cell_height = std::clamp(std::min(limit, tallest_cell), least_cell, out.cell_width * 1.2);
  if (out.cell_height > 8) out.cell_height = std::floor(out.cell_height);
  const double label = widest_value(x);
  out.slanted = !x.numeric && label + 6 > out.cell_width;
  out.tick_height = out.slanted ? label * slant + 14 : 15;
  out.map_width = out.left + std::max(columns * out.cell_width, least_map) + gap;
  out.map_height = heading_height + rows * out.cell_height + out.tick_height + 18 + gap;
  return out;
}

/// How a cell looks.
struct Look {
  std::string fill;
  std::string value;  ///< short; "" where there is none
};

/// One map of one panel at its place on the page.
struct Map {
  std::size_t kind = 0;  ///< a strategy, or their number: the ratio
  LandscapePlace panel{};
  double left = 0;  ///< of the cells
  double top = 0;
};

class Maps {
 public:
  Maps(const Landscape& landscape, LandscapePage& page)
      : landscape_(landscape),
        page_(page),
        layout_(layout_of(landscape)),
        tokens_(tokens_scale(landscape)),
        ratio_(ratio_scale(landscape)) {
    bulky_ = landscape.places() * layout_.maps > most_tooltips;
    choose_whether_values_fit();
  }

  void run() {
    const std::size_t panels = layout_.panel ? axis(*layout_.panel).values.size() : 1;
    if (panels > most_panels) {
      throw Error(ErrorKind::input,
                  fmt::format("a picture of a sweep over three axes shows at most {} values of the "
                              "shortest, {} has {}",
                              most_panels, axis(layout_.panel.value_or(0)).path, panels));
    }
    const double room = widest_page - 2 * landscape_margin + gap;
    const auto across =
        std::max(std::size_t{1}, static_cast<std::size_t>(room / layout_.map_width));
    const std::size_t columns = std::min(across, layout_.maps);
    const std::size_t groups = std::min(panels, std::max(std::size_t{1}, across / layout_.maps));
    constexpr double least_page = 760;
    page_.width = std::max(least_page, static_cast<double>(columns * groups) * layout_.map_width -
                                           gap + 2 * landscape_margin);
    legend();
    for (std::size_t panel = 0; panel < panels; panel += groups) {
      const double top = page_.y;
      for (std::size_t g = 0; g < std::min(groups, panels - panel); ++g) {
        page_.y = top;
        const double shift = static_cast<double>(g * columns) * layout_.map_width;
        draw_panel(panel + g, landscape_margin + shift, columns);
      }
    }
  }

 private:
  const LandscapeAxis& axis(std::size_t number) const { return landscape_.axes[number]; }
  std::size_t columns() const { return axis(layout_.x).values.size(); }
  std::size_t rows() const { return axis(layout_.y).values.size(); }
  bool is_ratio(std::size_t kind) const { return kind == landscape_.strategies.size(); }

  LandscapePlace place(const Map& map, std::size_t column, std::size_t row) const {
    LandscapePlace out = map.panel;
    out.at(layout_.x) = column;
    out.at(layout_.y) = row;
    return out;
  }

  /// Numbers grow upwards, names come from the top.
  double y_of(const Map& map, std::size_t row) const {
    const std::size_t from_top = axis(layout_.y).numeric ? rows() - 1 - row : row;
    return map.top + static_cast<double>(from_top) * layout_.cell_height;
  }
  double x_of(const Map& map, std::size_t column) const {
    return map.left + static_cast<double>(column) * layout_.cell_width;
  }

  std::optional<double> number(std::size_t kind, const LandscapePlace& at) const {
    if (is_ratio(kind)) return speed_up(landscape_, at);
    const LandscapeCell& cell = landscape_.at(kind, at);
    return cell.state == LandscapeState::fits ? std::optional(cell.tokens_per_s) : std::nullopt;
  }

  std::string short_value(std::size_t kind, double number) const {
    constexpr double many = 10;
    if (!is_ratio(kind)) return compact_number(number, 2);
    return number < many ? fmt::format("{:.2f}", number) : compact_number(number, 2);
  }

  std::string long_value(std::size_t kind, double number) const {
    return is_ratio(kind) ? short_value(kind, number) + "×" : compact_number(number);
  }

  void choose_whether_values_fit() {
    constexpr double digit = 6.2;  // of the 10 px text
    constexpr double least_height = 13;
    double widest = 0;
    for (std::size_t n = 0; n < landscape_.places(); ++n) {
      const LandscapePlace at = place_number(landscape_, n);
      for (std::size_t kind = 0; kind < layout_.maps; ++kind) {
        const auto value = number(kind, at);
        if (!value) continue;
        widest = std::max(widest, static_cast<double>(short_value(kind, *value).size()) * digit);
      }
    }
    values_ = !bulky_ && layout_.cell_height >= least_height && layout_.cell_width >= widest + 3;
  }

  /// Bulky pictures have fewer colours, each of which is one path.
  double graded(double share) const {
    constexpr double grades = 64;
    return bulky_ ? std::round(share * grades) / grades : share;
  }

  Look look(std::size_t kind, const LandscapePlace& at) const {
    if (const auto value = number(kind, at)) {
      const std::string fill =
          is_ratio(kind) ? diverging_color(graded(ratio_.value_or(RatioScale{}).share(*value)))
                         : sequential_color(graded(tokens_.value_or(TokensScale{}).share(*value)));
      return {fill, short_value(kind, *value)};
    }
    const auto state = [&](std::size_t strategy) { return landscape_.at(strategy, at).state; };
    const auto any = [&](LandscapeState wanted) {
      return is_ratio(kind) ? state(0) == wanted || state(1) == wanted : state(kind) == wanted;
    };
    if (any(LandscapeState::unswept)) return {"none", ""};
    if (any(LandscapeState::fits)) {
      return {state(0) == LandscapeState::fits ? "url(#first)" : "url(#second)", ""};
    }
    if (any(LandscapeState::over_memory)) return {"url(#over)", ""};
    return {std::string(no_schedule_fill), ""};
  }

  // Legend.

  void legend() {
    page_.y += 6;
    double x = landscape_margin;
    if (tokens_) x = tokens_legend(*tokens_, x);
    if (ratio_) ratio_legend(*ratio_, x);
    if (tokens_) page_.y += 40;
    const std::vector<LandscapeSwatch> swatches = states_in_use();
    if (!swatches.empty()) {
      draw_swatches(page_, landscape_margin, swatches);
      page_.y += 22;
    }
    page_.y += 8;
  }

  std::vector<LandscapeSwatch> states_in_use() const {
    std::map<std::string, bool> used;
    for (std::size_t n = 0; n < landscape_.places(); ++n) {
      for (std::size_t kind = 0; kind < layout_.maps; ++kind) {
        used[look(kind, place_number(landscape_, n)).fill] = true;
      }
    }
    std::vector<LandscapeSwatch> all = {{"url(#over)", "does not fit in memory"},
                                        {std::string(no_schedule_fill), "no schedule"},
                                        {"none", "not in this sweep"}};
    if (layout_.maps > 1) {
      constexpr std::size_t longest = 24;
      const auto only = [&](std::size_t strategy) {
        return fmt::format("only {} runs", shortened(landscape_.strategies[strategy], longest));
      };
      all.push_back({"url(#first)", only(0)});
      all.push_back({"url(#second)", only(1)});
    }
    std::erase_if(all, [&](const LandscapeSwatch& swatch) { return !used.contains(swatch.fill); });
    return all;
  }

  /// A bar from x with the palette's stops; its width is `bar`.
  static constexpr double bar = 260;
  void gradient(double x, std::string_view id, std::span<const std::string_view> stops) {
    std::string markup;
    for (std::size_t s = 0; s < stops.size(); ++s) {
      markup += fmt::format(
          "<stop offset=\"{}\" stop-color=\"{}\"/>",
          px(static_cast<double>(s) / static_cast<double>(stops.size() - 1) * 100) + "%", stops[s]);
    }
    page_.body += fmt::format(
        "<linearGradient id=\"{0}\">{1}</linearGradient>\n"
        "<rect x=\"{2}\" y=\"{3}\" width=\"{4}\" height=\"11\" fill=\"url(#{0})\"/>\n",
        id, markup, px(x), px(page_.y), px(bar));
  }

  void tick(double x, std::string_view label) {
    page_.body +=
        fmt::format("<path stroke=\"#57606a\" d=\"M{} {}v4\"/>\n", px(x), px(page_.y + 11));
    page_.text(x, page_.y + 25, "k", label);
  }

  double tokens_legend(const TokensScale& scale, double x) {
    page_.text(x, page_.y + 10, "b", "tokens/s");
    x += 62;
    gradient(x, "tokens", sequential_stops);
    double free = x - bar;
    for (const double value : scale.ticks) {
      const double at = x + scale.share(value) * bar;
      const std::string label = compact_number(value);
      if (at - text_width(label) / 2 < free) continue;
      tick(at, label);
      free = at + text_width(label) / 2 + 4;
    }
    return x + bar + 60;
  }

  void ratio_legend(const RatioScale& scale, double x) {
    constexpr std::size_t longest = 16;
    const auto name = [&](std::size_t strategy) {
      return xml_escaped(shortened(landscape_.strategies[strategy], longest)) + " faster";
    };
    const double side = text_width(shortened(landscape_.strategies[1], longest) + " faster");
    x += side + 8;
    page_.text(x - 8, page_.y + 10, "e", name(1));
    page_.text(x + bar + 8, page_.y + 10, "g", name(0));
    gradient(x, "ratio", diverging_stops);
    for (const double power : {-1.0, -0.5, 0.0, 0.5, 1.0}) {
      const double value = std::pow(scale.limit, power);
      tick(x + (power + 1) / 2 * bar, compact_number(value, value < 1 ? 2 : 3) + "×");
    }
  }

  // Maps.

  void draw_panel(std::size_t number, double left, std::size_t per_row) {
    LandscapePlace panel{};
    if (layout_.panel) {
      panel.at(*layout_.panel) = number;
      const std::array<std::size_t, 1> named = {*layout_.panel};
      page_.text(left, page_.y + 12, "b", xml_escaped(place_text(landscape_, panel, named)));
      page_.body +=
          fmt::format("<path class=\"grid\" d=\"M{} {}h{}\"/>\n", px(left), px(page_.y + 18),
                      px(static_cast<double>(per_row) * layout_.map_width - gap));
      page_.y += 28;
    }
    for (std::size_t kind = 0; kind < layout_.maps; ++kind) {
      if (kind > 0 && kind % per_row == 0) page_.y += layout_.map_height;
      const double shift = static_cast<double>(kind % per_row) * layout_.map_width;
      draw_map({.kind = kind,
                .panel = panel,
                .left = left + shift + layout_.left,
                .top = page_.y + heading_height});
    }
    page_.y += layout_.map_height;
  }

  void draw_map(const Map& map) {
    cells(map);
    const auto best = best_of(map);
    if (best) mark(map, *best);
    heading(map, best);
    x_axis(map);
    y_axis(map);
  }

  /// Column and row of the greatest number, the first of equal ones.
  std::optional<std::pair<std::size_t, std::size_t>> best_of(const Map& map) const {
    std::optional<std::pair<std::size_t, std::size_t>> out;
    double most = 0;
    for (std::size_t row = 0; row < rows(); ++row) {
      for (std::size_t column = 0; column < columns(); ++column) {
        const auto value = number(map.kind, place(map, column, row));
        if (!value || *value <= most) continue;
        most = *value;
        out = {column, row};
      }
    }
    return out;
  }

  void mark(const Map& map, std::pair<std::size_t, std::size_t> best) {
    for (const std::string_view css : {"halo", "best"}) {
      page_.body +=
          fmt::format("<rect class=\"{}\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"/>\n", css,
                      px(x_of(map, best.first)), px(y_of(map, best.second)), px(layout_.cell_width),
                      px(layout_.cell_height));
    }
  }

  std::string summary(const Map& map) const {
    std::size_t counted = 0;
    std::size_t faster = 0;
    for (std::size_t row = 0; row < rows(); ++row) {
      for (std::size_t column = 0; column < columns(); ++column) {
        const auto value = number(map.kind, place(map, column, row));
        if (value) ++counted;
        if (value && *value > 1) ++faster;
      }
    }
    if (counted == 0) return is_ratio(map.kind) ? "nowhere do both run" : "runs nowhere";
    if (!is_ratio(map.kind)) return fmt::format("runs at {} of {}", counted, columns() * rows());
    return fmt::format("faster at {} of {} where both run", faster, counted);
  }

  void heading(const Map& map, std::optional<std::pair<std::size_t, std::size_t>> best) {
    constexpr std::size_t longest = 14;
    const auto name = [&](std::size_t strategy) {
      return shortened(landscape_.strategies[strategy], longest);
    };
    const std::string title =
        is_ratio(map.kind) ? fmt::format("{} ÷ {}", name(0), name(1)) : name(map.kind);
    page_.text(
        map.left, map.top - 22, "g",
        fmt::format("<tspan class=\"b d\">{}</tspan> · {}", xml_escaped(title), summary(map)));
    if (!best) return;
    const LandscapePlace at = place(map, best->first, best->second);
    const std::array<std::size_t, 2> axes = {std::min(layout_.x, layout_.y),
                                             std::max(layout_.x, layout_.y)};
    const double width = std::max(layout_.map_width - layout_.left - gap, least_map);
    const auto room = static_cast<std::size_t>(width / 5.9);
    const auto text = [&](const std::string& where) {
      return fmt::format("best {} at {}", long_value(map.kind, number(map.kind, at).value_or(0)),
                         where);
    };
    std::string best_text = text(place_text(landscape_, at, axes));
    if (display_width(best_text) > room) {
      const auto value = [&](std::size_t a) { return axis_value_text(axis(a).values[at.at(a)]); };
      best_text = text(fmt::format("{} × {}", value(axes[0]), value(axes[1])));
    }
    page_.text(map.left, map.top - 8, "g", xml_escaped(shortened(best_text, room)));
  }

  void cells(const Map& map) {
    std::map<std::string, std::string> paths;  // by fill
    for (std::size_t row = 0; row < rows(); ++row) {
      for (std::size_t column = 0; column < columns(); ++column) {
        const LandscapePlace at = place(map, column, row);
        const Look shown = look(map.kind, at);
        if (bulky_) {
          paths[shown.fill] += rectangle_path(x_of(map, column), y_of(map, row), layout_.cell_width,
                                              layout_.cell_height);
        } else {
          cell(map, at, shown);
        }
      }
    }
    for (const auto& [fill, path] : paths) {
      page_.body +=
          fmt::format("<path shape-rendering=\"crispEdges\" fill=\"{}\" d=\"{}\"/>\n", fill, path);
    }
  }

  void cell(const Map& map, const LandscapePlace& at, const Look& shown) {
    constexpr double least_outlined = 6;
    const double x = x_of(map, at.at(layout_.x));
    const double y = y_of(map, at.at(layout_.y));
    const std::string tooltip = is_ratio(map.kind) ? speed_up_tooltip(landscape_, at)
                                                   : cell_tooltip(landscape_, map.kind, at);
    page_.body += fmt::format(
        "<rect{} x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" fill=\"{}\"><title>{}</title>"
        "</rect>\n",
        layout_.cell_width >= least_outlined ? " class=\"x\"" : "", px(x), px(y),
        px(layout_.cell_width), px(layout_.cell_height), shown.fill, xml_escaped(tooltip));
    if (!values_ || shown.value.empty()) return;
    page_.text(x + layout_.cell_width / 2, y + layout_.cell_height / 2 + 3.5,
               ink_on(shown.fill) == "#ffffff" ? "n l" : "n d", shown.value);
  }

  // Axes.

  void x_axis(const Map& map) {
    const double bottom = map.top + static_cast<double>(rows()) * layout_.cell_height;
    const LandscapeAxis& shown = axis(layout_.x);
    constexpr std::size_t longest = 40;
    constexpr double line = 12;
    const double needed = layout_.slanted ? line : widest_value(shown) + 5;
    const auto every =
        std::max(std::size_t{1}, static_cast<std::size_t>(std::ceil(needed / layout_.cell_width)));
    for (std::size_t c = 0; c < columns(); c += every) {
      const std::string label = xml_escaped(axis_value_text(shown.values[c]));
      const double x = x_of(map, c) + layout_.cell_width / 2;
      if (layout_.slanted) {
        page_.body += fmt::format(
            "<text x=\"{0}\" y=\"{1}\" class=\"e\" transform=\"rotate(-37 {0} {1})\">{2}</text>\n",
            px(x + 4), px(bottom + 12), label);
      } else {
        page_.text(x, bottom + 13, "k", label);
      }
    }
    page_.text(map.left + static_cast<double>(columns()) * layout_.cell_width / 2,
               bottom + layout_.tick_height + 13, "k",
               xml_escaped(shortened(shown.label, longest)));
  }

  void y_axis(const Map& map) {
    constexpr double line = 12;
    const LandscapeAxis& shown = axis(layout_.y);
    const auto every =
        std::max(std::size_t{1}, static_cast<std::size_t>(std::ceil(line / layout_.cell_height)));
    for (std::size_t row = 0; row < rows(); row += every) {
      page_.text(map.left - 6, y_of(map, row) + layout_.cell_height / 2 + 4, "e",
                 xml_escaped(axis_value_text(shown.values[row])));
    }
    const double height = static_cast<double>(rows()) * layout_.cell_height;
    const auto longest = static_cast<std::size_t>((height + heading_height) / landscape_character);
    page_.upward_text(map.left - layout_.left + 12, map.top + height / 2,
                      xml_escaped(shortened(shown.label, longest)));
  }

  const Landscape& landscape_;
  LandscapePage& page_;
  Layout layout_;
  std::optional<TokensScale> tokens_;
  std::optional<RatioScale> ratio_;
  bool bulky_ = false;   ///< too many cells for tooltips
  bool values_ = false;  ///< cells are large enough for theirs
};

}  // namespace

void draw_landscape_maps(const Landscape& landscape, LandscapePage& page) {
  Maps(landscape, page).run();
}

}  // namespace zebroid
