#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "core/error.hpp"
#include "core/json.hpp"
#include "traces/decimal.hpp"
#include "traces/devices.hpp"
#include "traces/flat_json.hpp"
#include "traces/lines.hpp"
#include "traces/readers.hpp"
#include "traces/tables.hpp"

namespace zebroid {
namespace {

constexpr std::string_view schema = "zebroid.samples/1";
constexpr int microseconds = -6;

constexpr std::array<std::string_view, 4> required_strings = {"gpu", "op", "kernel", "dtype"};
constexpr std::array<std::string_view, 3> optional_strings = {"direction", "source", "date"};
constexpr std::array<std::string_view, 3> numbers = {"time_us", "repeats", "scatter"};

template <class Names>
bool is_one_of(std::string_view name, const Names& names) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

/// The sizes of the op that the line is about; none when it is of no op that we know.
std::vector<std::string_view> axes_in(const FlatObject& object) {
  const FlatMember* const op = object.find("op");
  for (std::size_t i = 0; op != nullptr && i < measured_op_count; ++i) {
    if (name_of(static_cast<MeasuredOp>(i)) == op->text) {
      return axes_of(static_cast<MeasuredOp>(i));
    }
  }
  return {};
}

std::string unknown_key(const std::string& key, const std::vector<std::string_view>& axes) {
  std::vector<std::string> known(axes.begin(), axes.end());
  for (const auto& name : required_strings) known.emplace_back(name);
  for (const auto& name : optional_strings) known.emplace_back(name);
  for (const auto& name : numbers) known.emplace_back(name);
  return unknown_name("key", key, known);
}

/// What is wrong with the keys of a line and the types of their values; "" for nothing.
std::string fault_of(const FlatObject& object) {
  if (!object.fault.empty()) return object.fault;
  for (const std::string_view key : required_strings) {
    if (object.find(key) == nullptr) return fmt::format("expected a key {}, got none", key);
  }
  const auto axes = axes_in(object);
  for (const FlatMember& member : object.members) {
    const bool string =
        is_one_of(member.key, required_strings) || is_one_of(member.key, optional_strings);
    const bool number = is_one_of(member.key, numbers) || is_one_of(member.key, axes);
    // Without an op nothing is known of the sizes, and the op is what gets complained about.
    if (!string && !number && !axes.empty()) return unknown_key(member.key, axes);
    if (string != member.is_string && (string || number)) {
      return fmt::format("{}: {}", member.key,
                         expected(string ? "a string" : "a number", member.text));
    }
  }
  if (object.find("gpu")->text.empty()) return "gpu: expected a name, got ''";
  return "";
}

/// Reads the line of one sample.
void read_line(const FlatObject& object, const LineReader& lines, Complaints& complaints,
               std::pair<GpuNames*, Samples*> to) {
  std::string fault = fault_of(object);
  std::vector<std::string> keys;
  std::vector<std::string> values;
  for (const FlatMember& member : object.members) {
    keys.push_back(member.key);
    values.push_back(member.text);
  }
  const Header header(keys);
  if (fault.empty() && !header.said_twice().empty()) {
    fault = expected(fmt::format("one key {}", header.said_twice()), lines.line());
  }
  if (!fault.empty()) return complaints.add(lines.number(), fault);
  Row row(header, values, lines.number(), complaints);
  std::vector<Sample> found;
  read_sample_row(row, found);
  take(std::move(found), to.first->of(row.text("gpu")), row, to.second->samples);
}

void append(std::string& line, std::string_view key, std::string_view value) {
  line += fmt::format("{}\"{}\":{}", line == "{" ? "" : ",", key, value);
}
std::string in_json(const std::string& text) { return to_text(Json(text)); }

/// "x.csv:12"; a file whose own name ends like that gets a line even if it is not known.
std::string source_of(const Sample& sample) {
  const std::size_t colon = sample.source.rfind(':');
  const bool ends_in_number =
      colon != std::string::npos && colon + 1 < sample.source.size() &&
      sample.source.find_first_not_of("0123456789", colon + 1) == std::string::npos;
  if (sample.line == 0 && !ends_in_number) return sample.source;
  return fmt::format("{}:{}", sample.source, sample.line);
}

std::string line_of(const Sample& sample) {
  std::string out = "{";
  append(out, "gpu", in_json(sample.gpu));
  append(out, "op", in_json(std::string(name_of(sample.op))));
  append(out, "kernel", in_json(sample.kernel));
  append(out, "dtype", in_json(sample.dtype));
  if (sample.backward) append(out, "direction", "\"backward\"");
  std::size_t axis = 0;
  for (const std::string_view name : axes_of(sample.op)) {
    append(out, name, decimal_text(sample.shape.at(axis++)));
  }
  append(out, "time_us", decimal_text(sample.time.value, microseconds));
  if (sample.repeats != 1) append(out, "repeats", fmt::format("{}", sample.repeats));
  if (sample.scatter != 0) append(out, "scatter", decimal_text(sample.scatter));
  if (!sample.source.empty()) append(out, "source", in_json(source_of(sample)));
  if (!sample.date.empty()) append(out, "date", in_json(sample.date));
  return out + "}\n";
}

}  // namespace

Samples read_samples(std::string_view text, const std::string& name) {
  const ReadOptions options;
  Samples out;
  Complaints complaints(name, out.complaints);
  GpuNames gpus(options, complaints, out.notes);
  LineReader lines(text, complaints);
  for (bool begun = false; lines.next(); begun = true) {
    const FlatObject object = parse_flat_json(lines.line());
    const FlatMember* const stated = object.find("schema");
    // Files put together have further lines with the schema.
    if (stated != nullptr && stated->text == schema) continue;
    if (!begun || stated != nullptr) {
      complaints.add(lines.number(),
                     expected(fmt::format("{{\"schema\": \"{}\"}}", schema), lines.line()));
      return out;
    }
    read_line(object, lines, complaints, {&gpus, &out});
  }
  if (lines.number() == 0) complaints.add(0, "expected samples, got no lines");
  return out;
}

std::string to_ndjson(const std::vector<Sample>& samples) {
  std::string out = fmt::format("{{\"schema\":\"{}\"}}\n", schema);
  for (const Sample& sample : samples) out += line_of(sample);
  return out;
}

}  // namespace zebroid
