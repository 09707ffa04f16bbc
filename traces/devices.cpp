#include "traces/devices.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <filesystem>
#include <utility>
#include <vector>

#include "models/gpu.hpp"

namespace zebroid {
namespace {

using Words = std::vector<std::string>;

/// The words of a name, in upper case and sorted.
Words words_of(std::string_view text, std::string_view separators) {
  Words out;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find_first_of(separators), text.size());
    std::string word(text.substr(0, end));
    for (char& c : word) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    if (!word.empty()) out.push_back(std::move(word));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  std::sort(out.begin(), out.end());
  return out;
}

bool has(const Words& words, std::string_view word) {
  return std::binary_search(words.begin(), words.end(), word, std::less<>());
}

/// Words of a device, without the maker's, to the catalogue's name. All words count: an
/// "A100-PCIE-40GB" or a "H100 NVL" is another card.
constexpr std::array<std::pair<std::string_view, std::string_view>, 22> devices = {
    {{"A40", "A40"},
     {"V100-PCIE-16GB", "V100-16GB"},
     {"V100-PCIE-32GB", "V100-32GB"},
     {"V100-SXM2-16GB", "V100-SXM2-16GB"},
     {"V100-SXM2-32GB", "V100-SXM2-32GB"},
     {"T4", "T4"},
     {"L4", "L4"},
     {"L40S", "L40S"},
     {"A10G", "A10G"},
     {"A100-SXM4-40GB", "A100-40GB"},
     {"A100-SXM4-80GB", "A100-80GB"},
     {"A100-SXM-40GB", "A100-40GB"},
     {"A100-SXM-80GB", "A100-80GB"},
     {"A100-PCIE-80GB", "A100-PCIe-80GB"},
     {"H100-80GB-HBM3", "H100"},
     {"H100-SXM5-80GB", "H100"},
     {"H100-SXM5-80GB-HBM3", "H100"},
     {"H100-PCIE", "H100-PCIe"},
     {"H100-PCIE-80GB", "H100-PCIe"},
     {"H200", "H200"},
     {"H200-SXM", "H200"},
     {"B200", "B200"}}};

/// First word of a catalogue name, and the others: V100, {SXM2, 16GB}.
std::pair<std::string, Words> split_name(const std::string& name) {
  const std::size_t end = std::min(name.find('-'), name.size());
  return {words_of(name.substr(0, end), "-").front(), words_of(name.substr(end), "-")};
}

/// The catalogue's GPU that words speak of: of its variants the one most of whose words are there,
/// else the first. Several of different first words are all returned.
std::vector<std::string> named_by(const Words& words) {
  struct Found {
    std::string family;
    std::string name;
    std::size_t words = 0;
  };
  std::vector<Found> found;
  for (const GpuSpec& gpu : gpu_catalogue()) {
    const auto name_parts = split_name(gpu.name);
    const std::string& family = name_parts.first;
    const Words& others = name_parts.second;
    if (!has(words, family)) continue;
    const bool all = std::all_of(others.begin(), others.end(),
                                 [&](const std::string& word) { return has(words, word); });
    const std::size_t count = all ? others.size() : 0;
    const auto variant = std::find_if(found.begin(), found.end(),
                                      [&](const Found& one) { return one.family == family; });
    if (variant == found.end()) {
      found.push_back({family, gpu.name, count});
    } else if (count > variant->words) {
      *variant = {family, gpu.name, count};
    }
  }
  std::vector<std::string> out;
  for (Found& one : found) out.push_back(std::move(one.name));
  return out;
}

}  // namespace

std::string gpu_of_device(std::string_view device) {
  const std::vector<GpuSpec>& catalogue = gpu_catalogue();
  if (const auto same = position_of(std::string(device), catalogue)) return catalogue[*same].name;
  constexpr std::string_view separators = " -_";
  Words words = words_of(device, separators);
  std::erase_if(words, [](const std::string& w) { return w == "NVIDIA" || w == "TESLA"; });
  for (const auto& [printed, name] : devices) {
    if (words != words_of(printed, separators)) continue;
    if (const auto known = position_of(std::string(name), catalogue)) return catalogue[*known].name;
  }
  return "";
}

std::string catalogue_name(std::string_view device) {
  const std::string known = gpu_of_device(device);
  return known.empty() ? std::string(device) : known;
}

const std::string& GpuNames::of(std::string_view device) {
  const auto found = known_.find(device);
  if (found != known_.end()) return found->second;
  std::string gpu = device.empty() ? of_file() : catalogue_name(device);
  return known_.emplace(std::string(device), std::move(gpu)).first->second;
}

std::string GpuNames::of_file() const {
  if (!options_.gpu.empty()) return catalogue_name(options_.gpu);
  const std::string& name = complaints_.name();
  // The file's own name first, then the folder that it is in, and so on.
  for (std::filesystem::path path = name; path.has_filename(); path = path.parent_path()) {
    const std::vector<std::string> gpus = named_by(words_of(path.filename().string(), " _-."));
    if (gpus.size() == 1) {
      notes_.push_back(fmt::format("{} names no GPU; {} taken from its name", name, gpus.front()));
      return gpus.front();
    }
    if (gpus.size() > 1) {
      complaints_.add(0, fmt::format("expected the GPU that was measured, got a name with several: "
                                     "{}; say which one",
                                     fmt::join(gpus, ", ")));
      return "";
    }
  }
  complaints_.add(0, "expected the GPU that was measured in the file or in its name, got none");
  return "";
}

}  // namespace zebroid
