#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/units.hpp"
#include "traces/complaints.hpp"

namespace zebroid {

/// Where a time stands, and its unit as a power of ten of seconds, when the name states one.
struct TimeColumn {
  std::size_t position = 0;
  std::optional<int> exponent;
};

/// Names of columns, whatever their order and case. Times may carry a unit: latency_us,
/// "latency (us)", time_ms; units: s, ms, us, ns.
class Header {
 public:
  /// A column without a name is no column.
  explicit Header(const std::vector<std::string>& names);

  std::optional<std::size_t> find(std::string_view name) const;
  /// The column `base`, with or without a unit. Only names that begin with "time" or "latency" are
  /// taken for times.
  std::optional<TimeColumn> time(std::string_view base) const;
  const std::vector<std::string>& names() const { return names_; }  ///< in lower case
  std::size_t size() const { return names_.size(); }
  /// What two columns say, or "": a name, or a time in two units.
  const std::string& said_twice() const { return said_twice_; }

 private:
  std::vector<std::string> names_;
  std::map<std::string, std::size_t, std::less<>> position_;
  std::map<std::string, TimeColumn, std::less<>> times_;
  std::string said_twice_;
};

/// Sizes that a file may state.
inline constexpr double most_size = 1e12;

/// Fields under a header, with getters that check. The first that finds something else than
/// expected complains, and the row is no longer ok; they return the smallest legal value then, so
/// that reading goes on. What a row refers to outlives it.
class Row {
 public:
  Row(const Header& header, const std::vector<std::string>& fields, std::size_t line,
      Complaints& complaints)
      : header_(header), fields_(fields), line_(line), complaints_(complaints) {}

  std::string_view text(std::string_view name) const;  ///< "" without such a column
  bool has(std::string_view name) const { return !text(name).empty(); }
  double size(std::string_view name);                            ///< above 0, to most_size
  double whole(std::string_view name, double most = most_size);  ///< a size without fraction
  double at_least_0(std::string_view name);
  /// Above 0. The column is `base` with or without a unit; `exponent` is that of a column without.
  Seconds time(std::string_view base, int exponent);
  bool has_time(std::string_view base) const;
  /// The spread of a time, 0 or more, in its unit.
  Seconds spread(std::string_view base, int exponent);

  void refuse(std::string_view message);
  /// Says that the row is sound, but nothing is taken from it.
  void leave_out(std::string_view reason) { left_out_ = reason; }
  bool ok() const { return ok_; }
  std::string_view left_out() const { return left_out_; }
  std::size_t line() const { return line_; }
  const std::string& file() const { return complaints_.name(); }

 private:
  double number(std::string_view name, std::string_view what, double low, double high);
  double time_at(std::string_view base, int exponent, std::string_view what, double low);

  const Header& header_;
  const std::vector<std::string>& fields_;
  std::size_t line_;
  Complaints& complaints_;
  bool ok_ = true;
  std::string_view left_out_;
};

}  // namespace zebroid
