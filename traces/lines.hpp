#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "traces/complaints.hpp"

namespace zebroid {

/// What an untrusted text of lines may contain.
inline constexpr std::size_t most_lines = 2'000'000;
inline constexpr std::size_t most_line_bytes = std::size_t{64} << 10U;

/// Without blanks around it.
std::string_view trimmed(std::string_view text);

/// Walks the lines of a text, whatever ends them (LF, CR LF) and whether a byte order mark begins
/// it. Blank lines are passed over; so are lines that are too long, with a complaint, and what
/// comes after most_lines.
class LineReader {
 public:
  /// Text and complaints outlive it.
  LineReader(std::string_view text, Complaints& complaints);
  bool next();  ///< goes on to the next line; false at the end
  std::string_view line() const { return line_; }
  std::size_t number() const { return number_; }  ///< counted from 1

 private:
  std::string_view rest_;
  Complaints& complaints_;
  std::string_view line_;
  std::size_t number_ = 0;
};

/// Walks the lines of a CSV text, split at commas. Fields may be quoted, with "" for a quote, but
/// end on their line. Lines that begin with # and lines of empty fields are passed over; so are
/// badly quoted ones, with a complaint.
class CsvReader {
 public:
  CsvReader(std::string_view text, Complaints& complaints);
  bool next();
  const std::vector<std::string>& fields() const { return fields_; }  ///< trimmed
  std::string_view line() const { return lines_.line(); }
  std::size_t number() const { return lines_.number(); }

 private:
  LineReader lines_;
  Complaints& complaints_;
  std::vector<std::string> fields_;
};

}  // namespace zebroid
