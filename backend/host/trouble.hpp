#pragma once

#include <cstdint>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>

#include "core/error.hpp"
#include "core/id.hpp"

namespace zebroid {

/// What ended a run early, and whose fault it is.
struct Culprit {
  ErrorKind kind = ErrorKind::aborted;
  RankId rank;
  std::optional<std::uint32_t> op;  ///< index into the rank's program
  std::string message;              ///< what is wrong, after the op's name
};

/// The first trouble of a run; it stops all that wait. Safe to use from several threads.
class Trouble {
 public:
  /// Later culprits are consequences of the first and are dropped.
  void report(Culprit culprit);
  /// Stops without a culprit: interrupted.
  void stop() { source_.request_stop(); }
  std::stop_token token() const { return source_.get_token(); }
  bool stopped() const { return source_.stop_requested(); }
  std::optional<Culprit> first() const;

 private:
  mutable std::mutex mutex_;
  std::optional<Culprit> first_;
  std::stop_source source_;
};

/// Thrown on a stream's thread to unwind what waits when the run stops.
struct Stopped {};

}  // namespace zebroid
