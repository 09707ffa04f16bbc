#include "traces/routing_traces.hpp"

#include <algorithm>
#include <map>
#include <set>
#include <vector>

#include "core/error.hpp"
#include "core/json.hpp"
#include "traces/lines.hpp"

namespace zebroid {
namespace {

constexpr std::string_view picks_of_token = "\"topk_ids\"";
constexpr std::string_view one_pick = "\"expert_idx\"";

/// What tokens of one layer picked.
struct Picks {
  std::size_t tokens = 0;
  std::set<std::string> patterns;  ///< at most two are kept
};

/// A line as JSON; null when it is not: complaining about one line of what is not read at all would
/// help nobody.
Json parsed(std::string_view line) {
  try {
    return parse_json(std::string(line), "").root;
  } catch (const Error&) {
    return {};
  }
}

/// Notes a line's layer and experts, if that is what it holds.
void add_line(std::string_view line, std::map<std::string, Picks>& layers) {
  const Json root = parsed(line);
  if (!root.is_object() || !root.contains("topk_ids") || !root["topk_ids"].is_array()) return;
  std::vector<std::string> experts;
  for (const Json& id : root["topk_ids"]) experts.push_back(to_text(id));
  std::sort(experts.begin(), experts.end());
  Picks& picks = layers[root.contains("layer") ? to_text(root["layer"]) : ""];
  ++picks.tokens;
  if (picks.patterns.size() < 2) picks.patterns.insert(to_text(Json(experts)));
}

}  // namespace

bool is_routing_trace(std::string_view text) {
  return text.find(picks_of_token) != std::string_view::npos ||
         text.find(one_pick) != std::string_view::npos;
}

std::string about_routing_trace(std::string_view text) {
  std::string out = "a routing trace, not a measurement";
  std::vector<std::string> ignored;
  Complaints complaints("", ignored);
  LineReader lines(text, complaints);
  std::map<std::string, Picks> layers;
  while (lines.next()) {
    if (lines.line().find(picks_of_token) != std::string_view::npos) {
      add_line(lines.line(), layers);
    }
  }
  const auto same = std::find_if(layers.begin(), layers.end(), [](const auto& layer) {
    return layer.second.tokens > 1 && layer.second.patterns.size() == 1;
  });
  if (same != layers.end()) {
    out += "; in layer " + same->first + " one pattern for all tokens: a warm-up pass, not load";
  }
  return out;
}

}  // namespace zebroid
