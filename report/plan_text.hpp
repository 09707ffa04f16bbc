#pragma once

#include <string>

#include "core/json.hpp"

namespace zebroid {

/// A zebroid.result/1 document with a verdict (docs/formats/result.md) for a person: the
/// recommendation, all ways ranked, the best in detail, what the ranking rests on, what one more
/// GPU brings, and what was rejected. Lines have at most 100 columns.
std::string plan_text(const Json& document, bool color);

}  // namespace zebroid
