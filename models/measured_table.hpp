#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/json.hpp"
#include "models/evidence.hpp"
#include "models/measured.hpp"

namespace zebroid {

struct MeasuredPoint {
  Shape shape{};
  double time_us = 0;
  std::uint32_t source = 0;  ///< index into MeasuredTable::sources()
  std::uint32_t line = 0;    ///< of that file

  friend bool operator==(const MeasuredPoint&, const MeasuredPoint&) = default;
};

/// Which measured points say how long a shape takes: time = reference(shape) * exp(sum of weight *
/// log(point's time / reference(point's shape))), for any reference that grows as the times do.
struct Estimate {
  struct Part {
    std::uint32_t point = 0;  ///< index into MeasuredTable::points()
    double weight = 0;
  };
  static constexpr std::size_t most = 2 * most_axes;
  std::array<Part, most> parts{};
  std::size_t size = 0;
  Evidence evidence = Evidence::extrapolated;

  void add(Part part) { parts.at(size++) = part; }
};

/// Measured times of one operation by shape, on one GPU kind or network. Immutable; copies share
/// the points.
class MeasuredTable {
 public:
  /// What tells the tables of one GPU kind apart.
  struct Key {
    MeasuredOp op = MeasuredOp::gemm;
    std::string kernel;
    std::string dtype;
    bool backward = false;

    friend auto operator<=>(const Key&, const Key&) = default;
  };

  /// Points in any order; at least one, no shape twice.
  MeasuredTable(Key key, std::vector<std::string> sources, std::vector<MeasuredPoint> points);

  const Key& key() const;
  const std::vector<std::string>& sources() const;
  const std::vector<MeasuredPoint>& points() const;  ///< by shape

  /// The exact shape, sizes rounded to whole numbers: measured. Between points that differ from it
  /// in one size, at most two octaves apart, or among the nearest points no more than an octave
  /// away and around it in every size: interpolated. Else the nearest point: extrapolated. O(log n)
  /// in practice.
  Estimate estimate(const Shape& shape) const;

  /// {op, kernel, dtype, direction, sources, points: [[sizes..., time_us, source, line], ...]}.
  Json to_json() const;
  /// Faults go to the view; nothing where there were any.
  static std::optional<MeasuredTable> read(const JsonView& view);

  friend bool operator==(const MeasuredTable& a, const MeasuredTable& b) {
    return a.key() == b.key() && a.sources() == b.sources() && a.points() == b.points();
  }

 private:
  struct Data;
  std::shared_ptr<const Data> data_;
};

/// A kernel's shape as a person reads it: "m=4096 n=14336 k=4096".
std::string text_of(MeasuredOp op, const Shape& shape);

}  // namespace zebroid
