#include "traces/flat_json.hpp"

#include <algorithm>
#include <utility>

#include "core/json.hpp"
#include "traces/complaints.hpp"

namespace zebroid {
namespace {

constexpr const char* no_object = "expected an object of numbers and strings, got ";

class Collector final : public nlohmann::json_sax<Json> {
 public:
  explicit Collector(FlatObject& out) : out_(out) {}

  bool null() override { return open_ || fail("null"); }
  bool boolean(bool value) override { return fail(value ? "true" : "false"); }
  bool number_integer(number_integer_t value) override { return add(std::to_string(value), false); }
  bool number_unsigned(number_unsigned_t value) override {
    return add(std::to_string(value), false);
  }
  bool number_float(number_float_t /*value*/, const string_t& written) override {
    std::string text = written;
    std::replace(text.begin(), text.end(), ',', '.');  // the parser puts in the locale's point
    return add(std::move(text), false);
  }
  bool string(string_t& value) override { return add(std::move(value), true); }
  bool binary(binary_t& /*value*/) override { return fail("bytes"); }
  bool key(string_t& value) override {
    key_ = std::move(value);
    return true;
  }
  bool start_object(std::size_t /*size*/) override {
    return std::exchange(open_, true) ? fail("an object in it") : true;
  }
  bool end_object() override { return true; }
  bool start_array(std::size_t /*size*/) override { return fail("an array"); }
  bool end_array() override { return true; }
  bool parse_error(std::size_t /*position*/, const std::string& /*token*/,
                   const nlohmann::detail::exception& /*error*/) override {
    return fail("text that is not valid JSON");
  }

 private:
  bool fail(const char* what) {
    out_.fault = std::string(no_object) + what;
    return false;
  }
  bool add(std::string text, bool is_string) {
    if (!open_) return fail(is_string ? "a string" : "a number");
    out_.members.push_back({key_, std::move(text), is_string});
    return true;
  }

  FlatObject& out_;
  bool open_ = false;
  std::string key_;
};

}  // namespace

const FlatMember* FlatObject::find(std::string_view key) const {
  const auto found = std::find_if(members.begin(), members.end(),
                                  [key](const FlatMember& member) { return member.key == key; });
  return found == members.end() ? nullptr : &*found;
}

FlatObject parse_flat_json(std::string_view text) {
  FlatObject out;
  Collector collector(out);
  Json::sax_parse(text.begin(), text.end(), &collector);
  return out;
}

}  // namespace zebroid
