#include <fmt/format.h>

#include <array>
#include <cmath>

#include "report/landscape.hpp"
#include "report/table.hpp"

namespace zebroid {
namespace {

std::optional<double> number_in(const Json& object, const char* key) {
  const auto found = object.find(key);
  if (found == object.end() || !found->is_number()) return std::nullopt;
  return found->get<double>();
}

std::string text_in(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : "";
}

/// A line for each pool: "attention on 6 x A40: 99.4 % busy, 9.2 GiB of 48.0 GiB".
std::string pools_text(const Json& result) {
  std::string out;
  const auto pools = result.find("pools");
  if (pools == result.end() || !pools->is_array()) return out;
  for (const Json& pool : *pools) {
    if (!pool.is_object()) continue;
    out += fmt::format("\n{} on {} × {}:", text_in(pool, "role"),
                       format_number(number_in(pool, "count").value_or(0)), text_in(pool, "gpu"));
    if (const auto busy = number_in(pool, "busy_fraction")) {
      out += fmt::format(" {} busy", format_percent(*busy));
    }
    const auto peak = number_in(pool, "peak_memory_bytes");
    const auto capacity = number_in(pool, "memory_capacity_bytes");
    if (peak && capacity) {
      out += fmt::format(", {} of {}", format_bytes({*peak}), format_bytes({*capacity}));
    }
  }
  return out;
}

std::string schedule_text(const Json& result) {
  std::string out;
  const auto add = [&](const char* key, std::string_view name) {
    if (const auto number = number_in(result, key)) {
      out += fmt::format("{}{} {}", out.empty() ? "\n" : ", ", name, format_number(*number));
    }
  };
  add("global_batch_sequences", "batch");
  add("microbatches", "microbatches");
  add("chunks", "chunks");
  add("groups", "groups");
  if (const auto exposed = number_in(result, "exposed_communication_s")) {
    out += "\nexposed communication " + format_seconds({*exposed});
  }
  if (const auto bound = number_in(result, "lower_bound_s")) {
    out += fmt::format("\nlower bound {}", format_seconds({*bound}));
    if (const std::string by = text_in(result, "binding"); !by.empty()) out += " by " + by;
  }
  return out;
}

std::string place_text(const Landscape& landscape, const LandscapePlace& place) {
  constexpr std::array<std::size_t, most_landscape_axes> every = {0, 1, 2};
  return place_text(landscape, place, std::span(every).first(landscape.axes.size()));
}

}  // namespace

std::string axis_value_text(const Json& value, std::size_t most) {
  constexpr double exact = 1e15;
  if (value.is_string()) return shortened(value.get<std::string>(), most);
  if (value.is_number()) {
    const auto number = value.get<double>();
    if (std::abs(number) < exact && number == std::floor(number)) return format_number(number);
    return fmt::format("{}", number);
  }
  return shortened(to_text(value), most);
}

std::string compact_number(double number, int digits) {
  constexpr std::array<std::string_view, 5> units = {"", "k", "M", "G", "T"};
  constexpr double step = 1000;
  std::size_t unit = 0;
  const auto decimals = [&] {
    if (number <= 0) return 0;
    return std::max(0, digits - 1 - static_cast<int>(std::floor(std::log10(number))));
  };
  const auto rounded = [&] {
    const double power = std::pow(10.0, decimals());
    return std::round(number * power) / power;
  };
  while (rounded() >= step && unit + 1 < units.size()) {
    number /= step;
    ++unit;
  }
  std::string out = fmt::format("{:.{}f}", number, decimals());
  if (out.find('.') != std::string::npos) {
    out.erase(out.find_last_not_of('0') + 1);
    if (out.ends_with('.')) out.pop_back();
  }
  return fmt::format("{}{}", out, units.at(unit));
}

std::string axis_value_in_words(const LandscapeAxis& axis, const Json& value) {
  std::string_view tail = axis.tail;
  if (value == 1 && tail.ends_with('s')) tail.remove_suffix(1);
  return fmt::format("{}{}{}", axis.lead, axis_value_text(value), tail);
}

std::string place_text(const Landscape& landscape, const LandscapePlace& place,
                       std::span<const std::size_t> axes) {
  std::string out;
  for (const std::size_t a : axes) {
    const LandscapeAxis& axis = landscape.axes[a];
    if (!out.empty()) out += ", ";
    out += axis_value_in_words(axis, axis.values[place.at(a)]);
  }
  return out;
}

std::string cell_tooltip(const Landscape& landscape, std::size_t strategy,
                         const LandscapePlace& place) {
  const LandscapeCell& cell = landscape.at(strategy, place);
  std::string out =
      fmt::format("{} at {}", landscape.strategies[strategy], place_text(landscape, place));
  if (cell.state == LandscapeState::unswept) return out + "\nnot in this sweep";
  if (cell.state != LandscapeState::unplanned) {
    out += fmt::format("\n{} tokens/s", format_number(cell.tokens_per_s));
    if (const auto seconds = number_in(*cell.result, "iteration_s")) {
      out += fmt::format(", {} per iteration", format_seconds({*seconds}));
    }
    if (cell.state == LandscapeState::over_memory) out += ", if there were memory enough";
    out += schedule_text(*cell.result) + pools_text(*cell.result);
  }
  constexpr std::size_t longest_reason = 300;
  const std::string reason = text_in(*cell.result, "reason");
  return reason.empty() ? out : out + "\n" + shortened(reason, longest_reason);
}

std::optional<double> speed_up(const Landscape& landscape, const LandscapePlace& place) {
  const LandscapeCell& first = landscape.at(0, place);
  const LandscapeCell& second = landscape.at(1, place);
  const bool both = first.state == LandscapeState::fits && second.state == LandscapeState::fits;
  return both ? std::optional(first.tokens_per_s / second.tokens_per_s) : std::nullopt;
}

std::string speed_up_tooltip(const Landscape& landscape, const LandscapePlace& place) {
  std::string out = place_text(landscape, place);
  if (const auto ratio = speed_up(landscape, place)) {
    out += fmt::format("\n{} is {:.3f} times as fast as {}", landscape.strategies[0], *ratio,
                       landscape.strategies[1]);
  }
  for (const std::size_t s : {0U, 1U}) {
    const LandscapeCell& cell = landscape.at(s, place);
    out += fmt::format("\n{}: ", landscape.strategies[s]);
    switch (cell.state) {
      case LandscapeState::unswept:
        out += "not in this sweep";
        break;
      case LandscapeState::unplanned:
        out += "no schedule";
        break;
      case LandscapeState::over_memory:
        out += fmt::format("does not fit in memory ({} tokens/s if it did)",
                           format_number(cell.tokens_per_s));
        break;
      case LandscapeState::fits:
        out += format_number(cell.tokens_per_s) + " tokens/s";
        break;
    }
  }
  return out;
}

}  // namespace zebroid
