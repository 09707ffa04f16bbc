#include "backend/host/faults.hpp"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <utility>

#include "core/error.hpp"

namespace zebroid {
namespace {

constexpr std::array<std::pair<std::string_view, FaultKind>, 7> kinds{{
    {"stuck", FaultKind::stuck},
    {"hung", FaultKind::hung},
    {"dead", FaultKind::dead},
    {"dropped", FaultKind::dropped},
    {"swapped", FaultKind::swapped},
    {"miscounted", FaultKind::miscounted},
    {"flipped", FaultKind::flipped},
}};

[[noreturn]] void refuse(std::string_view text, const std::string& why) {
  throw Error(ErrorKind::input, fmt::format("--inject {}: {}", text, why));
}

FaultKind read_kind(std::string_view text, std::string_view name) {
  std::vector<std::string> known;
  for (const auto& [word, kind] : kinds) {
    if (word == name) return kind;
    known.emplace_back(word);
  }
  refuse(text, unknown_name("fault", name, known));
}

}  // namespace

std::optional<std::uint32_t> next_on_stream(const Program& program, std::uint32_t op) {
  for (std::uint32_t i = op + 1; i < program.size(); ++i) {
    if (stream_of(program[i]) == stream_of(program[op])) return i;
  }
  return std::nullopt;
}

Injection read_injection(std::string_view text, const Schedule& schedule) {
  const std::size_t first = text.find(':');
  const std::size_t second = first == std::string_view::npos ? first : text.find(':', first + 1);
  if (second == std::string_view::npos)
    refuse(text, "expected KIND:RANK:OP, as stuck:9:expert 1.0");
  Injection out;
  out.kind = read_kind(text, text.substr(0, first));
  const std::string_view rank = text.substr(first + 1, second - first - 1);
  const auto [end, failure] =
      std::from_chars(rank.data(), rank.data() + rank.size(), out.rank.value);
  if (failure != std::errc() || end != rank.data() + rank.size() ||
      out.rank.value >= schedule.ranks.size()) {
    refuse(text,
           fmt::format("expected a rank from 0 to {}, got '{}'", schedule.ranks.size() - 1, rank));
  }
  const Program& program = schedule.program_of(out.rank);
  const std::string_view name = text.substr(second + 1);
  while (out.op < program.size() && name_of(program[out.op]) != name) ++out.op;
  if (out.op == program.size()) {
    std::vector<std::string> names;
    for (const Op& op : program) names.push_back(name_of(op));
    const std::string near = nearest(name, names);
    refuse(text,
           fmt::format("rank {} lists no op '{}'; {} (as attention 0.3, layer and microbatch; "
                       "' is backward, * again in backward, a third number a chunk or phase)",
                       out.rank.value, name,
                       near.empty() ? "its first is '" + names.front() + "'"
                                    : "did you mean '" + near + "'?"));
  }
  const bool sends = out.kind == FaultKind::swapped || out.kind == FaultKind::miscounted ||
                     out.kind == FaultKind::flipped;
  if (sends && !is_exchange(program[out.op].work)) {
    refuse(text, "this fault needs an exchange: dispatch, combine, stage, a sum or a gather");
  }
  if (out.kind == FaultKind::swapped && !next_on_stream(program, out.op)) {
    refuse(text, "no exchange follows it on its stream");
  }
  return out;
}

}  // namespace zebroid
