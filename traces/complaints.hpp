#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace zebroid {

/// Collects what is wrong with one file: the first most_complaints, then a count of the others.
/// `out` outlives it.
class Complaints {
 public:
  Complaints(std::string name, std::vector<std::string>& out);

  /// Adds "NAME:LINE: message"; line 0: "NAME: message".
  void add(std::size_t line, std::string_view message);
  const std::string& name() const { return name_; }

 private:
  std::string name_;
  std::vector<std::string>& out_;
  std::size_t count_ = 0;
};

/// "expected a time above 0, got '-3'".
std::string expected(std::string_view what, std::string_view got);

/// Text of a file as one would quote it in a message: cut after about 60 characters, without
/// control characters and bytes that are not UTF-8.
std::string quoted(std::string_view text);

}  // namespace zebroid
