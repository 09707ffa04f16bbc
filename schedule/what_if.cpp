#include "schedule/what_if.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "core/error.hpp"

namespace zebroid {
namespace {

template <class Number>
std::optional<Number> parsed(std::string_view text) {
  Number out{};
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), out);
  if (failure != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return out;
}

}  // namespace

Slowdown parse_slowdown(const std::string& text) {
  const std::size_t equals = text.find('=');
  const std::size_t colon = text.rfind(':');
  const auto refuse = [&]() -> Slowdown {
    throw Error(ErrorKind::input,
                fmt::format("--slow: expected rank=NUMBER:FACTOR or port=NAME:FACTOR with FACTOR "
                            "from 0.001 to 1, as rank=3:0.8, got '{}'",
                            text));
  };
  if (equals == std::string::npos || colon == std::string::npos || colon < equals) return refuse();
  const std::string what = text.substr(0, equals);
  const std::string name = text.substr(equals + 1, colon - equals - 1);
  const auto factor = parsed<double>(std::string_view(text).substr(colon + 1));
  constexpr double least = 0.001;
  if (!factor || !(*factor >= least) || *factor > 1) return refuse();
  if (what == "port" && !name.empty()) return {std::nullopt, name, *factor};
  const auto rank = parsed<std::uint32_t>(name);
  if (what != "rank" || !rank) return refuse();
  return {RankId{*rank}, "", *factor};
}

std::string name_of(const Slowdown& slowdown) {
  return slowdown.rank ? fmt::format("rank={}:{}", slowdown.rank->value, slowdown.factor)
                       : fmt::format("port={}:{}", slowdown.port, slowdown.factor);
}

WhatIf::WhatIf(const Load& load, const Schedule& schedule, const std::vector<Slowdown>& slowdowns)
    : load_(load), network_(load.network()), factors_(schedule.ranks.size(), 1) {
  for (const Slowdown& slowdown : slowdowns) {
    if (slowdown.rank) {
      if (slowdown.rank->value >= factors_.size()) {
        throw Error(ErrorKind::input, fmt::format("--slow: there is no rank {}; ranks are 0 to {}",
                                                  slowdown.rank->value, factors_.size() - 1));
      }
      factors_[slowdown.rank->value] *= slowdown.factor;
      continue;
    }
    std::vector<std::string> names;
    for (const Port& port : network_.ports()) names.push_back(port.name);
    const auto found = std::find(names.begin(), names.end(), slowdown.port);
    if (found == names.end()) {
      throw Error(ErrorKind::input, "--slow: " + unknown_name("port", slowdown.port, names));
    }
    network_.scale({static_cast<std::uint32_t>(found - names.begin())}, slowdown.factor);
  }
  for (std::uint32_t r = 0; r < factors_.size(); ++r) {
    RankId first = load.like(RankId{r});
    while (factors_[first.value] != factors_[r] || load.like(first) != load.like(RankId{r})) {
      ++first.value;
    }
    like_.push_back(first);
  }
}

}  // namespace zebroid
