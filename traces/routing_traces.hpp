#pragma once

#include <string>
#include <string_view>

namespace zebroid {

/// Whether a text of JSON lines tells which experts tokens went to.
bool is_routing_trace(std::string_view text);

/// Why a routing trace is no measurement, and whether it is load at all: an engine's warm-up sends
/// all tokens of a layer to the same experts.
std::string about_routing_trace(std::string_view text);

}  // namespace zebroid
