#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/json.hpp"
#include "core/units.hpp"

namespace zebroid {

/// What a predicted time rests on, best first.
enum class Evidence : std::uint8_t { measured, interpolated, extrapolated, roofline };
inline constexpr std::size_t evidence_count = 4;
std::string_view name_of(Evidence evidence);
std::vector<std::string> evidence_names();
Evidence read_evidence(const JsonView& view);

/// A predicted time, split by what its parts rest on.
struct Cost {
  std::array<Seconds, evidence_count> by_evidence;

  Seconds total() const;
  Cost& operator+=(const Cost& other);
  void add(Evidence evidence, Seconds time) {
    by_evidence.at(static_cast<std::size_t>(evidence)) += time;
  }
};

}  // namespace zebroid
