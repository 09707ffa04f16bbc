#include "schedule/schedule.hpp"

#include <fmt/format.h>

#include <array>

namespace zebroid {

Stream stream_of(const Op& op) {
  switch (op.work) {
    case Work::attention:
    case Work::expert:
    case Work::head:
    case Work::step:
      return Stream::compute;
    case Work::dispatch:
      return Stream::dispatch;
    case Work::combine:
      return Stream::combine;
    case Work::stage:
      return op.pass == Pass::backward ? Stream::stage_down : Stream::stage_up;
    case Work::reduce_shared:
    case Work::reduce_experts:
    case Work::reduce_norm:
    case Work::gather:
      return Stream::sync;
  }
  return Stream::compute;
}

std::string_view name_of(Work work) {
  constexpr std::array<std::string_view, 11> names = {
      "attention", "expert",        "head",           "step",        "dispatch", "combine",
      "stage",     "reduce_shared", "reduce_experts", "reduce_norm", "gather"};
  return names.at(static_cast<std::size_t>(work));
}

std::string_view name_of(Pass pass) {
  constexpr std::array<std::string_view, 3> names = {"forward", "recompute", "backward"};
  return names.at(static_cast<std::size_t>(pass));
}

std::string_view name_of(Stream stream) {
  constexpr std::array<std::string_view, stream_count> names = {"compute",  "dispatch",   "combine",
                                                                "stage_up", "stage_down", "sync"};
  return names.at(static_cast<std::size_t>(stream));
}

std::string name_of(const Op& op) {
  constexpr std::array<std::string_view, 3> marks = {"", "*", "'"};
  const std::string_view mark = marks.at(static_cast<std::size_t>(op.pass));
  const std::string chunk = op.chunk == 0 ? "" : fmt::format(".{}", op.chunk);
  return fmt::format("{}{} {}.{}{}", name_of(op.work), mark, op.layer, op.microbatch, chunk);
}

}  // namespace zebroid
