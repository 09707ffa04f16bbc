#include "core/json.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <set>

#include "core/error.hpp"
#include "core/file.hpp"

namespace zebroid {
namespace {

/// Walks a text and counts lines, so that the SAX handler knows where it is.
class CountingIterator {
 public:
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = const char&;

  CountingIterator(const char* at, std::size_t* lines, char* last)
      : at_(at), lines_(lines), last_(last) {}
  const char& operator*() const { return *at_; }
  CountingIterator& operator++() {
    *last_ = *at_;
    if (*at_ == '\n') ++*lines_;
    ++at_;
    return *this;
  }
  CountingIterator operator++(int) {
    CountingIterator old = *this;
    ++*this;
    return old;
  }
  bool operator==(const CountingIterator& other) const { return at_ == other.at_; }
  bool operator!=(const CountingIterator& other) const { return at_ != other.at_; }

 private:
  const char* at_;
  std::size_t* lines_;
  char* last_;
};

std::string escaped(std::string_view key) {
  std::string out;
  for (const char c : key) {
    if (c == '~') {
      out += "~0";
    } else if (c == '/') {
      out += "~1";
    } else {
      out += c;
    }
  }
  return out;
}

/// Builds the value within limits. With a wanted pointer it also notes the line where that value
/// begins.
class Builder final : public nlohmann::json_sax<Json> {
 public:
  Builder(const JsonLimits& limits, const std::size_t& newlines, const char& last)
      : limits_(limits), newlines_(newlines), last_(last) {}

  bool null() override { return scalar(Json(nullptr)); }
  bool boolean(bool v) override { return scalar(Json(v)); }
  bool number_integer(number_integer_t v) override { return scalar(Json(v), true); }
  bool number_unsigned(number_unsigned_t v) override { return scalar(Json(v), true); }
  bool number_float(number_float_t v, const string_t& /*source*/) override {
    return scalar(Json(v), true);
  }
  bool binary(binary_t& /*v*/) override { return fail("binary values are not JSON"); }
  bool string(string_t& v) override {
    if (v.size() > limits_.string_bytes) {
      return fail(fmt::format("a string is longer than {} bytes", limits_.string_bytes));
    }
    return scalar(Json(std::move(v)));
  }
  bool key(string_t& k) override {
    if (k.size() > limits_.string_bytes) {
      return fail(fmt::format("a key is longer than {} bytes", limits_.string_bytes));
    }
    if (!keys_.back().insert(k).second) return fail(fmt::format("duplicate key \"{}\"", k));
    keys_now_.back() = std::move(k);
    return true;
  }
  bool start_object(std::size_t /*size*/) override { return open(Json::object()); }
  bool start_array(std::size_t /*size*/) override { return open(Json::array()); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }
  bool parse_error(std::size_t /*position*/, const std::string& /*token*/,
                   const nlohmann::detail::exception& error) override {
    std::string message =
        error.what();  // "[json.exception.parse_error.101] parse error at line 1, column 2: ..."
    if (const auto colon = message.find(": "); colon != std::string::npos) {
      message = message.substr(colon + 2);
    }
    return fail(message);
  }

  Json root;
  std::string failure;
  std::size_t failure_line = 0;
  std::string wanted;
  std::optional<std::size_t> wanted_line;
  bool look_for_line = false;

 private:
  bool fail(std::string message) {
    failure = std::move(message);
    failure_line = line(false);
    return false;
  }

  /// A number is complete only once the character after it was seen, which may be the end of its
  /// line.
  std::size_t line(bool after_number) const {
    return newlines_ + 1 - (after_number && last_ == '\n' ? 1 : 0);
  }

  /// Which element of the open array i is being read: of all but the innermost, the last one, which
  /// is open itself.
  std::size_t index_in(std::size_t i) const {
    return open_[i]->size() - (i + 1 < open_.size() ? 1 : 0);
  }

  void note_line(bool after_number) {
    if (!look_for_line || wanted_line) return;
    std::string here;
    for (std::size_t i = 0; i < open_.size(); ++i) {
      here += '/';
      here += open_[i]->is_array() ? std::to_string(index_in(i)) : escaped(keys_now_[i]);
    }
    if (here == wanted) wanted_line = line(after_number);
  }

  Json* add(Json&& value) {
    if (open_.empty()) {
      root = std::move(value);
      return &root;
    }
    if (open_.back()->is_array()) {
      open_.back()->push_back(std::move(value));
      return &open_.back()->back();
    }
    // Past operator[], which searches linearly: duplicates were refused with the key.
    auto& members = *open_.back()->get_ptr<Json::object_t*>();
    members.Json::object_t::Container::emplace_back(keys_now_.back(), std::move(value));
    return &members.back().second;
  }

  bool count() {
    if (++values_ <= limits_.values) return true;
    return fail(fmt::format("more than {} values", limits_.values));
  }

  bool scalar(Json&& value, bool number = false) {
    if (!count()) return false;
    note_line(number);
    add(std::move(value));
    return true;
  }

  bool open(Json&& value) {
    if (!count()) return false;
    if (open_.size() >= limits_.depth) {
      return fail(fmt::format("nested deeper than {} levels", limits_.depth));
    }
    note_line(false);
    open_.push_back(add(std::move(value)));
    keys_.emplace_back();
    keys_now_.emplace_back();
    return true;
  }

  bool close() {
    open_.pop_back();
    keys_.pop_back();
    keys_now_.pop_back();
    return true;
  }

  const JsonLimits& limits_;
  const std::size_t& newlines_;
  const char& last_;
  std::size_t values_ = 0;
  std::vector<Json*> open_;  // stable: only the innermost container grows
  std::vector<std::set<std::string>> keys_;
  std::vector<std::string> keys_now_;
};

struct Parsed {
  Json root;
  std::optional<std::size_t> wanted_line;
};

Parsed parse(const std::string& text, const std::string& name, const JsonLimits& limits,
             const std::string* wanted) {
  if (text.size() > limits.bytes) {
    throw Error(ErrorKind::input,
                fmt::format("{}: longer than the limit of {} bytes", name, limits.bytes));
  }
  if (text.find('\0') != std::string::npos) {
    throw Error(ErrorKind::input, fmt::format("{}: expected JSON, got a binary file", name));
  }
  std::size_t newlines = 0;
  char last = ' ';
  Builder builder(limits, newlines, last);
  builder.look_for_line = wanted != nullptr;
  if (wanted != nullptr) builder.wanted = *wanted;
  const CountingIterator begin(text.data(), &newlines, &last);
  const CountingIterator end(text.data() + text.size(), &newlines, &last);
  if (!Json::sax_parse(begin, end, &builder)) {
    throw Error(ErrorKind::input, fmt::format("{}:{}: not valid JSON: {}", name,
                                              builder.failure_line, builder.failure));
  }
  return {std::move(builder.root), builder.wanted_line};
}

}  // namespace

std::optional<std::size_t> JsonDocument::line_of(const std::string& pointer) const {
  if (text.empty()) return std::nullopt;
  JsonLimits unlimited;  // it was within its limits once
  unlimited.bytes = unlimited.depth = unlimited.string_bytes = unlimited.values = SIZE_MAX;
  return parse(text, name, unlimited, &pointer).wanted_line;
}

JsonDocument parse_json(std::string text, std::string name, const JsonLimits& limits) {
  Parsed parsed = parse(text, name, limits, nullptr);
  return {std::move(name), std::move(text), std::move(parsed.root)};
}

std::string JsonDocument::schema() const {
  if (!root.is_object()) return "";
  const auto found = root.find("schema");
  return found != root.end() && found->is_string() ? found->get<std::string>() : "";
}

JsonDocument read_json(const std::filesystem::path& path, const JsonLimits& limits) {
  return parse_json(read_file(path, limits.bytes), path.string(), limits);
}

void Faults::throw_if_any() const {
  if (faults_.empty()) return;
  constexpr std::size_t most_shown = 20;
  std::string message;
  for (std::size_t i = 0; i < std::min(faults_.size(), most_shown); ++i) {
    if (i > 0) message += '\n';
    message += faults_[i];
  }
  if (faults_.size() > most_shown) {
    message += fmt::format("\n... and {} more", faults_.size() - most_shown);
  }
  throw Error(ErrorKind::input, message);
}

JsonView::JsonView(const JsonView& parent, std::string_view key, const Json* value)
    : document_(parent.document_),
      faults_(parent.faults_),
      value_(value),
      pointer_(parent.pointer_ + "/" + escaped(key)),
      valid_(parent.valid_) {}

std::string JsonView::where() const {
  constexpr std::size_t most_lines = 20;  // finding a line reads the text again
  const std::optional<std::size_t> line = faults_->all().size() < most_lines
                                              ? document_->line_of(pointer_)
                                              : std::optional<std::size_t>();
  const std::string document =
      line ? fmt::format("{}:{}", document_->name, *line) : document_->name;
  return fmt::format("{}: {}", document, pointer_.empty() ? "/" : pointer_);
}

void JsonView::fault(std::string_view message) const {
  if (valid_) faults_->add(fmt::format("{}: {}", where(), message));
}

void JsonView::expected(std::string_view what) const {
  fault(fmt::format("expected {}, got {}", what, shown(*value_)));
}

void JsonView::only_keys(const std::vector<std::string>& known) const {
  if (!valid_) return;
  if (!value_->is_object()) return expected("an object");
  for (const auto& [key, value] : value_->items()) {
    if (std::find(known.begin(), known.end(), key) != known.end() || key == "$schema") continue;
    JsonView(*this, key, &value).fault(unknown_name("key", key, known));
  }
}

std::optional<JsonView> JsonView::find(std::string_view key) const {
  if (!valid_) return std::nullopt;
  if (!value_->is_object()) {
    expected("an object");
    return std::nullopt;
  }
  const auto found = value_->find(key);
  if (found == value_->end() || found->is_null()) return std::nullopt;
  return JsonView(*this, key, &*found);
}

JsonView JsonView::at(std::string_view key) const {
  if (auto found = find(key)) return *found;
  if (valid_ && value_->is_object()) fault(fmt::format("key \"{}\" is missing", key));
  static const Json nothing;
  JsonView missing(*this, key, &nothing);
  missing.valid_ = false;
  return missing;
}

std::vector<JsonView> JsonView::elements(std::size_t most) const {
  std::vector<JsonView> out;
  if (!valid_) return out;
  if (!value_->is_array()) {
    expected("an array");
    return out;
  }
  if (value_->size() > most) {
    fault(fmt::format("expected at most {} elements, got {}", most, value_->size()));
    return out;
  }
  for (std::size_t i = 0; i < value_->size(); ++i) {
    out.push_back(JsonView(*this, std::to_string(i), &(*value_)[i]));
  }
  return out;
}

std::vector<std::pair<std::string, JsonView>> JsonView::members() const {
  std::vector<std::pair<std::string, JsonView>> out;
  if (!valid_) return out;
  if (!value_->is_object()) {
    expected("an object");
    return out;
  }
  for (const auto& [key, value] : value_->items()) {
    out.emplace_back(key, JsonView(*this, key, &value));
  }
  return out;
}

std::int64_t JsonView::integer(std::int64_t low, std::int64_t high) const {
  if (!valid_) return low;
  const bool is_signed = value_->is_number_integer() && !value_->is_number_unsigned();
  const bool fits = value_->is_number_unsigned()
                        ? value_->get<std::uint64_t>() <= static_cast<std::uint64_t>(INT64_MAX)
                        : is_signed;
  if (fits) {
    const auto got = value_->get<std::int64_t>();
    if (got >= low && got <= high) return got;
    if (got >= low) {
      expected(fmt::format("an integer <= {}", high));
      return low;
    }
  }
  expected(fmt::format("an integer >= {}", low));
  return low;
}

double JsonView::number(double low, double high) const {
  if (!valid_) return low;
  if (value_->is_number()) {
    const auto got = value_->get<double>();
    if (std::isfinite(got) && got >= low && got <= high) return got;
  }
  expected(fmt::format("a number from {} to {}", low, high));
  return low;
}

bool JsonView::boolean() const {
  if (!valid_) return false;
  if (value_->is_boolean()) return value_->get<bool>();
  expected("true or false");
  return false;
}

std::string JsonView::text() const {
  if (!valid_) return "";
  if (value_->is_string()) return value_->get<std::string>();
  expected("a string");
  return "";
}

std::string JsonView::name_of(std::string_view what, const std::vector<std::string>& known) const {
  if (!valid_) return known.front();
  if (!value_->is_string()) {
    expected(fmt::format("the name of a {}", what));
    return known.front();
  }
  auto got = value_->get<std::string>();
  if (std::find(known.begin(), known.end(), got) != known.end()) return got;
  fault(unknown_name(what, got, known));
  return known.front();
}

std::string to_text(const Json& value, int indent) {
  return value.dump(indent, ' ', false, Json::error_handler_t::replace);
}

std::string shown(const Json& value) {
  constexpr std::size_t most = 60;
  if (value.is_object()) return fmt::format("an object with {} keys", value.size());
  if (value.is_array()) return fmt::format("an array of {} elements", value.size());
  std::string out = to_text(value);
  if (out.size() > most) {
    out.resize(most);
    while (!out.empty() && (static_cast<unsigned char>(out.back()) & 0xC0U) == 0x80U)
      out.pop_back();
    out += "...";
  }
  return out;
}

}  // namespace zebroid
