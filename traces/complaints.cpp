#include "traces/complaints.hpp"

#include <fmt/format.h>

#include <utility>

#include "core/json.hpp"
#include "traces/sample.hpp"

namespace zebroid {

Complaints::Complaints(std::string name, std::vector<std::string>& out)
    : name_(std::move(name)), out_(out) {}

void Complaints::add(std::size_t line, std::string_view message) {
  ++count_;
  if (count_ <= most_complaints) {
    out_.push_back(line == 0 ? fmt::format("{}: {}", name_, message)
                             : fmt::format("{}:{}: {}", name_, line, message));
    return;
  }
  const std::size_t more = count_ - most_complaints;
  std::string others = fmt::format("{}: {} more complaint{}", name_, more, more == 1 ? "" : "s");
  if (more == 1) {
    out_.push_back(std::move(others));
  } else {
    out_.back() = std::move(others);
  }
}

std::string expected(std::string_view what, std::string_view got) {
  return fmt::format("expected {}, got {}", what, quoted(got));
}

std::string quoted(std::string_view text) {
  constexpr std::size_t most = 60;
  const bool whole = text.size() <= most;
  std::string out = to_text(Json(std::string(text.substr(0, most))));
  out = out.substr(1, out.size() - 2);
  return fmt::format("'{}{}'", out, whole ? "" : "...");
}

}  // namespace zebroid
