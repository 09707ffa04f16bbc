#include "models/training.hpp"

#include <algorithm>
#include <array>

namespace zebroid {
namespace {

const std::vector<std::string> recompute_names = {"auto", "none", "module", "layer"};
const std::vector<std::string> optimizer_names = {"adamw", "adamw-8bit"};

template <class Enum>
Enum read_enum(const JsonView& view, std::string_view what, const std::vector<std::string>& names) {
  const auto found = std::find(names.begin(), names.end(), view.name_of(what, names));
  return static_cast<Enum>(found - names.begin());
}

/// true, false, or "auto".
std::optional<bool> read_sharding(const JsonView& view) {
  if (view.json().is_boolean()) return view.boolean();
  if (!view.json().is_string()) {
    view.fault("expected true, false or auto");
  } else {
    view.name_of("optimizer sharding", {"auto"});
  }
  return std::nullopt;
}

}  // namespace

Training read_training(const JsonView& view) {
  constexpr std::int64_t longest = std::int64_t{1} << 24;
  constexpr std::int64_t most_sequences = std::int64_t{1} << 32;
  view.only_keys({"sequence_length", "global_batch_sequences", "recompute", "optimizer",
                  "optimizer_sharding"});
  Training out;
  if (const auto v = view.find("sequence_length")) {
    out.sequence_length = static_cast<std::uint32_t>(v->integer(1, longest));
  }
  if (const auto v = view.find("global_batch_sequences")) {
    out.global_batch_sequences = static_cast<std::uint64_t>(v->integer(0, most_sequences));
  }
  if (const auto v = view.find("recompute")) {
    out.recompute = read_enum<Recompute>(*v, "recompute mode", recompute_names);
  }
  if (const auto v = view.find("optimizer")) {
    out.optimizer = read_enum<Optimizer>(*v, "optimizer", optimizer_names);
  }
  if (const auto v = view.find("optimizer_sharding")) out.optimizer_sharding = read_sharding(*v);
  return out;
}

Json to_json(const Training& training) {
  Json out;
  out["sequence_length"] = training.sequence_length;
  out["global_batch_sequences"] = training.global_batch_sequences;
  out["recompute"] = recompute_names[static_cast<std::size_t>(training.recompute)];
  out["optimizer"] = optimizer_names[static_cast<std::size_t>(training.optimizer)];
  if (training.optimizer_sharding) {
    out["optimizer_sharding"] = *training.optimizer_sharding;
  } else {
    out["optimizer_sharding"] = "auto";
  }
  return out;
}

}  // namespace zebroid
