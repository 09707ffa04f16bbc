#pragma once

#include <cstddef>
#include <regex>
#include <string>
#include <vector>

namespace zebroid {

/// What keeps a text from being XML, or "": tags that do not pair, attributes without quotes, a
/// bare & or <.
inline std::string xml_fault(const std::string& text) {
  static const std::regex tag("<(/?)([A-Za-z]+)((?: [A-Za-z:-]+=\"[^\"<]*\")*)(/?)>");
  static const std::regex entity("&(amp|lt|gt|quot);");
  std::vector<std::string> open;
  const std::string bare = std::regex_replace(text, entity, "");
  if (bare.find('&') != std::string::npos) return "bare &";
  std::size_t at = 0;
  while ((at = bare.find('<', at)) != std::string::npos) {
    std::smatch m;
    if (!std::regex_search(bare.begin() + static_cast<std::ptrdiff_t>(at), bare.end(), m, tag,
                           std::regex_constants::match_continuous)) {
      return "not a tag: " + bare.substr(at, 60);
    }
    if (m.length(1) == 0 && m.length(4) == 0) open.push_back(m.str(2));
    if (m.length(1) > 0) {
      if (open.empty() || open.back() != m.str(2)) return "unpaired " + m.str();
      open.pop_back();
    }
    at += static_cast<std::size_t>(m.length());
  }
  return open.empty() ? "" : "unclosed " + open.back();
}

}  // namespace zebroid
