#pragma once

#include <vector>

#include "report/gantt.hpp"

namespace zebroid {

/// A part of the iteration and where on the page it is drawn.
struct TimeWindow {
  double from_s = 0;
  double to_s = 0;
  double left_px = 0;
  double width_px = 0;

  double seconds() const { return to_s - from_s; }
  double x(double at_s) const { return left_px + (at_s - from_s) / seconds() * width_px; }
};

/// What is drawn as one rectangle: an op, or several too narrow to tell apart.
struct GanttPiece {
  double x = 0;
  double width = 0;
  const GanttOp* op = nullptr;  ///< the longest
  bool alone = true;
  bool mixed = false;  ///< has even and odd microbatches
};

/// The lane's ops in the window, cut to it. Neighbours narrower than `least_px` become one piece,
/// as wide as they are together, so that it shows as much work as there is. The ops outlive the
/// pieces.
std::vector<GanttPiece> pieces_of(const std::vector<GanttOp>& lane, const TimeWindow& window,
                                  double least_px);

/// Share of the window in which the compute lane runs.
double busy_share(const GanttBand& band, const TimeWindow& window);

}  // namespace zebroid
