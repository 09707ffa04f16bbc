#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace zebroid {

/// A member of a JSON object that is a string or a number.
struct FlatMember {
  std::string key;
  std::string text;  ///< of a number what was written, digit by digit
  bool is_string = false;
};

/// The members of one JSON object in their order, without those that are null; `fault` says what is
/// wrong with the text, "" for nothing.
struct FlatObject {
  std::vector<FlatMember> members;
  std::string fault;

  const FlatMember* find(std::string_view key) const;
};
FlatObject parse_flat_json(std::string_view text);

}  // namespace zebroid
