#pragma once

#include <string>

#include "core/json.hpp"

namespace zebroid {

/// A Gantt picture of a zebroid.timeline/1 document (docs/formats/timeline.md): a band per rank
/// with a lane per stream that it uses, light and dark boxes for microbatches in turn, and, where
/// boxes of the whole iteration are too narrow to read, an enlarged part around the turn from
/// forward to backward. At most 24 ranks are drawn, some of each role, GPU and program, and the
/// picture says so. SVG 1.1 in one piece without scripts; below 2 MB; equal documents give equal
/// bytes. Throws Error(input) when the document is not a timeline.
std::string gantt_svg(const Json& timeline);

}  // namespace zebroid
