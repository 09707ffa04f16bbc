#include "report/gantt_svg.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "report/gantt.hpp"
#include "report/gantt_pieces.hpp"
#include "report/svg.hpp"
#include "report/table.hpp"

namespace zebroid {
namespace {

constexpr double page_width = 1300;
constexpr double plot_left = 236;
constexpr double plot_width = 1000;
constexpr double margin = 16;
constexpr double character_width = 6.1;  ///< of the 11 px text, on average

constexpr std::size_t widest_origin = 100;
constexpr std::size_t most_bands = 24;
constexpr std::size_t most_enlarged_bands = 6;
constexpr double narrow_box = 9;     ///< below, a microbatch number finds no room
constexpr double enlarged_box = 20;  ///< width of a middling box in the enlarged part

constexpr std::string_view style =
    "text{font:11px sans-serif;fill:#24292f}"
    ".t{font-size:17px;font-weight:bold}.g{fill:#57606a}.b{font-weight:bold}"
    ".n{font-size:10px;text-anchor:middle;pointer-events:none}"
    ".k{text-anchor:middle;fill:#57606a}.e{text-anchor:end;fill:#57606a}"
    ".grid{stroke:#d0d7de;stroke-width:.6}.x{stroke:#fff;stroke-width:.6}"
    ".w{fill-opacity:.4}";

std::string milliseconds(double seconds) { return fmt::format("{:.3f} ms", seconds * 1e3); }

TimeWindow plot_window(double from_s, double to_s) {
  return {.from_s = from_s, .to_s = to_s, .left_px = plot_left, .width_px = plot_width};
}

/// Heights by how many bands share the page.
struct BandShape {
  double compute;
  double exchange;
  double gap;
};
BandShape shape_for(std::size_t bands) {
  if (bands <= 6) return {.compute = 26, .exchange = 7, .gap = 10};
  if (bands <= 12) return {.compute = 20, .exchange = 6, .gap = 8};
  return {.compute = 16, .exchange = 5, .gap = 6};
}

/// How much of a panel may be drawn, so that the file stays small.
struct Budget {
  std::size_t pieces;
  std::size_t with_tooltip;
};

struct Panel {
  std::vector<const GanttBand*> bands;
  TimeWindow window;
  std::string heading;
  Budget budget;
};

/// One lane of a band at its place on the page.
struct PlacedLane {
  double y;
  double height;
  const std::vector<GanttOp>* ops;
  std::vector<GanttPiece> pieces;
};

struct BandPlace {
  double y;
  double height;
  double compute_height;
};

/// "rank 3 · A40 · attention", cut to the room left of the plot.
std::string label_of(const GanttBand& band) {
  constexpr std::size_t columns = 34;
  const std::string rank = fmt::format("rank {}", band.rank);
  const std::string role = shortened(band.role, columns / 2);
  const std::size_t taken = display_width(rank) + display_width(role) + 6;
  const std::string gpu = shortened(band.gpu, columns - std::min(taken, columns - 8));
  return fmt::format("<tspan class=\"b\">{}</tspan> · {} · {}", rank, xml_escaped(gpu),
                     xml_escaped(role));
}

std::string_view role_color(const std::string& role) {
  if (role == "attention") return "#3d7fc9";
  if (role == "expert") return "#e07b1f";
  return "#8c959f";
}

std::string tooltip(const GanttOp& op, bool chunked) {
  const GanttLook& look = gantt_looks()[op.look];
  const bool exchange = look.lane != GanttLane::compute;
  std::string out = fmt::format("{}: layer {}, microbatch {}", look.name, op.layer, op.microbatch);
  if (chunked) out += fmt::format(", chunk {}", op.chunk);
  out += fmt::format("\nstart {}, duration {}", milliseconds(op.started_s),
                     milliseconds(op.ended_s - op.started_s));
  if (exchange && op.started_s > op.ready_s)
    out += ", waited " + milliseconds(op.started_s - op.ready_s);
  if (op.sent_bytes > 0) out += "\nsent " + format_bytes({op.sent_bytes});
  if (op.rows > 0) out += fmt::format("\n{} token copies", format_number(op.rows));
  return out;
}

class Picture {
 public:
  explicit Picture(const Gantt& gantt) : gantt_(gantt) {
    end_s_ = std::max(gantt.iteration_s, 1e-9);
    for (const GanttBand& band : gantt.bands) {
      for (const auto& lane : band.lanes) {
        for (const GanttOp& op : lane) end_s_ = std::max(end_s_, op.ended_s);
      }
    }
  }

  std::string run() {
    header();
    legend();
    const std::optional<Panel> part = enlarged();
    constexpr Budget budget = {.pieces = 20000, .with_tooltip = 2500};
    Panel whole{{}, plot_window(0, end_s_), "", budget};
    for (const GanttBand& band : gantt_.bands) whole.bands.push_back(&band);
    if (part) {
      whole.heading = "whole iteration";
      marked_ = part->window;
    }
    draw(whole);
    marked_.reset();
    if (part) {
      y_ += margin;
      draw(*part);
    }
    y_ += 4;
    return page();
  }

 private:
  std::string title() const {
    return fmt::format("One training iteration: {}", format_seconds({gantt_.iteration_s}));
  }

  std::string page() const {
    std::string css(style);
    std::set<std::string_view> done;
    for (const GanttLook& look : gantt_looks()) {
      if (!used_.contains(look.css) || !done.insert(look.css).second) continue;
      for (const std::size_t parity : {0U, 1U}) {
        css += fmt::format(".{0}{1}{{fill:{2}}}.{0}{1}n{{fill:{3}}}", look.css, parity,
                           look.palette.fill.at(parity), look.palette.ink.at(parity));
      }
      css += fmt::format(".{}m{{fill:{}}}", look.css,
                         mixed_color(look.palette.fill[0], look.palette.fill[1]));
    }
    return fmt::format(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" version=\"1.1\" width=\"{0}\" height=\"{1}\" "
        "viewBox=\"0 0 {0} {1}\">\n<title>{2}</title>\n<style>{3}</style>\n"
        "<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n{4}</svg>\n",
        px(page_width), px(y_), title(), css, body_);
  }

  void text(double x, double y, std::string_view css, std::string_view content) {
    body_ +=
        fmt::format("<text x=\"{}\" y=\"{}\" class=\"{}\">{}</text>\n", px(x), px(y), css, content);
  }

  void header() {
    text(margin, 28, "t", title());
    std::string facts = xml_escaped(shortened(gantt_.origin, widest_origin));
    const auto add = [&facts](std::size_t n, std::string_view one, std::string_view plural) {
      facts += fmt::format(" · {} {}{}", n, one, n == 1 ? "" : plural);
    };
    add(gantt_.ranks, "rank", "s");
    add(gantt_.layers, "layer", "s");
    add(gantt_.microbatches, "microbatch", "es");
    if (gantt_.chunks > 1) add(gantt_.chunks, "chunk", "s");
    if (gantt_.microbatches > 1) facts += " · light and dark stripes: microbatches in turn";
    text(margin, 46, "g", facts);
    y_ = 58;
    if (gantt_.bands.size() < gantt_.ranks) {
      text(margin, 62, "g",
           fmt::format("Drawn: {} of {} ranks, some of each role, GPU and program.",
                       gantt_.bands.size(), gantt_.ranks));
      y_ = 74;
    }
  }

  /// Looks that occur, in the order of gantt_looks(), each class once.
  std::vector<const GanttLook*> looks_in_use() {
    for (const GanttBand& band : gantt_.bands) {
      for (const auto& lane : band.lanes) {
        for (const GanttOp& op : lane) used_.insert(gantt_looks()[op.look].css);
      }
    }
    std::vector<const GanttLook*> out;
    for (const GanttLook& look : gantt_looks()) {
      const bool listed = !out.empty() && out.back()->css == look.css;
      if (used_.contains(look.css) && !listed) out.push_back(&look);
    }
    return out;
  }

  void legend() {
    constexpr double swatch = 22;
    constexpr double line = 18;
    double x = margin;
    double y = y_ + 10;
    const auto entry = [&](std::string_view name,
                           const std::function<std::string(double, double)>& picture) {
      const double width =
          swatch + 6 + static_cast<double>(display_width(name)) * character_width + 14;
      if (x + width > page_width - margin) {
        x = margin;
        y += line;
      }
      body_ += picture(x, y - 9);
      text(x + swatch + 6, y, "g", name);
      x += width;
    };
    bool exchanges = false;
    for (const GanttLook* look : looks_in_use()) {
      exchanges = exchanges || look->lane != GanttLane::compute;
      entry(look->name, [look](double left, double top) {
        return fmt::format(
            "<path class=\"{0}0\" d=\"M{1} {2}h11v11h-11z\"/><path class=\"{0}1\" d=\"M{3} "
            "{2}h11v11h-11z\"/>\n",
            look->css, px(left), px(top), px(left + swatch / 2));
      });
    }
    if (exchanges) {
      entry("waits for other ranks", [](double left, double top) {
        return fmt::format("<path fill=\"#57606a\" class=\"w\" d=\"M{} {}h22v2h-22z\"/>\n",
                           px(left), px(top + 4.5));
      });
    }
    y_ = y + 14;
  }

  /// Around the turn from forward to backward, so that boxes are wide enough to read; nothing when
  /// all are anyway.
  std::optional<Panel> enlarged() const {
    std::vector<double> durations;
    std::optional<double> turn;
    for (const GanttBand& band : gantt_.bands) {
      for (const GanttOp& op : band.lanes[0]) {
        durations.push_back(op.ended_s - op.started_s);
        if (gantt_looks()[op.look].css == "h" && (!turn || op.started_s < *turn))
          turn = op.started_s;
      }
    }
    if (durations.empty()) return std::nullopt;
    const auto middle = durations.begin() + static_cast<std::ptrdiff_t>(durations.size() / 2);
    std::nth_element(durations.begin(), middle, durations.end());
    const double length = *middle * plot_width / enlarged_box;
    if (*middle / end_s_ * plot_width >= narrow_box || length > end_s_ / 2) return std::nullopt;
    const double from = std::clamp(turn.value_or(end_s_ / 2) - length / 2, 0.0, end_s_ - length);
    constexpr Budget budget = {.pieces = 3000, .with_tooltip = 700};
    Panel out{{}, plot_window(from, from + length), "", budget};
    for (const std::size_t b : choose_bands(gantt_.bands, most_enlarged_bands, 2)) {
      out.bands.push_back(&gantt_.bands[b]);
    }
    out.heading =
        fmt::format("enlarged: {} to {}", format_seconds({from}), format_seconds({from + length}));
    return out;
  }

  void draw(const Panel& panel) {
    if (!panel.heading.empty()) {
      y_ += 14;
      text(margin, y_, "b", panel.heading);
    }
    y_ += 22;
    text(page_width - margin, y_ - 6, "e", "busy");
    const double top = y_;
    const BandShape shape = shape_for(panel.bands.size());
    std::vector<PlacedLane> lanes;
    std::vector<double> band_tops;
    for (const GanttBand* band : panel.bands) {
      band_tops.push_back(y_);
      place(*band, shape, lanes);
    }
    band_tops.push_back(y_);
    grid(panel.window, top, y_ - shape.gap / 2);
    for (std::size_t b = 0; b < panel.bands.size(); ++b) {
      const double height = band_tops[b + 1] - band_tops[b] - shape.gap;
      margins(*panel.bands[b], panel.window, {band_tops[b], height, shape.compute});
    }
    fill(panel, lanes);
    if (marked_) {
      body_ += fmt::format(
          "<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" fill=\"#ffd33d\" "
          "fill-opacity=\".1\" stroke=\"#bf8700\"/>\n",
          px(marked_->from_s / end_s_ * plot_width + plot_left), px(top - 3),
          px((marked_->to_s - marked_->from_s) / end_s_ * plot_width),
          px(y_ - shape.gap / 2 - top + 3));
    }
    y_ += 14;
  }

  /// Reserves room for a band's lanes.
  void place(const GanttBand& band, const BandShape& shape, std::vector<PlacedLane>& lanes) {
    body_ += fmt::format("<path fill=\"#f3f4f6\" d=\"M{} {}h{}v{}h-{}z\"/>\n", px(plot_left),
                         px(y_), px(plot_width), px(shape.compute), px(plot_width));
    for (std::size_t k = 0; k < gantt_lane_count; ++k) {
      const bool computes = k == 0;
      if (!computes && band.lanes.at(k).empty()) continue;
      const double height = computes ? shape.compute : shape.exchange;
      lanes.push_back({y_, height, &band.lanes.at(k), {}});
      y_ += height + 1;
    }
    y_ += shape.gap;
  }

  /// What stands left and right of a band.
  void margins(const GanttBand& band, const TimeWindow& window, const BandPlace& place) {
    body_ += fmt::format("<path fill=\"{}\" d=\"M{} {}h4v{}h-4z\"/>\n", role_color(band.role),
                         px(margin), px(place.y), px(place.height));
    const double baseline = place.y + place.compute_height / 2 + 4;
    text(margin + 10, baseline, "", label_of(band));
    text(page_width - margin, baseline, "e",
         fmt::format("{:.0f} %", busy_share(band, window) * 100));
  }

  void grid(const TimeWindow& shown, double top, double bottom) {
    constexpr double steps = 8;
    const double step = nice_step(shown.seconds(), steps);
    const int decimals = std::max(0, static_cast<int>(-std::floor(std::log10(step * 1e3) + 1e-9)));
    std::string path;
    for (double k = std::ceil(shown.from_s / step); k * step <= shown.to_s; ++k) {
      const double x = shown.x(k * step);
      path += fmt::format("M{} {}V{}", px(x), px(top - 2), px(bottom));
      const bool first = path.find('M', 1) == std::string::npos;
      text(x, bottom + 13, "k", format_number(k * step * 1e3, decimals) + (first ? " ms" : ""));
    }
    body_ += fmt::format("<path class=\"grid\" d=\"{}\"/>\n", path);
  }

  /// The number of pieces.
  static std::size_t merge(const TimeWindow& window, double least, std::vector<PlacedLane>& lanes) {
    std::size_t pieces = 0;
    for (PlacedLane& lane : lanes) {
      lane.pieces = pieces_of(*lane.ops, window, least);
      pieces += lane.pieces.size();
    }
    return pieces;
  }

  void fill(const Panel& panel, std::vector<PlacedLane>& lanes) {
    constexpr double coarser = 1.5;
    double least = 0.5;  // px
    while (merge(panel.window, least, lanes) > panel.budget.pieces) least *= coarser;
    const double with_tooltip = least_with_tooltip(lanes, panel.budget.with_tooltip);
    std::map<std::string, std::string> narrow;  // class -> path
    std::string wide;
    for (const PlacedLane& lane : lanes) {
      waits(panel.window, lane, least, narrow);
      for (const GanttPiece& piece : lane.pieces) {
        if (piece.alone && piece.width >= with_tooltip) {
          wide += box(lane, piece);
        } else {
          narrow[piece.mixed ? mixed_css_of(*piece.op) : css_of(*piece.op)] +=
              rectangle_path(piece.x, lane.y, piece.width, lane.height);
        }
      }
    }
    for (const auto& [css, path] : narrow)
      body_ += fmt::format("<path class=\"{}\" d=\"{}\"/>\n", css, path);
    body_ += wide;
  }

  static std::string css_of(const GanttOp& op) {
    return fmt::format("{}{}", gantt_looks()[op.look].css, op.microbatch % 2);
  }

  static std::string mixed_css_of(const GanttOp& op) {
    return fmt::format("{}m", gantt_looks()[op.look].css);
  }

  /// Width of the narrowest box with a tooltip: at least what a mouse can hit.
  static double least_with_tooltip(const std::vector<PlacedLane>& lanes, std::size_t most) {
    constexpr double can_be_hit = 2;
    std::vector<double> widths;
    for (const PlacedLane& lane : lanes) {
      for (const GanttPiece& piece : lane.pieces) {
        if (piece.alone && piece.width >= can_be_hit) widths.push_back(piece.width);
      }
    }
    if (widths.size() <= most) return can_be_hit;
    const auto last = widths.begin() + static_cast<std::ptrdiff_t>(most);
    std::nth_element(widths.begin(), last, widths.end(), std::greater<>());
    return std::floor(*last) + 1;  // a round limit treats ranks that are nearly alike alike
  }

  /// From launch to start of each exchange: a thin line that leads to its box.
  static void waits(const TimeWindow& window, const PlacedLane& lane, double least,
                    std::map<std::string, std::string>& narrow) {
    constexpr double thickness = 2;
    for (const GanttOp& op : *lane.ops) {
      const double begin = window.x(std::max(op.ready_s, window.from_s));
      const double width = window.x(std::min(op.started_s, window.to_s)) - begin;
      if (width < least) continue;
      narrow[css_of(op) + " w"] +=
          rectangle_path(begin, lane.y + (lane.height - thickness) / 2, width, thickness);
    }
  }

  std::string box(const PlacedLane& lane, const GanttPiece& piece) const {
    std::string out = fmt::format(
        "<rect class=\"x {}\" x=\"{}\" y=\"{}\" width=\"{}\" "
        "height=\"{}\"><title>{}</title></rect>\n",
        css_of(*piece.op), px(piece.x), px(lane.y), px(piece.width), px(lane.height),
        xml_escaped(tooltip(*piece.op, gantt_.chunks > 1)));
    const GanttLook& look = gantt_looks()[piece.op->look];
    const std::string number = std::to_string(piece.op->microbatch);
    const double needed = narrow_box + 6.0 * static_cast<double>(number.size() - 1);
    constexpr double least_height = 12;
    if (lane.height < least_height || piece.width < needed || look.css == "u") return out;
    return out + fmt::format("<text x=\"{}\" y=\"{}\" class=\"n {}n\">{}</text>\n",
                             px(piece.x + piece.width / 2), px(lane.y + lane.height / 2 + 3.5),
                             css_of(*piece.op), number);
  }

  const Gantt& gantt_;
  double end_s_ = 0;
  std::set<std::string_view> used_;
  std::optional<TimeWindow> marked_;  ///< where the enlarged part lies in the whole
  double y_ = 0;
  std::string body_;
};

}  // namespace

std::string gantt_svg(const Json& timeline) {
  const Gantt gantt = read_gantt(timeline, most_bands);
  return Picture(gantt).run();
}

}  // namespace zebroid
