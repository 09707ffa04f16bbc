#include "cli/kernel_spec.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <sstream>
#include <vector>

#include "core/error.hpp"
#include "models/measured_table.hpp"

namespace zebroid {
namespace {

[[noreturn]] void refuse(const std::string& text, const std::string& why) {
  throw Error(ErrorKind::input, fmt::format("'{}': {}", text, why));
}

std::optional<double> size_in(const std::string& text) {
  constexpr double largest = 1e15;
  double out = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), out);
  const bool whole = failure == std::errc() && end == text.data() + text.size();
  if (!whole || !(out >= 1 && out <= largest)) return std::nullopt;
  return out;
}

std::vector<std::string> op_names() {
  std::vector<std::string> out;
  for (std::size_t o = 0; o < measured_op_count; ++o) {
    out.emplace_back(name_of(static_cast<MeasuredOp>(o)));
  }
  return out;
}

void set_field(KernelSpec& spec, const std::string& key, const std::string& value,
               const std::string& text) {
  const auto& axes = axes_of(spec.op);
  const auto axis = std::find(axes.begin(), axes.end(), key);
  if (axis != axes.end()) {
    const auto size = size_in(value);
    if (!size) refuse(text, fmt::format("{}: expected a size of 1 or more, got '{}'", key, value));
    spec.shape.at(static_cast<std::size_t>(axis - axes.begin())) = *size;
  } else if (key == "kernel" && spec.op == MeasuredOp::elementwise) {
    spec.kernel = value;
  } else if (key == "direction" && (value == "forward" || value == "backward")) {
    spec.direction = value == "backward" ? Direction::backward : Direction::forward;
  } else {
    std::vector<std::string> known(axes.begin(), axes.end());
    if (spec.op == MeasuredOp::elementwise) known.emplace_back("kernel");
    known.emplace_back("direction");
    refuse(text, unknown_name("size", key, known));
  }
}

}  // namespace

std::string text_of(const KernelSpec& spec) {
  std::string out(name_of(spec.op));
  if (!spec.kernel.empty()) out += " kernel=" + spec.kernel;
  out += " " + text_of(spec.op, spec.shape);
  if (spec.direction == Direction::backward) out += " direction=backward";
  return out;
}

KernelSpec parse_kernel_spec(const std::string& text) {
  std::istringstream words(text);
  std::string word;
  words >> word;
  const std::vector<std::string> names = op_names();
  const auto op = std::find(names.begin(), names.end(), word);
  if (op == names.end()) refuse(text, unknown_name("operation", word, names));
  KernelSpec out;
  out.op = static_cast<MeasuredOp>(op - names.begin());
  while (words >> word) {
    const auto equals = word.find('=');
    if (equals == std::string::npos) {
      refuse(text, fmt::format("expected SIZE=NUMBER, got '{}'", word));
    }
    set_field(out, word.substr(0, equals), word.substr(equals + 1), text);
  }
  const auto& axes = axes_of(out.op);
  for (std::size_t a = 0; a < axes.size(); ++a) {
    if (out.shape.at(a) <= 0) refuse(text, fmt::format("{} is missing", axes[a]));
  }
  if (out.op == MeasuredOp::elementwise && out.kernel.empty()) refuse(text, "kernel is missing");
  return out;
}

}  // namespace zebroid
