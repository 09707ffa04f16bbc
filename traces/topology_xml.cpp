#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <pugixml.hpp>
#include <set>

#include "core/error.hpp"
#include "traces/complaints.hpp"
#include "traces/decimal.hpp"
#include "traces/text.hpp"
#include "traces/topology.hpp"

namespace zebroid {
namespace {

using pugi::xml_node;

constexpr std::size_t most_elements = 65536;
constexpr int deepest = 64;
constexpr double giga = 1e9;
constexpr double bits_per_byte = 8;

/// PCI device numbers of NVIDIA, by pci-ids.ucw.cz.
std::string kind_of_device(std::string_view device) {
  static const std::map<std::string_view, std::string_view> kinds = {{"0x20b0", "A100-40GB"},
                                                                     {"0x20b2", "A100-80GB"},
                                                                     {"0x20b5", "A100-PCIe-80GB"},
                                                                     {"0x2235", "A40"},
                                                                     {"0x1db1", "V100-SXM2-16GB"},
                                                                     {"0x1db5", "V100-SXM2-32GB"},
                                                                     {"0x1db4", "V100-16GB"},
                                                                     {"0x1db6", "V100-32GB"},
                                                                     {"0x1eb8", "T4"},
                                                                     {"0x2237", "A10G"},
                                                                     {"0x27b8", "L4"},
                                                                     {"0x26b9", "L40S"},
                                                                     {"0x2330", "H100"},
                                                                     {"0x2331", "H100-PCIe"},
                                                                     {"0x2335", "H200"}};
  const auto found = kinds.find(device);
  return found == kinds.end() ? "" : std::string(found->second);
}

std::string attribute(const xml_node& node, const char* key) {
  return lower_case(node.attribute(key).value());
}

bool is_pci(const xml_node& node) { return std::string_view(node.name()) == "pci"; }

/// By link_speed ("16 GT/s", "16.0 GT/s PCIe") and link_width; nothing where either is not known.
std::optional<BytesPerSecond> pcie_rate(const xml_node& pci) {
  constexpr double least = 0.01 * giga;
  constexpr double most = 10'000 * giga;
  constexpr double last_with_8b10b = 5;
  const std::string speed = attribute(pci, "link_speed");
  const std::size_t unit = speed.find(" gt/s");
  if (unit == std::string::npos) return std::nullopt;
  const auto transfers = parse_decimal(std::string_view(speed).substr(0, unit));
  const auto width = parse_decimal(attribute(pci, "link_width"));
  if (!transfers || !width) return std::nullopt;
  const double payload = *transfers <= last_with_8b10b ? 0.8 : 128.0 / 130;
  const double rate = *transfers * *width * payload / bits_per_byte * giga;
  if (!(rate >= least && rate <= most)) return std::nullopt;
  return BytesPerSecond{rate};
}

bool is_gpu(const xml_node& pci) {
  const std::string type = attribute(pci, "class");
  const std::string vendor = attribute(pci, "vendor");
  return pci.child("gpu") || type.starts_with("0x0302") ||
         (type.starts_with("0x0300") && vendor == "0x10de");
}

bool is_nic(const xml_node& pci) {
  return !is_gpu(pci) && (pci.child("nic") || attribute(pci, "class").starts_with("0x02"));
}

/// The pci elements around a device, innermost first.
std::vector<xml_node> bridges_around(const xml_node& device) {
  std::vector<xml_node> out;
  for (xml_node node = device.parent(); node; node = node.parent()) {
    if (is_pci(node)) out.push_back(node);
  }
  return out;
}

class XmlReader {
 public:
  XmlReader(std::string_view text, const std::string& name) : text_(text) { out_.name = name; }

  NodeTopology read() {
    load();
    visit_all();
    if (hosts_.size() > 1) {
      refuse(document_.first_child(),
             fmt::format("expected one node, got {} hosts", hosts_.size()));
    }
    if (gpus_.empty()) {
      refuse(document_.first_child(), unknown_ > 0
                                          ? "no device has a class that tells GPUs from NICs; a "
                                            "dump by NCCL_TOPO_DUMP_FILE has"
                                          : "expected a GPU: a pci element of class 0x0302");
    }
    if (unknown_ > 0) {
      out_.notes.push_back(fmt::format("{} PCI devices without a class are left out", unknown_));
    }
    for (const xml_node& gpu : gpus_) add_gpu(gpu);
    add_links();
    add_nics();
    find_host_bridge();
    return std::move(out_);
  }

 private:
  std::size_t line_at(std::ptrdiff_t offset) const {
    const auto end = std::clamp<std::ptrdiff_t>(offset, 0, std::ssize(text_));
    return 1 + static_cast<std::size_t>(std::count(text_.begin(), text_.begin() + end, '\n'));
  }
  [[noreturn]] void refuse_at(std::ptrdiff_t offset, std::string_view why) const {
    throw Error(ErrorKind::input, fmt::format("{}:{}: {}", out_.name, line_at(offset), why));
  }
  [[noreturn]] void refuse(const xml_node& node, std::string_view why) const {
    refuse_at(node.offset_debug(), why);
  }

  void load() {
    if (text_.size() > most_topology_bytes) refuse_at(0, "expected at most 16 MiB");
    if (std::count(text_.begin(), text_.end(), '<') > static_cast<std::ptrdiff_t>(most_elements)) {
      refuse_at(0, fmt::format("expected at most {} elements", most_elements));
    }
    const pugi::xml_parse_result parsed =
        document_.load_buffer(text_.data(), text_.size(), pugi::parse_default, pugi::encoding_utf8);
    if (!parsed) refuse_at(parsed.offset, fmt::format("not XML: {}", parsed.description()));
    const xml_node root = document_.document_element();
    if (std::string_view(root.name()) != "system") {
      refuse(root, fmt::format("expected <system>, as NCCL writes it, got <{}>", root.name()));
    }
    if (root.next_sibling("system")) {
      refuse(root.next_sibling("system"), "a second <system>: expected one node");
    }
  }

  /// Every element, without recursion: files may nest as deep as they are long.
  void visit_all() {
    const xml_node root = document_.document_element();
    int depth = 0;
    for (xml_node node = root; node;) {
      visit(node);
      if (node.first_child()) {
        node = node.first_child();
        if (++depth > deepest) refuse(node, fmt::format("nested deeper than {} levels", deepest));
        continue;
      }
      while (node != root && !node.next_sibling()) {
        node = node.parent();
        --depth;
      }
      if (node == root) return;
      node = node.next_sibling();
    }
  }

  void visit(const xml_node& node) {
    const std::string_view name = node.name();
    if (name == "cpu") {
      hosts_.insert(node.attribute("host_hash").value());
    } else if (name == "pci") {
      visit_pci(node);
    } else if (name == "net" && attribute(node, "net") != "0") {  // else part of a fused one
      nets_.push_back(node);
    }
  }

  void visit_pci(const xml_node& pci) {
    if (is_gpu(pci)) {
      const std::string bus = attribute(pci, "busid");
      if (!bus.empty() && !numbers_.try_emplace(bus, gpus_.size()).second) {
        refuse(pci, fmt::format("a second GPU at {}", bus));
      }
      gpus_.push_back(pci);
      if (gpus_.size() > most_devices) refuse(pci, fmt::format("more than {} GPUs", most_devices));
    } else if (is_nic(pci)) {
      nics_.push_back(pci);
    } else if (!pci.attribute("class") && !pci.first_child()) {
      ++unknown_;
    }
  }

  void add_gpu(const xml_node& pci) {
    NodeTopology::Gpu& gpu = out_.gpus.emplace_back();
    gpu.peer_links.resize(gpus_.size());
    gpu.pcie = pcie_rate(pci);
    const std::string vendor = attribute(pci, "vendor");
    const std::string device = attribute(pci, "device");
    if (vendor.empty() || vendor == "0x10de") gpu.kind = kind_of_device(device);
    if (gpu.kind.empty() && !device.empty()) {
      note(fmt::format("PCI device {} of vendor {} is not in the catalogue",
                       zebroid::quoted(device), zebroid::quoted(vendor)));
    }
    if (const auto sm = whole_number_in<std::uint32_t>(attribute(pci.child("gpu"), "sm"))) {
      gpu.compute_capability = *sm / 10.0;
    }
  }

  void note(const std::string& text) {
    constexpr std::size_t enough = 20;
    auto& notes = out_.notes;
    if (notes.size() < enough && std::find(notes.begin(), notes.end(), text) == notes.end()) {
      notes.push_back(text);
    }
  }

  void add_links() {
    out_.says_links = std::all_of(gpus_.begin(), gpus_.end(),
                                  [](const xml_node& pci) { return bool(pci.child("gpu")); });
    if (!out_.says_links) note("the file does not tell NVLinks: as in the catalogue");
    for (std::size_t gpu = 0; gpu < gpus_.size(); ++gpu) {
      for (const xml_node& link : gpus_[gpu].child("gpu").children("nvlink")) add_link(gpu, link);
    }
  }

  void add_link(std::size_t gpu, const xml_node& link) {
    constexpr std::uint32_t most_links = 72;
    const auto count = link.attribute("count")
                           ? whole_number_in<std::uint32_t>(link.attribute("count").value())
                           : std::optional<std::uint32_t>(1);
    if (!count || *count > most_links) {
      refuse(link, fmt::format("expected a count of NVLinks up to {}, got '{}'", most_links,
                               link.attribute("count").value()));
    }
    NodeTopology::Gpu& from = out_.gpus[gpu];
    const auto peer = numbers_.find(attribute(link, "target"));
    const std::string type = attribute(link, "tclass");
    if (peer != numbers_.end() && peer->second != gpu) {
      std::uint32_t& there = from.peer_links[peer->second];
      std::uint32_t& back = out_.gpus[peer->second].peer_links[gpu];
      there = back = std::max({there, back, *count});
    } else if (type.starts_with("0x0680") && type != "0x068001") {
      from.switch_links += *count;
      if (from.switch_links > most_links) {
        refuse(link, fmt::format("more than {} NVLinks of one GPU", most_links));
      }
    } else {
      note("NVLinks to what is neither a switch nor a GPU of the file are left out");
    }
  }

  /// PCI elements with a GPU somewhere inside.
  std::set<xml_node> bridges_of_gpus() const {
    std::set<xml_node> out;
    for (const xml_node& gpu : gpus_) {
      const std::vector<xml_node> around = bridges_around(gpu);
      out.insert(around.begin(), around.end());
    }
    return out;
  }

  void add_nics() {
    const std::set<xml_node> bridges = bridges_of_gpus();
    std::set<std::string> seen;  // a NIC of no PCI device is listed below every cpu
    for (const xml_node& found : nets_.empty() ? nics_ : nets_) {
      const std::string name = attribute(found, nets_.empty() ? "busid" : "name");
      const std::vector<xml_node> around = bridges_around(found);
      if (around.empty() && !name.empty() && !seen.insert(name).second) continue;
      NodeTopology::Nic nic{.name = name};
      nic.near_gpu = std::any_of(around.begin(), around.end(),
                                 [&](const xml_node& bridge) { return bridges.contains(bridge); });
      constexpr double mega = 1e6;
      constexpr double fastest_Mbps = 1e7;
      const auto speed = parse_decimal(attribute(found, "speed"));
      if (speed && *speed >= 1 && *speed <= fastest_Mbps) {
        nic.rate = BytesPerSecond{*speed * mega / bits_per_byte};
      }
      out_.nics.push_back(std::move(nic));
      if (out_.nics.size() > most_devices) {
        refuse(found, fmt::format("more than {} NICs", most_devices));
      }
    }
  }

  /// All traffic between the GPUs and the rest of the node crosses the links from the innermost
  /// bridge around all of them outwards.
  void find_host_bridge() {
    if (gpus_.size() < 2) return;
    std::vector<xml_node> shared = bridges_around(gpus_[0]);
    for (const xml_node& gpu : gpus_) {
      const std::vector<xml_node> around = bridges_around(gpu);
      std::erase_if(shared, [&](const xml_node& bridge) {
        return std::find(around.begin(), around.end(), bridge) == around.end();
      });
    }
    for (const xml_node& bridge : shared) {
      const auto rate = pcie_rate(bridge);
      if (rate && (!out_.host_bridge || *rate < *out_.host_bridge)) out_.host_bridge = rate;
    }
  }

  std::string_view text_;
  pugi::xml_document document_;
  NodeTopology out_;
  std::vector<xml_node> gpus_, nics_, nets_;
  std::map<std::string, std::size_t> numbers_;  // of GPUs, by bus id
  std::set<std::string> hosts_;
  std::size_t unknown_ = 0;
};

}  // namespace

NodeTopology read_topology_xml(std::string_view text, const std::string& name) {
  return XmlReader(text, name).read();
}

}  // namespace zebroid
