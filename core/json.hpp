#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

namespace zebroid {

using Json = nlohmann::ordered_json;  ///< keeps the order in which keys were written

/// What an untrusted JSON text may contain; all checked before or while it is read.
struct JsonLimits {
  std::size_t bytes = std::size_t{256} << 20U;
  std::size_t depth = 64;
  std::size_t string_bytes = std::size_t{64} << 10U;
  std::size_t values = 10'000'000;
};

/// A parsed text and where it came from.
struct JsonDocument {
  std::string name;  ///< what errors call it: a path, or where the value was given
  std::string text;  ///< empty when the value was not read from a text
  Json root;

  /// Line of the value at a JSON pointer, counted from 1; nothing when there is no text or no such
  /// value.
  std::optional<std::size_t> line_of(const std::string& pointer) const;
  /// What the file says it is, its "schema"; "" when it says nothing.
  std::string schema() const;
};

/// Throws Error(input) naming `name` and line for anything that is not one JSON value within the
/// limits, including duplicate keys and numbers beyond double.
JsonDocument parse_json(std::string text, std::string name, const JsonLimits& limits = {});
JsonDocument read_json(const std::filesystem::path& path, const JsonLimits& limits = {});

/// Collects everything wrong with an input, each once, so that a person mends it in one go.
class Faults {
 public:
  void add(std::string fault) {
    if (seen_.insert(fault).second) faults_.push_back(std::move(fault));
  }
  bool empty() const { return faults_.empty(); }
  const std::vector<std::string>& all() const { return faults_; }
  /// Throws Error(input) with one line per fault, when there are any.
  void throw_if_any() const;

 private:
  std::vector<std::string> faults_;
  std::unordered_set<std::string> seen_;
};

/// A place in a document, with getters that check. A getter that finds something else than expected
/// adds a fault that names document, line, pointer, value and expectation, and returns the smallest
/// legal value so that reading goes on. The document and the faults outlive the view.
class JsonView {
 public:
  JsonView(const JsonDocument& document, Faults& faults)
      : document_(&document), faults_(&faults), value_(&document.root) {}

  /// Adds a fault for every key but these.
  void only_keys(const std::vector<std::string>& known) const;
  /// The member `key`, when present and not null. On anything but an object: a fault and nothing.
  std::optional<JsonView> find(std::string_view key) const;
  /// The member `key`; when absent a fault, and a view whose getters return defaults silently.
  JsonView at(std::string_view key) const;
  std::vector<JsonView> elements(std::size_t most = 1'000'000) const;
  std::vector<std::pair<std::string, JsonView>> members() const;

  std::int64_t integer(std::int64_t low, std::int64_t high) const;  ///< in [low, high]
  double number(double low, double high) const;                     ///< in [low, high], finite
  bool boolean() const;
  std::string text() const;
  /// One of `known`; the fault offers the nearest.
  std::string name_of(std::string_view what, const std::vector<std::string>& known) const;

  const Json& json() const { return *value_; }
  const std::string& pointer() const { return pointer_; }
  bool valid() const { return valid_; }
  /// "document:line: pointer".
  std::string where() const;
  /// Adds "document:line: pointer: message".
  void fault(std::string_view message) const;
  Faults& faults() const { return *faults_; }

 private:
  JsonView(const JsonView& parent, std::string_view key, const Json* value);
  void expected(std::string_view what) const;

  const JsonDocument* document_;
  Faults* faults_;
  const Json* value_;
  std::string pointer_;
  bool valid_ = true;
};

/// As JSON text, on one line unless `indent` >= 0. Bytes that are not UTF-8, as in the names of
/// some files, become U+FFFD.
std::string to_text(const Json& value, int indent = -1);

/// The value as one would write it in an error message: JSON, cut after about 60 characters.
std::string shown(const Json& value);

}  // namespace zebroid
