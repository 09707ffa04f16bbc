#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "core/digest.hpp"
#include "core/journal.hpp"

namespace zebroid {

/// What came of a point, on one line as workers report it and journals keep it.
struct PointRecord {
  double tokens_per_s = 0;  ///< of the fastest strategy that fits; 0 = none does
  std::string strategy;     ///< its name, or "-"
  std::string line;         ///< what the sweep prints
};
std::string to_text(const PointRecord& record);
PointRecord parse_record(std::string_view text);

/// Where the lines of a sweep go, in the order of the points whatever the order in which they come.
class SweepLines {
 public:
  SweepLines() = default;
  SweepLines(const SweepLines&) = delete;
  SweepLines& operator=(const SweepLines&) = delete;
  virtual ~SweepLines() = default;

  /// The record of a point that an earlier run has finished.
  virtual std::optional<std::string> found(std::size_t point) const = 0;
  /// Points from here on have to wait, lest too much is held in memory.
  virtual std::size_t limit() const = 0;
  virtual void add(std::size_t point, const std::string& record) = 0;
  /// A point that may do better next time: its line is for this run only.
  virtual void add_failed(std::size_t point, const std::string& record) = 0;
  /// After the last point.
  virtual void finish() = 0;
};

/// To stdout as soon as possible. Throws Error(input) when that cannot be written.
std::unique_ptr<SweepLines> printed_lines();

/// To a file when all are there; until then to a journal beside it, from which another run goes on.
/// Throws Error(input) when the file cannot be written or another process writes it.
class FileLines final : public SweepLines {
 public:
  /// `key` tells what a point's line depends on; there are `points`.
  FileLines(std::string path, std::size_t points, std::function<Digest(std::size_t)> key);

  std::optional<std::string> found(std::size_t point) const override;
  std::size_t limit() const override { return points_; }
  void add(std::size_t point, const std::string& record) override;
  void add_failed(std::size_t point, const std::string& record) override;
  void finish() override;

  static std::string journal_name(const std::string& path) { return path + ".journal"; }

 private:
  std::string path_;
  std::size_t points_;
  std::function<Digest(std::size_t)> key_;
  Journal journal_;
  std::map<std::size_t, std::string> failed_;
};

}  // namespace zebroid
