#include "report/result_pieces.hpp"

#include <fmt/format.h>

#include "report/table.hpp"

namespace zebroid {
namespace {

std::string_view code(Tone tone) {
  switch (tone) {
    case Tone::bold:
      return "\x1b[1m";
    case Tone::good:
      return "\x1b[32m";
    case Tone::bad:
      return "\x1b[31m";
    case Tone::dim:
      return "\x1b[2m";
  }
  return "";
}

/// The number as `format` shows it, or "-".
template <class Format>
std::string cell(std::optional<double> value, const Format& format) {
  return value ? format(*value) : "-";
}

}  // namespace

std::string Painter::operator()(Tone tone, const std::string& text) const {
  if (!color_) return text;
  constexpr std::string_view reset = "\x1b[0m";
  return fmt::format("{}{}{}", code(tone), text, reset);
}

const Json& json_at(const Json& value, std::initializer_list<const char*> path) {
  static const Json null;
  const Json* found = &value;
  for (const char* key : path) {
    if (!found->is_object() || !found->contains(key)) return null;
    found = &found->at(key);
  }
  return *found;
}

std::optional<double> number_at(const Json& value, std::initializer_list<const char*> path) {
  const Json& found = json_at(value, path);
  if (!found.is_number()) return std::nullopt;
  return found.get<double>();
}

std::string text_at(const Json& value, std::initializer_list<const char*> path) {
  const Json& found = json_at(value, path);
  return found.is_string() ? found.get<std::string>() : "";
}

std::string count_cell(std::optional<double> value) {
  return cell(value, [](double n) { return format_number(n); });
}
std::string seconds_cell(std::optional<double> value) {
  return cell(value, [](double s) { return format_seconds({s}); });
}
std::string percent_cell(std::optional<double> value) { return cell(value, format_percent); }
std::string ratio_cell(std::optional<double> value) {
  return cell(value, [](double r) { return fmt::format("{:.2f}x", r); });
}

std::string memory_cell(std::optional<double> peak, std::optional<double> capacity) {
  if (!peak) return "-";
  std::string used = format_bytes({*peak});
  if (!capacity) return used;
  const std::string all = format_bytes({*capacity});
  const std::string unit = all.substr(all.find(' '));
  if (used.ends_with(unit)) used.resize(used.size() - unit.size());
  return fmt::format("{} of {}", used, all);
}

std::string counted(double n, std::string_view one, std::string_view plural) {
  return fmt::format("{} {}{}", format_number(n), one, n == 1 ? "" : plural);
}

std::string wrapped(std::string_view words, std::string_view indent) {
  std::string out;
  std::size_t width = 0;
  while (!words.empty()) {
    const std::size_t begin = words.find_first_not_of(' ');
    if (begin == std::string_view::npos) break;
    const std::size_t end = std::min(words.find(' ', begin), words.size());
    // Blanks before a word are kept, so that the first line may be indented.
    const std::string_view word = words.substr(0, end);
    if (width > 0 && width + display_width(word) > text_columns) {
      out += fmt::format("\n{}", indent);
      out += words.substr(begin, end - begin);
      width = display_width(indent) + display_width(words.substr(begin, end - begin));
    } else {
      out += word;
      width += display_width(word);
    }
    words.remove_prefix(end);
  }
  return out + "\n";
}

std::string scenario_line(const Json& document) {
  std::string out = text_at(document, {"scenario", "model_name"});
  const std::string cluster = text_at(document, {"scenario", "cluster", "name"});
  if (!cluster.empty()) out += (out.empty() ? "" : " on ") + cluster;
  if (const auto length = number_at(document, {"scenario", "training", "sequence_length"})) {
    out += fmt::format(", sequences of {} tokens", format_number(*length));
  }
  const Json& results = json_at(document, {"results"});
  if (!results.empty()) {
    if (const auto batch = number_at(results[0], {"global_batch_sequences"})) {
      const std::string rule = text_at(results[0], {"batch_rule"});
      out += fmt::format(", global batch {}{}", format_number(*batch),
                         rule.empty() ? "" : fmt::format(" ({})", rule));
    }
  }
  return out.empty() ? "" : wrapped(out, "  ") + "\n";
}

std::string notes_text(const Json& document, const Painter& paint) {
  std::string out;
  const Json& list = json_at(document, {"notes"});
  if (!list.is_array()) return out;
  for (const Json& note : list) {
    if (note.is_string())
      out += wrapped(paint(Tone::dim, "note: " + note.get<std::string>()), "      ");
  }
  return out;
}

}  // namespace zebroid
