#include "models/gpu.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cctype>

#include "core/error.hpp"
#include "models/config_dir.hpp"
#include "models/scaled.hpp"

namespace zebroid {
namespace {

constexpr double giga = 1e9;
constexpr double tera = 1e12;

/// A quantity as files state it: number = value / unit.
struct Field {
  const char* key;
  double unit;
  double low;
  double high;
  double& (*value)(GpuSpec&);
};

constexpr std::array<Field, 7> fields = {{
    {"half_tflops", tera, least_giga, most_giga,
     [](GpuSpec& gpu) -> double& { return gpu.half_peak.value; }},
    {"single_tflops", tera, least_giga, most_giga,
     [](GpuSpec& gpu) -> double& { return gpu.single_peak.value; }},
    {"memory_GBps", giga, least_giga, most_giga,
     [](GpuSpec& gpu) -> double& { return gpu.memory_bandwidth.value; }},
    {"memory_GiB", gibibytes(1).value, least_giga, most_giga,
     [](GpuSpec& gpu) -> double& { return gpu.memory.value; }},
    {"link_GBps", giga, 0, most_giga, [](GpuSpec& gpu) -> double& { return gpu.link.value; }},
    {"pcie_GBps", giga, least_giga, most_giga,
     [](GpuSpec& gpu) -> double& { return gpu.pcie.value; }},
    {"compute_capability", 1, 1, 100,
     [](GpuSpec& gpu) -> double& { return gpu.compute_capability; }},
}};

const std::vector<std::string>& known_keys() {
  static const std::vector<std::string> keys = [] {
    std::vector<std::string> out = {"like",  "link_gpus",      "bf16",   "flash_attention",
                                    "watts", "price_per_hour", "source", "sm_share_of_exchanges"};
    for (const Field& field : fields) out.emplace_back(field.key);
    return out;
  }();
  return keys;
}

bool same_but_for_case(const std::string& a, const std::string& b) {
  const auto same = [](unsigned char x, unsigned char y) {
    return std::tolower(x) == std::tolower(y);
  };
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), same);
}

/// The value at `key`; without `base` the key has to be there.
std::optional<JsonView> look_up(const JsonView& view, const char* key, const GpuSpec* base) {
  return base == nullptr ? view.at(key) : view.find(key);
}

/// null says that there is none, also where the base has one.
void read_optional(const JsonView& view, const char* key, std::optional<double>& out) {
  constexpr double most = 1e9;
  if (const auto number = view.find(key)) {
    out = number->number(0, most);
  } else if (view.json().is_object() && view.json().contains(key)) {
    out.reset();
  }
}

GpuSpec read_with_base(const JsonView& view, const std::string& name, const GpuSpec* base) {
  constexpr double most_share = 0.95;
  constexpr std::int64_t most_linked = 65536;
  view.only_keys(known_keys());
  GpuSpec out = base == nullptr ? GpuSpec{} : *base;
  out.name = name;
  for (const Field& field : fields) {
    const auto number = look_up(view, field.key, base);
    if (number) field.value(out) = number->number(field.low, field.high) * field.unit;
  }
  if (out.link.value > 0 && out.link.value < least_giga * giga) {
    view.at("link_GBps").fault(fmt::format("expected 0 or at least {}", least_giga));
  }
  if (const auto gpus = view.find("link_gpus")) {
    out.link_gpus = static_cast<std::uint32_t>(gpus->integer(0, most_linked));
  }
  if (const auto flag = look_up(view, "bf16", base)) out.bf16 = flag->boolean();
  if (const auto flag = look_up(view, "flash_attention", base)) {
    out.flash_attention = flag->boolean();
  }
  if (const auto share = view.find("sm_share_of_exchanges")) {
    out.sm_share_of_exchanges = share->number(0, most_share);
  }
  read_optional(view, "watts", out.watts);
  read_optional(view, "price_per_hour", out.price_per_hour);
  const auto source = view.find("source");
  if (source) {
    out.source = source->text();
  } else if (base != nullptr && view.json().size() > (view.find("like") ? 1U : 0U)) {
    out.source = fmt::format("as described, the rest like {}", base->name);
  }
  return out;
}

std::vector<GpuSpec> read_catalogue() {
  const JsonDocument document = read_json(config_dir() / "gpus.json");
  Faults faults;
  const JsonView root(document, faults);
  root.only_keys({"schema", "gpus"});
  root.at("schema").name_of("schema", {"zebroid.gpus/1"});
  std::vector<GpuSpec> out;
  for (const auto& [name, view] : root.at("gpus").members()) {
    if (view.find("like")) view.at("like").fault("the catalogue states every figure");
    out.push_back(read_with_base(view, name, nullptr));
  }
  if (out.empty()) root.at("gpus").fault("expected at least one GPU");
  faults.throw_if_any();
  return out;
}

}  // namespace

const std::vector<GpuSpec>& gpu_catalogue() {
  static const std::vector<GpuSpec> catalogue = read_catalogue();
  return catalogue;
}

std::optional<std::size_t> position_of(const std::string& name, const std::vector<GpuSpec>& gpus) {
  const auto position = [&](auto found) { return static_cast<std::size_t>(found - gpus.begin()); };
  const auto exact =
      std::find_if(gpus.begin(), gpus.end(), [&](const GpuSpec& gpu) { return gpu.name == name; });
  if (exact != gpus.end()) return position(exact);
  const auto alike = std::find_if(gpus.begin(), gpus.end(), [&](const GpuSpec& gpu) {
    return same_but_for_case(gpu.name, name);
  });
  if (alike != gpus.end()) return position(alike);
  return std::nullopt;
}

std::vector<std::string> variants_of(const std::string& name, const std::vector<GpuSpec>& gpus) {
  std::vector<std::string> out;
  if (name.empty()) return out;
  for (const GpuSpec& gpu : gpus) {
    const bool goes_on = gpu.name.size() > name.size() && gpu.name[name.size()] == '-';
    if (goes_on && same_but_for_case(gpu.name.substr(0, name.size()), name)) {
      out.push_back(gpu.name);
    }
  }
  return out;
}

std::string unknown_gpu(const std::string& name, const std::vector<GpuSpec>& gpus) {
  const std::vector<std::string> variants = variants_of(name, gpus);
  if (!variants.empty()) {
    return fmt::format("unknown GPU '{}'; which of {}?", name, fmt::join(variants, ", "));
  }
  std::vector<std::string> names;
  names.reserve(gpus.size());
  for (const GpuSpec& gpu : gpus) names.push_back(gpu.name);
  return unknown_name("GPU", name, names);
}

const GpuSpec& find_gpu(const std::string& name) {
  const std::vector<GpuSpec>& catalogue = gpu_catalogue();
  if (const auto found = position_of(name, catalogue)) return catalogue[*found];
  throw Error(ErrorKind::input, unknown_gpu(name, catalogue));
}

GpuSpec read_gpu(const JsonView& view, const std::string& name) {
  const std::vector<GpuSpec>& catalogue = gpu_catalogue();
  const auto like = view.find("like");
  const auto base = position_of(like ? like->text() : name, catalogue);
  if (like && !base) {
    if (like->json().is_string()) {
      like->fault(unknown_gpu(like->text(), catalogue));
    }
    return GpuSpec{.name = name};
  }
  GpuSpec out = read_with_base(view, name, base ? &catalogue[*base] : nullptr);
  if (like) out.like = catalogue[*base].name;
  return out;
}

Json to_json(const GpuSpec& gpu) {
  GpuSpec copy = gpu;
  Json out;
  if (!gpu.like.empty()) out["like"] = gpu.like;
  for (const Field& field : fields) {
    const double value = field.value(copy);
    out[field.key] =
        as_written(value, value / field.unit, [&](double number) { return number * field.unit; });
  }
  out["link_gpus"] = gpu.link_gpus;
  out["bf16"] = gpu.bf16;
  out["flash_attention"] = gpu.flash_attention;
  out["sm_share_of_exchanges"] = gpu.sm_share_of_exchanges;
  out["watts"] = gpu.watts ? Json(*gpu.watts) : Json();
  out["price_per_hour"] = gpu.price_per_hour ? Json(*gpu.price_per_hour) : Json();
  out["source"] = gpu.source;
  return out;
}

}  // namespace zebroid
