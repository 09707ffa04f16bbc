#pragma once

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "cli/request.hpp"
#include "core/json.hpp"

namespace zebroid {

using Point = std::vector<std::pair<std::string, Json>>;  ///< path and value of each field varied

/// All combinations of the values that --vary flags give.
class SweepPoints {
 public:
  /// From PATH=VALUES each. Throws Error(input).
  explicit SweepPoints(const std::vector<std::string>& vary);

  std::size_t size() const { return size_; }
  /// How many fields take more than one value.
  std::size_t dimensions() const;
  /// The first axis varies slowest.
  Point at(std::size_t number) const;
  /// Paths and values of a point as text, with the content of files that values name.
  std::string identity(std::size_t number) const;
  /// Throws what is wrong with the first values when no scenario can be read whichever values are
  /// set: a field does not exist, or its values are all out of range.
  void check(const Resolver& resolver) const;

 private:
  struct Axis {
    std::string path;
    std::vector<Json> values;
    std::vector<std::string> identities;  ///< of the values
  };
  static Axis parse_axis(const std::string& text);
  /// Which value of each axis a point has.
  std::vector<std::size_t> positions(std::size_t number) const;

  std::vector<Axis> axes_;
  std::size_t size_ = 1;
};

}  // namespace zebroid
