#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "traces/complaints.hpp"
#include "traces/readers.hpp"

namespace zebroid {

/// A device as one file writes it, as its GPU kind: a catalogue name where there is one, else
/// unchanged.
std::string catalogue_name(std::string_view device);

/// GPU kinds of the measurements of one file. What it refers to outlives it.
class GpuNames {
 public:
  GpuNames(const ReadOptions& options, Complaints& complaints, std::vector<std::string>& notes)
      : options_(options), complaints_(complaints), notes_(notes) {}

  /// The GPU kind of `device`. For "", when the file names none: what the options say, else the one
  /// that the file's path names, which is noted. "" when that fails too, with one complaint.
  const std::string& of(std::string_view device);

 private:
  std::string of_file() const;

  const ReadOptions& options_;
  Complaints& complaints_;
  std::vector<std::string>& notes_;
  std::map<std::string, std::string, std::less<>> known_;
};

}  // namespace zebroid
