#pragma once

#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace zebroid {

/// Who has to act; the command line's exit code is the value.
enum class ErrorKind {
  internal = 1,    ///< our fault
  input = 2,       ///< bad usage or input
  infeasible = 3,  ///< does not fit; says which rank lacks how many bytes
  check = 4,       ///< a check that was asked for failed
  hardware = 5,    ///< hardware or backend not available
  aborted = 6,     ///< a run ended early: hang, dead peer, corrupted message
};

/// The one exception type of zebroid. what() is a complete message for a person, without a trailing
/// newline; it may have several lines, one per fault.
class Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, const std::string& message) : std::runtime_error(message), kind_(kind) {}
  ErrorKind kind() const noexcept { return kind_; }

 private:
  ErrorKind kind_;
};

/// The candidate nearest to `name` by edit distance, where swapped neighbours count once, ignoring
/// case, or "" when none is near (more than a third of the letters differ). Ties go to the earlier
/// candidate.
std::string nearest(std::string_view name, const std::vector<std::string>& candidates);

/// "unknown GPU 'A41'; did you mean 'A40'?" or "unknown GPU 'x' (known: A40, V100-16GB, ...)".
std::string unknown_name(std::string_view what, std::string_view name,
                         const std::vector<std::string>& known);

/// Throws Error(internal) when `holds` is false: an invariant of ours, never the user's fault.
void ensure(bool holds, std::string_view invariant);

}  // namespace zebroid
