#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace zebroid {

// Decimal numbers whose point moves without rounding: 12.3 us and 1.23e-05 s are the same digits,
// so that files in any unit give, and get back, every double.

/// The finite number that the whole of `text` is, times 10^exponent, rounded once; nothing for
/// anything else. The same in every locale.
std::optional<double> parse_decimal(std::string_view text, int exponent = 0);

/// The shortest text from which parse_decimal(text, exponent) gives `value`, a finite number; valid
/// in JSON.
std::string decimal_text(double value, int exponent = 0);

}  // namespace zebroid
