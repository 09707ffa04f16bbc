#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/json.hpp"
#include "core/units.hpp"

namespace zebroid {

/// A table of UTF-8 text for a terminal. A column whose cells all begin like numbers is aligned to
/// the right, others to the left.
class Table {
 public:
  explicit Table(std::vector<std::string> header) : header_(std::move(header)) {}

  /// Missing cells are empty; more cells than the header has are our fault: Error(internal).
  void add_row(std::vector<std::string> cells);
  /// Header, then one line per row, without trailing blanks; the header is bold when `color`.
  std::string text(bool color = false) const;

 private:
  std::vector<std::string> header_;
  std::vector<std::vector<std::string>> rows_;
};

/// Columns that a UTF-8 text takes, a code point each; escape sequences that set colours take none.
std::size_t display_width(std::string_view text);

/// The text, or its beginning and "…" when it is wider than `most` columns.
std::string shortened(std::string_view text, std::size_t most);

std::string format_bytes(Bytes bytes);                       ///< "12.8 GiB", "512 B"
std::string format_seconds(Seconds seconds);                 ///< "412.3 ms", "1.234 s", "35.1 µs"
std::string format_percent(double share);                    ///< 0.042 -> "4.2 %"
std::string format_number(double number, int decimals = 0);  ///< "1,234,567"

/// A zebroid.result/1 document (docs/formats/result.md) for a person: a row per strategy, then
/// pools and reasons for each, notes, and a verdict in one sentence. Lines have at most 100
/// columns. Keys that are absent are left out; throws Error(input) when the document is not a list
/// of results.
std::string result_table(const Json& document, bool color);

}  // namespace zebroid
