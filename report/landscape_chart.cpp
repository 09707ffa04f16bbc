#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "report/color_scale.hpp"
#include "report/landscape_page.hpp"
#include "report/landscape_scales.hpp"
#include "report/svg.hpp"
#include "report/table.hpp"

namespace zebroid {
namespace {

constexpr double page_width = 960;
constexpr double plot_left = 72;
constexpr double plot_width = 790;
constexpr double plot_height = 320;
constexpr double ratio_height = 90;

/// Where the values of the axis stand, in shares of the width.
std::vector<double> positions_of(const LandscapeAxis& axis) {
  const std::size_t count = axis.values.size();
  std::vector<double> out;
  for (std::size_t i = 0; i < count; ++i) {
    out.push_back(axis.numeric ? axis.values[i].get<double>() : static_cast<double>(i) + 0.5);
  }
  if (!axis.numeric || count < 2) {
    for (std::size_t i = 0; i < count; ++i) {
      out[i] = (static_cast<double>(i) + 0.5) / static_cast<double>(count);
    }
    return out;
  }
  if (out.front() > 0 && out.back() / out.front() >= 4) {
    const auto spread = [&](const auto& step) {
      double least = step(1);
      double most = least;
      for (std::size_t i = 2; i < count; ++i) {
        least = std::min(least, step(i));
        most = std::max(most, step(i));
      }
      return most / least;
    };
    const double by_difference = spread([&](std::size_t i) { return out[i] - out[i - 1]; });
    const double by_ratio = spread([&](std::size_t i) { return std::log(out[i] / out[i - 1]); });
    if (by_ratio < by_difference) {
      for (double& value : out) value = std::log(value);
    }
  }
  constexpr double inset = 0.03;
  const double low = out.front();
  const double high = out.back();
  for (double& value : out) {
    const double share = (value / 2 - low / 2) / (high / 2 - low / 2);  // the range may be infinite
    value = inset + share * (1 - 2 * inset);
  }
  return out;
}

class Chart {
 public:
  Chart(const Landscape& landscape, LandscapePage& page)
      : landscape_(landscape),
        page_(page),
        axis_(landscape.axes.front()),
        positions_(positions_of(axis_)),
        joined_(axis_.numeric && axis_.values.size() > 1) {
    for (const LandscapeCell& cell : landscape.cells) most_ = std::max(most_, cell.tokens_per_s);
  }

  void run() {
    page_.width = page_width;
    legend();
    top_ = page_.y + 28;
    bottom_ = top_ + plot_height;
    tokens_axis();
    values_axis(bottom_ + 4 + refused_height());
    for (std::size_t s = 0; s < landscape_.strategies.size(); ++s) {
      refused(s);
      if (joined_) {
        line(s);
      } else {
        bars(s);
      }
      best(s);
    }
    page_.y = bottom_ + refused_height() + 40;
    if (const auto scale = ratio_scale(landscape_)) ratios(*scale);
    page_.y += 8;
  }

 private:
  const LandscapeCell& cell(std::size_t strategy, std::size_t i) const {
    return landscape_.at(strategy, {i});
  }
  double x(std::size_t i) const { return plot_left + positions_[i] * plot_width; }
  double y(double tokens_per_s) const { return bottom_ - tokens_per_s / high_ * plot_height; }
  std::size_t count() const { return axis_.values.size(); }

  bool any(LandscapeState state) const {
    return std::any_of(landscape_.cells.begin(), landscape_.cells.end(),
                       [state](const LandscapeCell& cell) { return cell.state == state; });
  }
  bool has(std::size_t strategy, LandscapeState state) const {
    for (std::size_t i = 0; i < count(); ++i) {
      if (cell(strategy, i).state == state) return true;
    }
    return false;
  }

  /// A row of crosses below the plot for each strategy that has no schedule somewhere.
  double refused_height() const {
    constexpr double row = 12;
    double out = 0;
    for (std::size_t s = 0; s < landscape_.strategies.size(); ++s) {
      if (has(s, LandscapeState::unplanned)) out += row;
    }
    return out;
  }

  void legend() {
    constexpr std::size_t longest = 24;
    page_.y += 2;
    std::vector<LandscapeSwatch> swatches;
    for (std::size_t s = 0; s < landscape_.strategies.size(); ++s) {
      swatches.push_back(
          {std::string(strategy_color(s)), shortened(landscape_.strategies[s], longest)});
    }
    const double half = landscape_margin + (page_width - 2 * landscape_margin) / 2;
    double right = draw_swatches(page_, landscape_margin, swatches);
    if (right > half && any(LandscapeState::over_memory)) {
      page_.y += 20;
      right = landscape_margin;
    }
    if (any(LandscapeState::over_memory)) {
      const std::string name = "does not fit in memory: speed if it did";
      if (joined_) {
        page_.body += fmt::format(
            "<circle cx=\"{}\" cy=\"{}\" r=\"4\" fill=\"#fff\" stroke=\"#57606a\" "
            "stroke-width=\"1.5\"/>\n",
            px(right + 6), px(page_.y + 6));
        page_.text(right + 18, page_.y + 10, "g", name);
        right += 32 + text_width(name);
      } else {
        right = draw_swatches(page_, right, {{"url(#over)", name}});
      }
    }
    if (any(LandscapeState::unplanned)) {
      cross(right + 6, page_.y + 6, "#57606a");
      page_.text(right + 18, page_.y + 10, "g", "no schedule");
    }
    page_.y += 22;
  }

  void cross(double x_px, double y_px, std::string_view color, std::string_view tooltip = "") {
    page_.body += fmt::format(
        "<path fill=\"none\" stroke=\"{}\" stroke-width=\"1.8\" d=\"M{} {}l7 7m0 -7l-7 "
        "7\"><title>{}</title></path>\n",
        color, px(x_px - 3.5), px(y_px - 3.5), xml_escaped(tooltip));
  }

  void tokens_axis() {
    constexpr double steps = 4;
    page_.text(landscape_margin, top_ - 12, "b", "tokens/s");
    const double step = most_ > 0 ? nice_step(most_ * 1.06, steps) : 1;
    high_ = most_ > 0 ? std::ceil(most_ * 1.06 / step) * step : 1;
    std::string path;
    for (double k = 0; k * step <= high_ * 1.0001; ++k) {
      path += fmt::format("M{} {}h{}", px(plot_left), px(y(k * step)), px(plot_width));
      if (most_ > 0 || k == 0)
        page_.text(plot_left - 6, y(k * step) + 4, "e", compact_number(k * step));
    }
    page_.body += fmt::format("<path class=\"grid\" d=\"{}\"/>\n", path);
    if (most_ > 0) return;
    page_.text(plot_left + plot_width / 2, top_ + plot_height / 2, "k",
               "no strategy has a schedule at any point");
  }

  /// Ticks at the values, as many as find room, and the name of the axis.
  void values_axis(double from) {
    constexpr std::size_t longest_name = 60;
    double free = 0;
    for (std::size_t i = 0; i < count(); ++i) {
      const auto columns = static_cast<std::size_t>(
          std::max(10.0, plot_width / static_cast<double>(count()) / landscape_character));
      const std::string label =
          axis_value_text(axis_.values[i], std::min(columns, std::size_t{40}));
      const double half = text_width(label) / 2;
      if (x(i) - half < free) continue;
      free = x(i) + half + 6;
      page_.body +=
          fmt::format("<path stroke=\"#8c959f\" d=\"M{} {}v4\"/>\n", px(x(i)), px(bottom_));
      page_.text(x(i), from + 12, "k", xml_escaped(label));
    }
    page_.text(plot_left + plot_width / 2, from + 28, "k",
               xml_escaped(shortened(axis_.label, longest_name)));
  }

  void refused(std::size_t strategy) {
    constexpr double row = 12;
    double at = bottom_ + 9;
    for (std::size_t s = 0; s < strategy; ++s) {
      if (has(s, LandscapeState::unplanned)) at += row;
    }
    for (std::size_t i = 0; i < count(); ++i) {
      if (cell(strategy, i).state == LandscapeState::unplanned)
        cross(x(i), at, strategy_color(strategy), cell_tooltip(landscape_, strategy, {i}));
    }
  }

  /// Neighbours that fit are joined by a line, others that have a schedule by dashes.
  void line(std::size_t strategy) {
    std::string whole;
    std::string dashed;
    for (std::size_t i = 1; i < count(); ++i) {
      const LandscapeCell& from = cell(strategy, i - 1);
      const LandscapeCell& to = cell(strategy, i);
      if (from.tokens_per_s <= 0 || to.tokens_per_s <= 0) continue;
      const bool fit = from.state == LandscapeState::fits && to.state == LandscapeState::fits;
      (fit ? whole : dashed) += fmt::format("M{} {}L{} {}", px(x(i - 1)), px(y(from.tokens_per_s)),
                                            px(x(i)), px(y(to.tokens_per_s)));
    }
    const auto draw = [&](const std::string& path, std::string_view attributes) {
      if (path.empty()) return;
      page_.body += fmt::format("<path fill=\"none\" stroke=\"{}\" {} d=\"{}\"/>\n",
                                strategy_color(strategy), attributes, path);
    };
    draw(whole, "stroke-width=\"2\"");
    draw(dashed, "stroke-width=\"1.2\" stroke-dasharray=\"4 3\"");
    const double radius = count() > 60 ? 2 : 4;
    for (std::size_t i = 0; i < count(); ++i) {
      const LandscapeCell& at = cell(strategy, i);
      if (at.tokens_per_s <= 0) continue;
      const bool fits = at.state == LandscapeState::fits;
      page_.body += fmt::format(
          "<circle cx=\"{}\" cy=\"{}\" r=\"{}\" fill=\"{}\" stroke=\"{}\" "
          "stroke-width=\"1.5\"><title>{}</title></circle>\n",
          px(x(i)), px(y(at.tokens_per_s)), px(radius), fits ? strategy_color(strategy) : "#fff",
          strategy_color(strategy), xml_escaped(cell_tooltip(landscape_, strategy, {i})));
    }
  }

  double bar_width() const {
    constexpr double widest = 48;
    const double room = plot_width / static_cast<double>(count()) * 0.8;
    return std::min(widest, room / static_cast<double>(landscape_.strategies.size()));
  }
  double bar_left(std::size_t strategy, std::size_t i) const {
    const double middle = static_cast<double>(landscape_.strategies.size()) / 2;
    return x(i) + (static_cast<double>(strategy) - middle) * bar_width();
  }

  void bars(std::size_t strategy) {
    for (std::size_t i = 0; i < count(); ++i) {
      const LandscapeCell& at = cell(strategy, i);
      if (at.tokens_per_s <= 0) continue;
      const bool fits = at.state == LandscapeState::fits;
      const double top = y(at.tokens_per_s);
      page_.body += fmt::format(
          "<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" fill=\"{}\" "
          "stroke=\"{}\"><title>{}</title></rect>\n",
          px(bar_left(strategy, i) + 1), px(top), px(bar_width() - 2), px(bottom_ - top),
          fits ? strategy_color(strategy) : "url(#over)", strategy_color(strategy),
          xml_escaped(cell_tooltip(landscape_, strategy, {i})));
    }
  }

  /// The value of the fastest point that fits; on bars with room, all values.
  void best(std::size_t strategy) {
    std::optional<std::size_t> fastest;
    for (std::size_t i = 0; i < count(); ++i) {
      const LandscapeCell& at = cell(strategy, i);
      if (at.state != LandscapeState::fits) continue;
      if (!fastest || at.tokens_per_s > cell(strategy, *fastest).tokens_per_s) fastest = i;
    }
    constexpr double room = 32;
    for (std::size_t i = 0; i < count(); ++i) {
      const LandscapeCell& at = cell(strategy, i);
      const bool shown = at.tokens_per_s > 0 && !joined_ && bar_width() >= room;
      if (!shown && fastest != i) continue;
      const double middle = joined_ ? x(i) : bar_left(strategy, i) + bar_width() / 2;
      page_.text(middle, y(at.tokens_per_s) + label_shift(strategy, i), fastest == i ? "m" : "k",
                 compact_number(at.tokens_per_s));
    }
    if (joined_) name_line(strategy);
  }

  /// Above the point, or below where another strategy's is closely above.
  double label_shift(std::size_t strategy, std::size_t i) const {
    constexpr double close = 28;
    constexpr double above = -8;
    constexpr double below = 17;
    const double here = y(cell(strategy, i).tokens_per_s);
    for (std::size_t s = 0; joined_ && s < landscape_.strategies.size(); ++s) {
      const double other = y(cell(s, i).tokens_per_s);
      if (s != strategy && other <= here && here - other < close) return below;
    }
    return above;
  }

  /// At the right end of a line, unless another's is there.
  void name_line(std::size_t strategy) {
    constexpr std::size_t longest = 14;
    constexpr double line_height = 12;
    const double at = cell(strategy, count() - 1).tokens_per_s;
    if (at <= 0) return;
    for (std::size_t s = 0; s < strategy; ++s) {
      if (std::abs(y(at) - y(cell(s, count() - 1).tokens_per_s)) < line_height) return;
    }
    page_.body += fmt::format("<text x=\"{}\" y=\"{}\" class=\"b\" style=\"fill:{}\">{}</text>\n",
                              px(x(count() - 1) + 12), px(y(at) + 4), strategy_color(strategy),
                              xml_escaped(shortened(landscape_.strategies[strategy], longest)));
  }

  /// A bar from 1 to the ratio at every value at which both fit.
  void ratios(const RatioScale& scale) {
    constexpr std::size_t longest = 24;
    page_.y += 22;
    page_.text(landscape_margin, page_.y, "g",
               fmt::format("<tspan class=\"b d\">{} ÷ {}</tspan> · tokens/s where both run",
                           xml_escaped(shortened(landscape_.strategies[0], longest)),
                           xml_escaped(shortened(landscape_.strategies[1], longest))));
    page_.y += 22;
    double low = 0;
    double high = 0;
    for (std::size_t i = 0; i < count(); ++i) {
      const double share = scale.share(speed_up(landscape_, {i}).value_or(1));
      low = std::min(low, share);
      high = std::max(high, share);
    }
    const double per_share = ratio_height / (high - low > 0 ? high - low : 1);
    const double base = page_.y + (high - low > 0 ? high * per_share : ratio_height / 2);
    const double width =
        std::min({28.0, nearest_neighbours() - 2, 0.8 * plot_width / static_cast<double>(count())});
    constexpr double least_labelled = 24;
    const bool labelled = nearest_neighbours() >= least_labelled;
    for (std::size_t i = 0; i < count(); ++i) {
      const auto ratio = speed_up(landscape_, {i});
      if (!ratio) continue;
      const double height = scale.share(*ratio) * per_share;
      page_.body += fmt::format(
          "<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" fill=\"{}\"><title>{}</title>"
          "</rect>\n",
          px(x(i) - width / 2), px(height > 0 ? base - height : base), px(std::max(width, 1.0)),
          px(std::max(std::abs(height), 0.5)), strategy_color(height >= 0 ? 0 : 1),
          xml_escaped(speed_up_tooltip(landscape_, {i})));
      if (labelled)
        page_.text(x(i), height >= 0 ? base - height - 4 : base - height + 12, "n d",
                   fmt::format("{:.2f}", *ratio));
    }
    page_.body += fmt::format("<path stroke=\"#57606a\" d=\"M{} {}h{}\"/>\n", px(plot_left),
                              px(base), px(plot_width));
    page_.text(plot_left - 6, base + 4, "e", "1×");
    page_.y += ratio_height + 18;
  }

  double nearest_neighbours() const {
    double out = plot_width;
    for (std::size_t i = 1; i < count(); ++i) out = std::min(out, x(i) - x(i - 1));
    return out;
  }

  const Landscape& landscape_;
  LandscapePage& page_;
  const LandscapeAxis& axis_;
  std::vector<double> positions_;
  bool joined_;      ///< lines over numbers, else bars
  double most_ = 0;  ///< tokens/s of all
  double high_ = 1;  ///< at the top of the plot
  double top_ = 0;
  double bottom_ = 0;
};

}  // namespace

void draw_landscape_chart(const Landscape& landscape, LandscapePage& page) {
  Chart(landscape, page).run();
}

}  // namespace zebroid
