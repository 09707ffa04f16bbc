#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/json.hpp"

namespace zebroid {

/// What a band of a Gantt picture has from top to bottom: one lane per stream.
enum class GanttLane : std::uint8_t { compute, dispatch, combine, stage_up, stage_down, sync };
inline constexpr std::size_t gantt_lane_count = 6;

/// Colours of even and odd microbatches, which make the stripes.
struct GanttPalette {
  std::array<std::string_view, 2> fill;
  std::array<std::string_view, 2> ink;  ///< readable on `fill`
};

/// Ops that are drawn alike.
struct GanttLook {
  std::string_view work;
  std::string_view pass;  ///< "" = any
  GanttLane lane;
  std::string_view css;   ///< prefix of its CSS classes
  std::string_view name;  ///< in the legend and in tooltips
  GanttPalette palette;
};
std::span<const GanttLook> gantt_looks();

/// An op that takes time. Seconds from the start of the iteration.
struct GanttOp {
  std::size_t look = 0;  ///< index into gantt_looks()
  unsigned layer = 0;
  unsigned microbatch = 0;
  unsigned chunk = 0;
  double ready_s = 0;
  double started_s = 0;
  double ended_s = 0;
  double sent_bytes = 0;
  double rows = 0;
};

/// One rank.
struct GanttBand {
  std::size_t rank = 0;
  std::string gpu;
  std::string role;
  std::size_t program = 0;
  double busy_s = 0;                                         ///< of the compute lane
  std::array<std::vector<GanttOp>, gantt_lane_count> lanes;  ///< in order of start
};

struct Gantt {
  std::string origin;
  double iteration_s = 0;
  std::size_t ranks = 0;  ///< of the timeline; bands may be fewer
  unsigned layers = 0;
  unsigned microbatches = 0;
  unsigned chunks = 0;
  std::vector<GanttBand>
      bands;  ///< grouped by role, attention first; ascending ranks within a role
};

/// Reads a zebroid.timeline/1 document. With more than `most` ranks only some become bands: see
/// choose_bands. Throws Error(input) when the document is not one.
Gantt read_gantt(const Json& timeline, std::size_t most);

/// Up to `most` of `bands` in their order, at most `each` per class (role, GPU, program): first one
/// of every class, spread over role and GPU when there are too many classes, then second ones, and
/// so on. Returns indices, ascending.
std::vector<std::size_t> choose_bands(const std::vector<GanttBand>& bands, std::size_t most,
                                      std::size_t each);

}  // namespace zebroid
