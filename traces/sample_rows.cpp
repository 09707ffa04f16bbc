#include <fmt/format.h>

#include <charconv>
#include <limits>
#include <optional>
#include <utility>

#include "core/error.hpp"
#include "traces/tables.hpp"

namespace zebroid {
namespace {

std::optional<MeasuredOp> read_op(Row& row) {
  const std::string_view written = row.text("op");
  std::vector<std::string> names;
  for (std::size_t i = 0; i < measured_op_count; ++i) {
    const auto op = static_cast<MeasuredOp>(i);
    if (name_of(op) == written) return op;
    names.emplace_back(name_of(op));
  }
  row.refuse(unknown_name("op", written, names));
  return std::nullopt;
}

bool read_backward(Row& row) {
  const std::string_view direction = row.text("direction");
  if (!direction.empty() && direction != "forward" && direction != "backward") {
    row.refuse("direction: " + expected("forward or backward", direction));
  }
  return direction == "backward";
}

/// "x.csv:12" is line 12 of x.csv; anything else is a file without a line.
void read_source(Row& row, Sample& sample) {
  const std::string_view source = row.text("source");
  sample.source = source;
  if (row.has("line")) {
    sample.line = static_cast<std::size_t>(row.whole("line"));
    return;
  }
  const std::size_t colon = source.rfind(':');
  if (colon == std::string_view::npos) return;
  const char* const end = source.data() + source.size();
  std::size_t line = 0;
  const auto [at, failure] = std::from_chars(source.data() + colon + 1, end, line);
  if (at != end || failure != std::errc() || colon + 1 == source.size()) return;
  sample.source = source.substr(0, colon);
  sample.line = line;
}

}  // namespace

void read_sample_row(Row& row, std::vector<Sample>& out) {
  constexpr int seconds = 0;  // never used: times must state their unit
  const auto op = read_op(row);
  if (!op) return;
  Sample sample;
  sample.op = *op;
  sample.kernel = row.text("kernel");
  sample.dtype = dtype_name(row.text("dtype"));
  sample.backward = read_backward(row);
  std::size_t axis = 0;
  for (const std::string_view name : axes_of(*op)) sample.shape.at(axis++) = row.size(name);
  sample.time = row.time("time", seconds);
  if (row.has("repeats")) {
    constexpr double most = std::numeric_limits<std::uint32_t>::max();
    sample.repeats = static_cast<std::uint32_t>(row.whole("repeats", most));
  }
  if (row.has("scatter")) sample.scatter = row.at_least_0("scatter");
  sample.date = row.text("date");
  if (row.has("source")) read_source(row, sample);
  out.push_back(std::move(sample));
}

TableFormat sample_table() {
  TableFormat out = {.name = "zebroid samples",
                     .columns = {"op", "kernel", "dtype"},
                     .times = {"time"},
                     .unit_required = true,
                     .device = "gpu",
                     .read = read_sample_row,
                     .known = {"gpu", "op", "kernel", "dtype", "direction", "repeats", "scatter",
                               "date", "source", "line"}};
  for (std::size_t i = 0; i < measured_op_count; ++i) {
    for (const std::string_view axis : axes_of(static_cast<MeasuredOp>(i))) {
      out.known.emplace_back(axis);
    }
  }
  return out;
}

}  // namespace zebroid
