#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/json.hpp"

namespace zebroid {

/// The keys of a Hugging Face config.json, looked up by aliases. Remembers which keys were asked
/// for, so that a key that nobody asked for and that sounds like architecture can be refused
/// instead of overlooked. Part of read_model.
class HfKeys {
 public:
  using Aliases = std::span<const std::string_view>;  ///< tried in order; "ffn_config.moe_top_k"
                                                      ///< looks inside an object
  struct Found {
    std::string_view key;
    JsonView value;
  };
  struct Range {
    std::uint32_t low = 1;
    std::uint32_t high = 1;
  };

  /// Descends into text_config and the like where the language model is nested. `top` outlives the
  /// object.
  explicit HfKeys(const JsonView& top);

  /// The first alias that is present and not null. Adds a fault when another one contradicts it.
  std::optional<Found> find(Aliases aliases);
  std::optional<JsonView> find(std::string_view key);
  /// The same, also outside the nested object.
  std::optional<JsonView> find_anywhere(std::string_view key);
  /// An integer in the range, or an array that repeats one (a value per layer).
  std::optional<std::uint32_t> number_if_any(Aliases aliases, Range range);
  std::optional<std::uint32_t> number_if_any(std::string_view key, Range range);
  /// Adds a fault that names all aliases when there is none.
  std::uint32_t number(Aliases aliases, Range range);
  bool flag(std::string_view key, bool otherwise);
  /// One integer or boolean per layer. Nothing when the key is absent or faulty.
  std::optional<std::vector<std::uint32_t>> per_layer(std::string_view key, std::uint32_t layers,
                                                      Range range);

  /// Calls `read` on the elements of a list until one has a fault: lists of many faults would be
  /// slow to report.
  void each(const JsonView& list, const std::function<void(const JsonView&)>& read) const;

  /// Keys at the language model's level that are not off and contain `part`.
  std::vector<std::string> keys_with(std::string_view part) const;
  /// Adds a fault for every key that was not asked for, is not off and sounds like architecture.
  void refuse_unread() const;

  /// The language model's object, for faults about what it lacks.
  const JsonView& language() const { return levels_.back(); }
  /// No fault so far: values can be compared with each other.
  bool clean() const { return language().faults().empty(); }

  void note(std::string text) { notes_.push_back(std::move(text)); }
  const std::vector<std::string>& notes() const { return notes_; }

 private:
  void refuse_unread_in(const JsonView& object) const;
  bool was_read(const std::string& pointer) const;  ///< or a value inside it

  std::vector<JsonView> levels_;  ///< the document, then what it nests
  std::set<std::string> read_;    ///< pointers
  std::vector<std::string> notes_;
};

/// null, false, 0, "", [] or {}: how configs say that a feature is not used.
bool is_off(const Json& value);

}  // namespace zebroid
