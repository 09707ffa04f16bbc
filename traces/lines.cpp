#include "traces/lines.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace zebroid {
namespace {

constexpr std::string_view blanks = " \t\r";

/// Takes a quoted field, without its quotes, from the front of `rest`; what is wrong with it, or
/// "".
std::string take_quoted(std::string_view& rest, std::string& field) {
  const std::string_view all = rest;
  rest.remove_prefix(1);
  for (;;) {
    const std::size_t quote = rest.find('"');
    if (quote == std::string_view::npos) return expected("a closing quote", all);
    field += rest.substr(0, quote);
    rest.remove_prefix(quote + 1);
    if (!rest.starts_with('"')) break;
    field += '"';
    rest.remove_prefix(1);
  }
  rest = trimmed(rest);
  if (rest.empty() || rest.front() == ',') return "";
  return expected("a comma after a quoted field", rest);
}

/// Splits a line at commas; what is wrong with it, or "".
std::string split(std::string_view rest, std::vector<std::string>& fields) {
  fields.clear();
  for (;;) {
    rest = trimmed(rest);
    std::string field;
    if (rest.starts_with('"')) {
      std::string fault = take_quoted(rest, field);
      if (!fault.empty()) return fault;
    } else {
      const std::size_t comma = std::min(rest.find(','), rest.size());
      field = trimmed(rest.substr(0, comma));
      rest.remove_prefix(comma);
    }
    fields.push_back(std::move(field));
    if (rest.empty()) return "";
    rest.remove_prefix(1);
  }
}

}  // namespace

std::string_view trimmed(std::string_view text) {
  const std::size_t first = text.find_first_not_of(blanks);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(blanks) - first + 1);
}

LineReader::LineReader(std::string_view text, Complaints& complaints)
    : rest_(text), complaints_(complaints) {
  constexpr std::string_view mark = "\xEF\xBB\xBF";
  if (rest_.starts_with(mark)) rest_.remove_prefix(mark.size());
}

bool LineReader::next() {
  while (!rest_.empty()) {
    const std::size_t end = std::min(rest_.find('\n'), rest_.size());
    line_ = rest_.substr(0, end);
    rest_.remove_prefix(std::min(end + 1, rest_.size()));
    if (++number_ > most_lines) {
      complaints_.add(number_, fmt::format("expected at most {} lines, got more", most_lines));
      rest_ = {};
      return false;
    }
    if (line_.ends_with('\r')) line_.remove_suffix(1);
    if (line_.size() > most_line_bytes) {
      complaints_.add(number_, fmt::format("expected a line of at most {} bytes, got {}",
                                           most_line_bytes, line_.size()));
      continue;
    }
    if (!trimmed(line_).empty()) return true;
  }
  return false;
}

CsvReader::CsvReader(std::string_view text, Complaints& complaints)
    : lines_(text, complaints), complaints_(complaints) {}

bool CsvReader::next() {
  while (lines_.next()) {
    if (trimmed(lines_.line()).front() == '#') continue;
    const std::string fault = split(lines_.line(), fields_);
    if (!fault.empty()) {
      complaints_.add(lines_.number(), fault);
      continue;
    }
    const bool blank = std::all_of(fields_.begin(), fields_.end(),
                                   [](const std::string& field) { return field.empty(); });
    if (!blank) return true;
  }
  return false;
}

}  // namespace zebroid
