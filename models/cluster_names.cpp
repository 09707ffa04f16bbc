// What people type: names of clusters, the shorthand, bandwidths.

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <filesystem>

#include "core/error.hpp"
#include "models/cluster.hpp"
#include "models/config_dir.hpp"
#include "models/scaled.hpp"

namespace zebroid {
namespace {

constexpr std::string_view examples = "6xA40,6xV100-16GB or 2x8xA100-80GB";

bool is_space(char c) { return std::isspace(static_cast<unsigned char>(c)) != 0; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }
char lower(char c) { return static_cast<char>(std::tolower(static_cast<unsigned char>(c))); }

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  return text;
}

std::string cut(std::string_view text) {
  constexpr std::size_t longest_shown = 60;
  return text.size() <= longest_shown ? std::string(text)
                                      : std::string(text.substr(0, longest_shown)) + "...";
}

std::filesystem::path built_in_file(const std::string& name) {
  return config_dir() / "clusters" / (name + ".json");
}

std::vector<std::string> built_in_names() {
  std::vector<std::string> out;
  std::error_code ignored;
  for (const auto& entry :
       std::filesystem::directory_iterator(config_dir() / "clusters", ignored)) {
    if (entry.path().extension() == ".json") out.push_back(entry.path().stem().string());
  }
  std::sort(out.begin(), out.end());
  return out;
}

bool names_a_file(const std::string& text) {
  std::error_code ignored;
  return text.find('/') != std::string::npos ||
         std::filesystem::path(text).extension() == ".json" ||
         std::filesystem::is_regular_file(text, ignored);
}

Cluster read(const JsonDocument& document, const std::string& name) {
  Faults faults;
  Cluster out = read_cluster(JsonView(document, faults));
  faults.throw_if_any();
  if (out.name.empty()) out.name = name;
  return out;
}

Cluster read_cluster_file(const std::filesystem::path& path) {
  constexpr JsonLimits limits{.bytes = std::size_t{16} << 20U, .depth = 16, .values = 1'000'000};
  return read(read_json(path, limits), path.stem().string());
}

bool looks_like_shorthand(std::string_view text) {
  for (std::size_t i = 1; i < text.size(); ++i) {
    if (lower(text[i]) == 'x' && is_digit(text[i - 1])) return true;
  }
  return false;
}

/// Takes "12x" off the front of `rest`. Numbers beyond any limit come back as one that is, too.
std::optional<std::int64_t> take_factor(std::string_view& rest) {
  constexpr std::int64_t most = 1'000'000'000;
  std::int64_t number = 0;
  const char* const end = rest.data() + rest.size();
  const auto [at, failure] = std::from_chars(rest.data(), end, number);
  if (rest.empty() || !is_digit(rest.front()) || at == end || lower(*at) != 'x') return {};
  rest.remove_prefix(static_cast<std::size_t>(at - rest.data()) + 1);
  return failure == std::errc() ? std::min(number, most) : most;
}

/// A row of a cluster file; nothing when the text is not of that form.
std::optional<Json> parse_item(std::string_view text) {
  const auto nodes = take_factor(text);
  if (!nodes) return std::nullopt;
  const auto per_node = take_factor(text);
  if (text.empty()) return std::nullopt;
  return Json{{"kind", std::string(text)},
              {"count", *nodes * per_node.value_or(1)},
              {"gpus_per_node", per_node.value_or(1)}};
}

Cluster parse_shorthand(const std::string& text) {
  Json rows = Json::array();
  Faults faults;
  for (std::string_view rest = text;;) {
    const std::size_t comma = rest.find(',');
    const std::string_view item = trimmed(rest.substr(0, comma));
    if (auto row = parse_item(item)) {
      rows.push_back(std::move(*row));
    } else if (faults.all().size() < 100) {
      faults.add(fmt::format("{}: '{}': expected COUNTxGPU or NODESxPERxGPU, as in {}", cut(text),
                             cut(item), examples));
    }
    if (comma == std::string_view::npos) break;
    rest.remove_prefix(comma + 1);
  }
  faults.throw_if_any();
  Cluster out =
      read({cut(text), "", {{"schema", "zebroid.cluster/1"}, {"gpus", std::move(rows)}}}, "");
  std::vector<std::string> items;
  items.reserve(out.rows.size());
  for (const NodeGroup& row : out.rows) {
    items.push_back(row.gpus_per_node == 1 ? fmt::format("{}x{}", row.count, row.gpu)
                                           : fmt::format("{}x{}x{}", row.count / row.gpus_per_node,
                                                         row.gpus_per_node, row.gpu));
  }
  out.name = fmt::format("{}", fmt::join(items, ","));
  return out;
}

/// The GPU that a word may mean.
std::string gpu_near(const std::string& word, const std::vector<std::string>& clusters) {
  const std::vector<GpuSpec>& gpus = gpu_catalogue();
  const std::vector<std::string> variants = variants_of(word, gpus);
  if (!variants.empty()) return variants.front();
  std::vector<std::string> all = clusters;
  for (const GpuSpec& gpu : gpus) all.push_back(gpu.name);
  const std::string near = nearest(word, all);
  return std::find(clusters.begin(), clusters.end(), near) == clusters.end() ? near : "";
}

[[noreturn]] void refuse_word(const std::string& word) {
  const std::vector<std::string> clusters = built_in_names();
  const std::string gpu = gpu_near(word, clusters);
  if (!gpu.empty()) {
    throw Error(
        ErrorKind::input,
        fmt::format("unknown cluster '{}'; did you mean GPUs, as in 4x{}?", cut(word), gpu));
  }
  throw Error(ErrorKind::input, fmt::format("{} Or give a JSON file, or GPUs as in {}.",
                                            unknown_name("cluster", word, clusters), examples));
}

Cluster load(const std::string& text) {
  if (names_a_file(text)) return read_cluster_file(text);
  const std::vector<std::string> names = built_in_names();
  if (std::find(names.begin(), names.end(), text) != names.end()) {
    return read_cluster_file(built_in_file(text));
  }
  if (looks_like_shorthand(text)) return parse_shorthand(text);
  std::error_code ignored;
  if (std::filesystem::exists(text, ignored)) return read_cluster_file(text);
  refuse_word(text);
}

/// Bytes per second of one unit.
std::optional<double> scale_of(std::string_view unit) {
  constexpr std::array<std::string_view, 4> bits = {"bps", "b/s", "bit/s", "bits/s"};
  constexpr std::array<std::string_view, 2> bytes = {"Bps", "B/s"};
  constexpr std::string_view prefixes = "kmgt";
  double scale = 1;
  const std::size_t prefix =
      unit.empty() ? std::string_view::npos : prefixes.find(lower(unit.front()));
  if (prefix != std::string_view::npos) {
    for (std::size_t i = 0; i <= prefix; ++i) scale *= 1e3;
    unit.remove_prefix(1);
  }
  if (std::find(bytes.begin(), bytes.end(), unit) != bytes.end()) return scale;
  if (std::find(bits.begin(), bits.end(), unit) != bits.end()) return scale / 8;
  return std::nullopt;
}

}  // namespace

Cluster load_cluster(const std::string& file_or_name_or_shorthand,
                     std::optional<BytesPerSecond> network) {
  Cluster out = load(file_or_name_or_shorthand);
  if (!network) return out;
  out.nic = *network;
  for (NodeGroup& row : out.rows) row.nic.reset();
  std::erase(out.notes, assumed_network_note());
  return out;
}

BytesPerSecond parse_bandwidth(const std::string& text) {
  constexpr double giga = 1e9;
  const std::string_view stated = trimmed(text);
  double number = 0;
  const char* const end = stated.data() + stated.size();
  const auto [at, failure] = std::from_chars(stated.data(), end, number);
  const bool is_number = !stated.empty() && (is_digit(stated.front()) || stated.front() == '.');
  const auto scale = scale_of(trimmed({at, static_cast<std::size_t>(end - at)}));
  if (!is_number || at == stated.data() || !scale) {
    throw Error(ErrorKind::input,
                fmt::format("bandwidth '{}': expected a number with its unit, as in 100Gbps or "
                            "12.5GB/s (b are bits, B are bytes)",
                            cut(text)));
  }
  const double rate = number * *scale;
  if (failure != std::errc() || rate < least_giga * giga / 8 || rate > most_giga * giga) {
    throw Error(ErrorKind::input, fmt::format("bandwidth '{}': expected {}Gbps to {}GB/s",
                                              cut(text), least_giga, most_giga));
  }
  return {rate};
}

}  // namespace zebroid
