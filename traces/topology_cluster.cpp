#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <numeric>
#include <tuple>

#include "core/error.hpp"
#include "models/gpu.hpp"
#include "traces/topology.hpp"

namespace zebroid {
namespace {

constexpr double giga = 1e9;
constexpr double bits_per_byte = 8;

/// Of one NVLink and direction, in GB/s: 20 on Pascal, 14.0625 on GA102 (A40), 50 on Blackwell,
/// else 25.
double link_rate(double compute_capability) {
  if (compute_capability >= 6 && compute_capability < 7) return 20;
  if (compute_capability > 8.55 && compute_capability < 8.65) return 14.0625;
  return compute_capability >= 10 ? 50 : 25;
}

bool about_equal(double a, double b) {
  constexpr double tolerance = 0.05;  // datasheets leave out what encoding costs
  return std::abs(a - b) <= tolerance * std::max(std::abs(a), std::abs(b));
}

/// GPUs of one kind that are joined in the same way.
struct Group {
  const GpuSpec* spec = nullptr;
  std::uint32_t joined = 1;  // GPUs of this kind in each group that NVLink joins
  double link = 0;           // GB/s per GPU
  std::optional<double> pcie;
  std::vector<std::size_t> gpus;
};

class ClusterWriter {
 public:
  ClusterWriter(const NodeTopology& topology, const std::string& gpu)
      : topology_(topology), notes_(topology.notes), parts_(topology.gpus.size()) {
    name_kinds(gpu);
    join();
    make_groups();
  }

  Json write() {
    Json out = {{"schema", "zebroid.cluster/1"}, {"name", cluster_name()}, {"gpus", Json::array()}};
    const Json shared = shared_keys();
    Json kinds = Json::object();
    for (const Group& group : groups_) {
      const std::string name = name_of(group);
      Json row = {{"kind", name}, {"count", group.gpus.size()}};
      if (groups_.size() == 1) {
        row["gpus_per_node"] = group.gpus.size();
      } else {
        row["node"] = "node0";
      }
      row.update(shared);
      out["gpus"].push_back(std::move(row));
      Json kind = differences(group);
      if (name != group.spec->name) kind["like"] = group.spec->name;
      if (!kind.empty()) kinds[name] = std::move(kind);
    }
    if (!kinds.empty()) out["kinds"] = std::move(kinds);
    if (!notes_.empty()) out["notes"] = notes_;
    return out;
  }

 private:
  [[noreturn]] void refuse(std::string_view why) const {
    throw Error(ErrorKind::input, fmt::format("{}: {}", topology_.name, why));
  }

  void note(std::string text) {
    if (std::find(notes_.begin(), notes_.end(), text) == notes_.end()) {
      notes_.push_back(std::move(text));
    }
  }

  std::string cluster_name() const {
    std::string out;
    for (const char c : std::filesystem::path(topology_.name).stem().string()) {
      const bool printable = static_cast<unsigned char>(c) >= ' ' && c != '\x7f';
      constexpr std::size_t longest = 100;
      if (printable && out.size() < longest) out += c;
    }
    return out.empty() ? "node" : out;
  }

  // --- kinds ---

  void name_kinds(const std::string& given) {
    bool needs_it = false;
    for (const NodeTopology::Gpu& gpu : topology_.gpus) {
      const bool named = !gpu.kind.empty();
      if (!named && given.empty()) {
        refuse("the file does not say what its GPUs are; --gpu NAME does");
      }
      specs_.push_back(&find_gpu(named ? gpu.kind : given));
      if (named) continue;
      needs_it = true;
      const double said = gpu.compute_capability;
      constexpr double step = 0.05;
      if (said > 0 && std::abs(said - specs_.back()->compute_capability) > step) {
        refuse(fmt::format("the GPUs have compute capability {:.1f}, {} has {:.1f}", said,
                           specs_.back()->name, specs_.back()->compute_capability));
      }
    }
    if (!given.empty() && !needs_it) {
      find_gpu(given);
      note(fmt::format("the file names its GPUs: not taken for {}", given));
    }
  }

  // --- NVLink ---

  bool are_joined(std::size_t a, std::size_t b) const {
    return topology_.gpus[a].peer_links[b] > 0 ||
           (topology_.gpus[a].switch_links > 0 && topology_.gpus[b].switch_links > 0);
  }

  /// Numbers the sets of GPUs that NVLink joins, also over others.
  void join() {
    std::iota(parts_.begin(), parts_.end(), 0);
    bool all_pairs = true;
    for (std::size_t first = 0; first < parts_.size(); ++first) {
      if (parts_[first] != first) continue;
      std::vector<std::size_t> members = {first};
      for (std::size_t i = 0; i < members.size(); ++i) {
        for (std::size_t other = first + 1; other < parts_.size(); ++other) {
          if (parts_[other] != other || !are_joined(members[i], other)) continue;
          parts_[other] = first;
          members.push_back(other);
        }
      }
      for (const std::size_t a : members) {
        for (const std::size_t b : members) all_pairs = all_pairs && (a == b || are_joined(a, b));
      }
    }
    if (!all_pairs) {
      note("NVLink joins some pairs of GPUs only through others: as if it joined all of them");
    }
  }

  double compute_capability(std::size_t gpu) const {
    const double said = topology_.gpus[gpu].compute_capability;
    return said > 0 ? said : specs_[gpu]->compute_capability;
  }

  /// Of a GPU to all others together. Where peers have more links than a GPU has, these are the
  /// same links to a switch.
  double link_of(std::size_t gpu) const {
    const NodeTopology::Gpu& said = topology_.gpus[gpu];
    const double each = link_rate(compute_capability(gpu));
    constexpr std::uint32_t most_of_any = 18;
    const auto of_kind =
        static_cast<std::uint32_t>(std::lround(specs_[gpu]->link.value / giga / each));
    const std::uint32_t most = of_kind > 0 ? of_kind : most_of_any;
    const std::uint32_t to_peers =
        std::accumulate(said.peer_links.begin(), said.peer_links.end(), 0U);
    const std::uint32_t to_each =
        said.peer_links.empty() ? 0
                                : *std::max_element(said.peer_links.begin(), said.peer_links.end());
    if (of_kind > 0 && said.kind.empty() && std::max(to_each, said.switch_links) > of_kind) {
      refuse(fmt::format("the GPUs have {} NVLinks, {} has {}",
                         std::max(to_each, said.switch_links), specs_[gpu]->name, of_kind));
    }
    const std::uint32_t links = to_peers <= most ? to_peers : to_each;
    return each * std::max(links, said.switch_links);
  }

  // --- rows ---

  void make_groups() {
    std::map<std::pair<std::size_t, const GpuSpec*>, std::uint32_t> sizes;
    std::map<std::size_t, std::uint32_t> joined;
    for (std::size_t gpu = 0; gpu < parts_.size(); ++gpu) {
      ++sizes[{parts_[gpu], specs_[gpu]}];
      ++joined[parts_[gpu]];
    }
    parts_with_links_ = static_cast<std::size_t>(std::count_if(
        joined.begin(), joined.end(), [](const auto& part) { return part.second > 1; }));
    for (std::size_t gpu = 0; gpu < parts_.size(); ++gpu) {
      const bool alone = joined[parts_[gpu]] < 2;
      add_to_group(gpu, alone ? 0 : sizes[{parts_[gpu], specs_[gpu]}]);
    }
    for (Group& group : groups_) {  // those that NVLink joins become neighbours
      std::stable_sort(group.gpus.begin(), group.gpus.end(),
                       [&](std::size_t a, std::size_t b) { return parts_[a] < parts_[b]; });
      if (group.joined > 0 && parts_with_links_ > 1 &&
          !std::is_sorted(group.gpus.begin(), group.gpus.end())) {
        note("GPUs are numbered so that those joined by NVLink follow each other");
      }
    }
  }

  void add_to_group(std::size_t gpu, std::uint32_t joined) {
    const double link = joined > 0 ? link_of(gpu) : 0;
    const auto& pcie = topology_.gpus[gpu].pcie;
    auto group = std::find_if(groups_.begin(), groups_.end(), [&](const Group& known) {
      return known.spec == specs_[gpu] && (known.joined == joined || !topology_.says_links);
    });
    if (group == groups_.end()) {
      group = groups_.insert(group, {.spec = specs_[gpu], .joined = joined, .link = link});
    } else if (std::abs(group->link - link) > 0) {
      note(fmt::format("numbers of NVLinks differ: {} GB/s of each {} taken, the least",
                       std::min(group->link, link), group->spec->name));
    }
    group->link = std::min(group->link, link);
    group->gpus.push_back(gpu);
    if (!pcie) return;
    const double rate = pcie->value / giga;
    const double slowest = group->pcie.value_or(rate);
    if (!about_equal(slowest, rate)) {
      note(fmt::format("PCIe links of {} differ: the slowest taken", group->spec->name));
    }
    group->pcie = std::min(slowest, rate);
  }

  /// The catalogue's name for the first group of a kind; others need names of their own.
  std::string name_of(const Group& group) const {
    const auto first = std::find_if(groups_.begin(), groups_.end(),
                                    [&](const Group& other) { return other.spec == group.spec; });
    if (&*first == &group) return group.spec->name;
    return group.joined == 0 ? fmt::format("{} without NVLink", group.spec->name)
                             : fmt::format("{} joined by {}", group.spec->name, group.joined);
  }

  /// What the file says of a kind and the catalogue says differently.
  Json differences(const Group& group) {
    Json out = Json::object();
    const double link = group.spec->link.value / giga;
    if (topology_.says_links && topology_.gpus.size() > 1) {
      if (!about_equal(group.link, link)) out["link_GBps"] = group.link;
      // A bridge over all the GPUs that there are is as good as a switch.
      const std::uint32_t wanted = parts_with_links_ > 1 ? group.joined : 0;
      const bool same =
          group.spec->link_gpus == wanted || (wanted == 0 && group.spec->link_gpus == group.joined);
      if (group.link > 0 && !same) out["link_gpus"] = wanted;
    }
    const double pcie = group.spec->pcie.value / giga;
    if (group.pcie && !about_equal(*group.pcie, pcie)) {
      if (*group.pcie < pcie) {
        out["pcie_GBps"] = *group.pcie;
      } else {
        note(fmt::format("the file says {:.4g} GB/s of PCIe for {}: more than the {:g} that it has",
                         *group.pcie, group.spec->name, pcie));
      }
    }
    return out;
  }

  // --- what the GPUs share ---

  Json shared_keys() {
    Json out = Json::object();
    if (topology_.host_bridge && topology_.gpus.size() > 1) {
      out["host_bridge_GBps"] = topology_.host_bridge->value / giga;
      note("all GPUs are behind one PCIe switch: its uplink is their host bridge");
    }
    std::vector<const NodeTopology::Nic*> nics;
    for (const NodeTopology::Nic& nic : topology_.nics) nics.push_back(&nic);
    keep(
        nics, [](const NodeTopology::Nic& nic) { return nic.near_gpu; },
        "not behind a PCIe switch of a GPU");
    double fastest = 0;
    for (const NodeTopology::Nic* nic : nics) {
      fastest = std::max(fastest, nic->rate.value_or(BytesPerSecond{0}).value);
    }
    keep(
        nics,
        [&](const NodeTopology::Nic& nic) {
          return fastest > 0 && nic.rate && about_equal(nic.rate->value, fastest);
        },
        "slower or of unknown speed");
    if (nics.empty()) {
      note("the file has no NIC");
      return out;
    }
    const auto count = static_cast<double>(nics.size());
    if (fastest > 0) {
      out["nic_Gbps"] = fastest * count * bits_per_byte / giga;
    } else {
      note(
          fmt::format("the file does not tell the speed of its NICs ({}): state nic_Gbps, of all "
                      "together, or use --network",
                      nics.size()));
    }
    out["nics"] = nics.size();
    return out;
  }

  /// Those that fit, unless none does.
  template <class Fits>
  void keep(std::vector<const NodeTopology::Nic*>& nics, Fits fits, std::string_view left_out) {
    std::vector<const NodeTopology::Nic*> kept;
    std::copy_if(nics.begin(), nics.end(), std::back_inserter(kept),
                 [&](const NodeTopology::Nic* nic) { return fits(*nic); });
    if (kept.empty() || kept.size() == nics.size()) return;
    note(fmt::format("NICs left out: {}, {}", nics.size() - kept.size(), left_out));
    nics = std::move(kept);
  }

  const NodeTopology& topology_;
  std::vector<std::string> notes_;
  std::vector<const GpuSpec*> specs_;  // of each GPU
  std::vector<std::size_t> parts_;     // of each GPU, the first of those that NVLink joins it with
  std::size_t parts_with_links_ = 0;   // that have several GPUs
  std::vector<Group> groups_;
};

}  // namespace

Json cluster_file(const NodeTopology& topology, const std::string& gpu) {
  return ClusterWriter(topology, gpu).write();
}

}  // namespace zebroid
