#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "traces/row.hpp"
#include "traces/sample.hpp"

namespace zebroid {

/// A kind of CSV table, known by the names of its columns.
struct TableFormat {
  std::string name;                  ///< "AIConfigurator gemm"
  std::vector<std::string> columns;  ///< all of these
  std::vector<std::string> times;    ///< and at least one of these, with or without a unit
  bool unit_required = false;        ///< of the times
  /// The column that says which device or GPU it was; it may be absent.
  std::string device;
  /// Adds what one row measured, in the order of the columns; of each sample all but its GPU and,
  /// where the row does not say it, its source. What it adds is void when the row is not ok or left
  /// out in the end.
  void (*read)(Row& row, std::vector<Sample>& out) = nullptr;
  /// Columns that mean something; others are complained about. Empty: any others may be there.
  std::vector<std::string> known;
};

std::vector<TableFormat> aiconfigurator_tables();
std::vector<TableFormat> vidur_tables();
TableFormat deepbench_table();
TableFormat sample_table();

/// One row of our own sample format, whatever it is written in.
void read_sample_row(Row& row, std::vector<Sample>& out);

/// "bf16" for "bfloat16" and so on; names that zebroid has no other word for stay.
std::string dtype_name(std::string_view written);

/// Adds what was found in a row to `out`, unless the row is not ok. Sizes that are not above 0 and
/// at most most_size are refused; a sample that does not say where it was read gets the row's
/// place.
void take(std::vector<Sample> found, const std::string& gpu, Row& row, std::vector<Sample>& out);

/// Whether a header line has columns of a table that read_kernel_table knows, be it not all.
bool resembles_table(std::string_view header_line);

}  // namespace zebroid
