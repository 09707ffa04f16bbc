#pragma once

#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>

#include "core/json.hpp"

namespace zebroid {

// What texts about zebroid.result/1 documents are made of.

inline constexpr std::size_t text_columns = 100;

enum class Tone { bold, good, bad, dim };

class Painter {
 public:
  explicit Painter(bool color) : color_(color) {}

  std::string operator()(Tone tone, const std::string& text) const;
  bool on() const { return color_; }

 private:
  bool color_;
};

/// The member at the end of a path of keys, or null.
const Json& json_at(const Json& value, std::initializer_list<const char*> path);
std::optional<double> number_at(const Json& value, std::initializer_list<const char*> path);
std::string text_at(const Json& value, std::initializer_list<const char*> path);

// "-" where there is no number.
std::string count_cell(std::optional<double> value);
std::string seconds_cell(std::optional<double> value);
std::string percent_cell(std::optional<double> value);
std::string ratio_cell(std::optional<double> value);  ///< "1.31x"
/// "31.2 of 48.0 GiB"
std::string memory_cell(std::optional<double> peak, std::optional<double> capacity);

std::string counted(double n, std::string_view one, std::string_view plural = "s");

/// Words on lines of at most text_columns; lines after the first begin with `indent`. Keeps a word
/// that is too long whole.
std::string wrapped(std::string_view words, std::string_view indent);

/// What a result_table says about one result: shape, bound, evidence, pools.
std::string result_section(const Json& result, bool color);

/// "mixtral-d1 on o1, sequences of 4,096 tokens, global batch 192 (rule)", and an empty line.
std::string scenario_line(const Json& document);
/// The notes of a document, one after the other.
std::string notes_text(const Json& document, const Painter& paint);

}  // namespace zebroid
