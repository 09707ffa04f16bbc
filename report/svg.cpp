#include "report/svg.hpp"

#include <fmt/format.h>

#include <cmath>

namespace zebroid {

std::string xml_escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        out += static_cast<unsigned char>(c) < ' ' && c != '\n' ? ' ' : c;
    }
  }
  return out;
}

std::string px(double value) {
  std::string out = fmt::format("{:.2f}", value);
  out.erase(out.find_last_not_of('0') + 1);
  if (out.ends_with('.')) out.pop_back();
  return out == "-0" ? "0" : out;
}

std::string rectangle_path(double x, double y, double width, double height) {
  return fmt::format("M{} {}h{}v{}h-{}z", px(x), px(y), px(width), px(height), px(width));
}

std::string mixed_color(std::string_view a, std::string_view b) {
  constexpr int hexadecimal = 16;
  std::string out = "#";
  for (const std::size_t at : {1U, 3U, 5U}) {
    const auto part = [&](std::string_view color) {
      return std::stoi(std::string(color.substr(at, 2)), nullptr, hexadecimal);
    };
    out += fmt::format("{:02x}", (part(a) + part(b)) / 2);
  }
  return out;
}

double nice_step(double length, double count) {
  const double rough = length / count;
  const double power = std::pow(10.0, std::floor(std::log10(rough)));
  for (const double factor : {5.0, 2.0}) {
    if (factor * power <= rough) return factor * power;
  }
  return power;
}

}  // namespace zebroid
