#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <utility>

#include "core/json.hpp"
#include "traces/devices.hpp"
#include "traces/lines.hpp"
#include "traces/readers.hpp"
#include "traces/tables.hpp"

namespace zebroid {
namespace {

const std::vector<TableFormat>& all_formats() {
  static const std::vector<TableFormat> formats = [] {
    std::vector<TableFormat> out = aiconfigurator_tables();
    for (TableFormat& format : vidur_tables()) out.push_back(std::move(format));
    out.push_back(deepbench_table());
    out.push_back(sample_table());
    return out;
  }();
  return formats;
}

bool has_time(const TableFormat& format, const Header& header) {
  return std::any_of(format.times.begin(), format.times.end(), [&](const std::string& base) {
    const auto column = header.time(base);
    return column && (column->exponent || !format.unit_required);
  });
}

std::vector<std::string> lacking(const TableFormat& format, const Header& header) {
  std::vector<std::string> out;
  for (const std::string& column : format.columns) {
    if (!header.find(column)) out.push_back(column);
  }
  if (!has_time(format, header)) {
    out.push_back(format.times.front() + (format.unit_required ? "_us" : ""));
  }
  return out;
}

std::size_t shared_columns(const TableFormat& format, const Header& header) {
  return format.columns.size() + 1 - lacking(format, header).size();
}

/// The format that most of the columns speak for, the first of several.
const TableFormat& nearest_format(const Header& header) {
  return *std::max_element(all_formats().begin(), all_formats().end(),
                           [&](const TableFormat& a, const TableFormat& b) {
                             return shared_columns(a, header) < shared_columns(b, header);
                           });
}

constexpr std::size_t telling = 3;  // columns; a stray "m" or "time" is not enough

std::string not_a_table(const Header& header) {
  const std::string written = fmt::format("{}", fmt::join(header.names(), ","));
  const TableFormat& nearest = nearest_format(header);
  if (shared_columns(nearest, header) >= telling) {
    return expected(fmt::format("also the columns {} of the table {}",
                                fmt::join(lacking(nearest, header), ", "), nearest.name),
                    written);
  }
  std::vector<std::string> names;
  for (const TableFormat& format : all_formats()) names.push_back(format.name);
  return expected(
      fmt::format("the columns of a table that zebroid reads ({})", fmt::join(names, ", ")),
      written);
}

const TableFormat* format_of(const Header& header) {
  const auto found =
      std::find_if(all_formats().begin(), all_formats().end(),
                   [&](const TableFormat& format) { return lacking(format, header).empty(); });
  return found == all_formats().end() ? nullptr : &*found;
}

/// Trailing commas make fields without a name and without content.
bool fit_to(std::size_t columns, std::vector<std::string>& fields) {
  while (fields.size() > columns && fields.back().empty()) fields.pop_back();
  return fields.size() == columns;
}

void drop_unnamed_end(std::vector<std::string>& names) {
  while (!names.empty() && names.back().empty()) names.pop_back();
}

/// Reads the rows of one table.
class Table {
 public:
  Table(const TableFormat& format, const Header& header, GpuNames& gpus, Complaints& complaints)
      : format_(format), header_(header), gpus_(gpus), complaints_(complaints) {}

  void read(std::vector<std::string> fields, std::size_t line, std::vector<Sample>& out) {
    if (!fit_to(header_.size(), fields)) {
      complaints_.add(line, expected(fmt::format("{} fields", header_.size()),
                                     fmt::format("{}", fields.size())));
      return;
    }
    Row row(header_, fields, line, complaints_);
    std::vector<Sample> found;
    format_.read(row, found);
    if (!row.ok()) return;
    if (!row.left_out().empty()) {
      ++left_out_[std::string(row.left_out())];
      return;
    }
    const std::string& gpu = gpus_.of(row.text(format_.device));
    if (!gpu.empty()) take(std::move(found), gpu, row, out);
  }

  void note(std::vector<std::string>& notes) const {
    for (const auto& [reason, count] : left_out_) {
      notes.push_back(fmt::format("{}: {} row{} left out: {}", complaints_.name(), count,
                                  count == 1 ? "" : "s", reason));
    }
  }

 private:
  const TableFormat& format_;
  const Header& header_;
  GpuNames& gpus_;
  Complaints& complaints_;
  std::map<std::string, std::size_t> left_out_;
};

void complain_about_unknown(const TableFormat& format, const Header& header, std::size_t line,
                            Complaints& complaints) {
  if (format.known.empty()) return;
  for (const std::string& name : header.names()) {
    const bool known =
        name.empty() ||
        std::find(format.known.begin(), format.known.end(), name) != format.known.end() ||
        std::any_of(format.times.begin(), format.times.end(), [&](const std::string& base) {
          const auto column = header.time(base);
          return column && header.names()[column->position] == name;
        });
    if (!known) {
      complaints.add(line, expected("a column of " + format.name, name));
    }
  }
}

void refuse_sizes(const Sample& sample, Row& row) {
  const auto& axes = axes_of(sample.op);
  for (std::size_t i = 0; i < axes.size(); ++i) {
    const double size = sample.shape.at(i);
    if (size > 0 && size <= most_size) continue;
    row.refuse(fmt::format("{}: {}", axes[i],
                           expected("a size above 0 and up to 1e12", fmt::format("{:g}", size))));
  }
}

}  // namespace

Samples read_kernel_table(std::string_view text, const std::string& name,
                          const ReadOptions& options) {
  Samples out;
  Complaints complaints(name, out.complaints);
  CsvReader csv(text, complaints);
  if (!csv.next()) {
    complaints.add(0, "expected a table, got no lines");
    return out;
  }
  std::vector<std::string> names = csv.fields();
  drop_unnamed_end(names);
  const Header header(names);
  const TableFormat* const format = format_of(header);
  if (!header.said_twice().empty()) {
    complaints.add(csv.number(),
                   expected(fmt::format("one column for {}", header.said_twice()), csv.line()));
    return out;
  }
  if (format == nullptr) {
    complaints.add(csv.number(), not_a_table(header));
    return out;
  }
  complain_about_unknown(*format, header, csv.number(), complaints);
  GpuNames gpus(options, complaints, out.notes);
  Table table(*format, header, gpus, complaints);
  while (csv.next()) table.read(csv.fields(), csv.number(), out.samples);
  table.note(out.notes);
  return out;
}

bool resembles_table(std::string_view header_line) {
  std::vector<std::string> ignored;
  Complaints complaints("", ignored);
  CsvReader csv(header_line, complaints);
  if (!csv.next()) return false;
  const Header header(csv.fields());
  return shared_columns(nearest_format(header), header) >= telling;
}

void take(std::vector<Sample> found, const std::string& gpu, Row& row, std::vector<Sample>& out) {
  for (const Sample& sample : found) refuse_sizes(sample, row);
  if (!row.ok()) return;
  for (Sample& sample : found) {
    sample.gpu = gpu;
    if (sample.source.empty()) {
      sample.source = row.file();
      sample.line = row.line();
    }
    out.push_back(std::move(sample));
  }
}

std::string dtype_name(std::string_view written) {
  static const std::map<std::string, std::string, std::less<>> names = {
      {"bfloat16", "bf16"}, {"half", "fp16"},   {"float16", "fp16"}, {"float", "fp32"},
      {"float32", "fp32"},  {"double", "fp64"}, {"float64", "fp64"}};
  const auto found = names.find(written);
  return found == names.end() ? std::string(written) : found->second;
}

}  // namespace zebroid
