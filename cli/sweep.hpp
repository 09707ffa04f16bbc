#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "cli/ranks.hpp"
#include "cli/sweep_lines.hpp"
#include "cli/sweep_points.hpp"
#include "cli/terminal.hpp"
#include "core/process.hpp"

namespace zebroid {

/// A point that was worked on.
struct FinishedPoint {
  std::size_t point = 0;
  bool failed = false;  ///< our fault: its process died
  std::string record;   ///< a PointRecord as text
};

/// What makes records of points, in processes that are forked at once.
class PointWorkers {
 public:
  PointWorkers(const Resolver& resolver, const SweepPoints& points, std::size_t jobs);

  std::size_t wanted() const { return workers_.wanted(); }
  bool idle() const { return workers_.idle(); }
  void give(const std::vector<Workers::Number>& numbers) { workers_.give(numbers); }
  /// As Workers::wait(). Throws Interrupted.
  std::vector<FinishedPoint> wait(std::chrono::milliseconds most);

 private:
  const Resolver& resolver_;
  const SweepPoints& points_;
  Workers workers_;
};

/// Which points are to be done, and where those go that are.
class Sweep {
 public:
  /// Takes over what `lines` has from an earlier run. Points are shared by so many `takers`.
  Sweep(const SweepPoints& points, SweepLines& lines, Progress& progress, std::size_t takers);

  std::size_t resumed() const { return resumed_; }
  std::size_t failed() const { return failed_; }
  bool finished() const { return done_ == points_.size(); }
  /// Points that nobody has yet, as many as wanted; fewer near the end, so that all end together.
  std::vector<Workers::Number> take(std::size_t wanted);
  void add(const FinishedPoint& finished);
  void show_progress();

 private:
  void count(std::size_t point, const std::string& record);

  const SweepPoints& points_;
  SweepLines& lines_;
  Progress& progress_;
  std::size_t takers_;
  std::vector<bool> resumed_points_;
  std::size_t resumed_ = 0;
  std::size_t next_ = 0;
  std::size_t done_ = 0;
  std::size_t failed_ = 0;
  double best_tokens_per_s_ = 0;
  std::string best_;
};

/// Does the sweep with these workers and those of the other ranks, if any, which call serve(). The
/// identity tells whether they see the same sweep: throws Error(input) when one does not.
void run_sweep(Sweep& sweep, PointWorkers& workers, Ranks* ranks, const std::string& identity);
/// Tells the other ranks, `count` of them, that they may leave.
void dismiss(Ranks& ranks, int count);
/// Does what rank 0 asks for until dismissed.
void serve(PointWorkers& workers, Ranks& ranks, const std::string& identity);

}  // namespace zebroid
