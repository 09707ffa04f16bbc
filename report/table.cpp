#include "report/table.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "core/error.hpp"

namespace zebroid {
namespace {

constexpr std::string_view gap = "  ";
constexpr std::string_view none = "-";  ///< a cell without a value

/// Without the colour that it may begin with.
std::string_view without_color(std::string_view text) {
  if (!text.starts_with("\x1b[")) return text;
  const std::size_t end = text.find('m');
  return end == std::string_view::npos ? text : text.substr(end + 1);
}

bool looks_like_number(std::string_view cell) {
  const std::string_view text = without_color(cell);
  if (text.empty() || text == none) return true;
  const std::size_t digit = text.find_first_not_of("+-");
  return digit != std::string_view::npos && digit <= 1 && text[digit] >= '0' && text[digit] <= '9';
}

std::string trimmed_right(std::string line) {
  line.erase(line.find_last_not_of(' ') + 1);
  return line;
}

/// Not a continuation byte of UTF-8.
bool begins_character(char byte) {
  constexpr unsigned mask = 0xC0;
  constexpr unsigned continuation = 0x80;
  return (static_cast<unsigned char>(byte) & mask) != continuation;
}

std::string with_unit(double value, std::string_view unit) {
  constexpr double rounds_to_zero = 0.05;
  return fmt::format("{:.1f} {}", std::abs(value) < rounds_to_zero ? 0.0 : value, unit);
}

}  // namespace

void Table::add_row(std::vector<std::string> cells) {
  ensure(cells.size() <= header_.size(), "a table row has no more cells than the header");
  cells.resize(header_.size());
  rows_.push_back(std::move(cells));
}

std::string Table::text(bool color) const {
  std::vector<std::size_t> widths;
  std::vector<bool> to_right;
  for (std::size_t c = 0; c < header_.size(); ++c) {
    std::size_t width = display_width(header_[c]);
    bool numbers = !rows_.empty();
    for (const auto& row : rows_) {
      width = std::max(width, display_width(row[c]));
      numbers = numbers && looks_like_number(row[c]);
    }
    widths.push_back(width);
    to_right.push_back(numbers);
  }
  const auto line = [&](const std::vector<std::string>& cells) {
    std::string out;
    for (std::size_t c = 0; c < cells.size(); ++c) {
      const std::string padding(widths[c] - display_width(cells[c]), ' ');
      if (c > 0) out += gap;
      out += to_right[c] ? padding + cells[c] : cells[c] + padding;
    }
    return trimmed_right(std::move(out));
  };
  std::string out = color ? "\x1b[1m" + line(header_) + "\x1b[0m\n" : line(header_) + "\n";
  for (const auto& row : rows_) out += line(row) + "\n";
  return out;
}

std::size_t display_width(std::string_view text) {
  std::size_t width = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const std::size_t end = text.substr(i).starts_with("\x1b[") ? text.find('m', i) : i;
    if (end != i && end != std::string_view::npos) {
      i = end;
    } else if (begins_character(text[i])) {
      ++width;
    }
  }
  return width;
}

std::string shortened(std::string_view text, std::size_t most) {
  if (display_width(text) <= most) return std::string(text);
  std::size_t characters = 0;
  std::size_t end = 0;
  while (end < text.size()) {
    if (begins_character(text[end]) && ++characters >= most) break;
    ++end;
  }
  return std::string(text.substr(0, end)) + "…";
}

std::string format_bytes(Bytes bytes) {
  constexpr std::array<std::string_view, 6> units = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
  constexpr double step = 1024;
  constexpr double rounds_up = 1023.95;
  double value = bytes.value;
  std::size_t unit = 0;
  while (std::abs(value) >= rounds_up && unit + 1 < units.size()) {
    value /= step;
    ++unit;
  }
  return unit == 0 ? fmt::format("{:.0f} B", value) : with_unit(value, units.at(unit));
}

std::string format_seconds(Seconds seconds) {
  constexpr double rounds_up = 999.95;
  const double ms = seconds.value * 1e3;
  if (ms == 0) return "0 s";
  if (std::abs(ms) >= rounds_up) return fmt::format("{:.3f} s", seconds.value);
  if (std::abs(ms) * 1e3 >= rounds_up) return with_unit(ms, "ms");
  return with_unit(ms * 1e3, "µs");
}

std::string format_percent(double share) { return with_unit(share * 100, "%"); }

std::string format_number(double number, int decimals) {
  std::string out = fmt::format("{:.{}f}", number, decimals);
  std::size_t end = std::min(out.find('.'), out.size());
  const std::size_t begin = out.starts_with('-') ? 1 : 0;
  constexpr std::size_t group = 3;
  while (end > begin + group) {
    end -= group;
    out.insert(end, ",");
  }
  return out;
}

}  // namespace zebroid
