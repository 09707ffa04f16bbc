#include "models/evidence.hpp"

#include <algorithm>

namespace zebroid {

std::string_view name_of(Evidence evidence) {
  constexpr std::array<std::string_view, evidence_count> names = {"measured", "interpolated",
                                                                  "extrapolated", "roofline"};
  return names.at(static_cast<std::size_t>(evidence));
}

std::vector<std::string> evidence_names() {
  std::vector<std::string> names;
  for (std::size_t e = 0; e < evidence_count; ++e) {
    names.emplace_back(name_of(static_cast<Evidence>(e)));
  }
  return names;
}

Evidence read_evidence(const JsonView& view) {
  const std::vector<std::string> names = evidence_names();
  const std::string name = view.name_of("evidence grade", names);
  return static_cast<Evidence>(std::find(names.begin(), names.end(), name) - names.begin());
}

Seconds Cost::total() const {
  Seconds sum;
  for (const Seconds part : by_evidence) sum += part;
  return sum;
}

Cost& Cost::operator+=(const Cost& other) {
  for (std::size_t e = 0; e < evidence_count; ++e) by_evidence.at(e) += other.by_evidence.at(e);
  return *this;
}

}  // namespace zebroid
