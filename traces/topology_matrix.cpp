#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>

#include "core/error.hpp"
#include "traces/lines.hpp"
#include "traces/text.hpp"
#include "traces/topology.hpp"

namespace zebroid {
namespace {

using Words = std::vector<std::string_view>;

/// The text without the escape sequences that underline the header.
std::string without_escapes(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (text[at] != '\x1b') {
      out += text[at];
      continue;
    }
    if (at + 1 >= text.size() || text[at + 1] != '[') continue;
    at += 2;  // parameters, then one letter from '@' on
    while (at < text.size() && text[at] >= ' ' && text[at] < '@') ++at;
  }
  return out;
}

bool is_gpu(std::string_view word) {
  return word.starts_with("GPU") && whole_number_in<std::uint32_t>(word.substr(3)).has_value();
}

/// How two devices are connected; nothing when the word is no class of nvidia-smi.
struct Connection {
  std::uint32_t links = 0;  // of NVLink
  bool self = false;
  bool behind_one_switch = false;
};

std::optional<Connection> connection_in(std::string_view word) {
  if (word == "X") return Connection{.self = true};
  if (word == "PIX" || word == "PXB" || word == "PSB") return Connection{.behind_one_switch = true};
  if (word == "PHB" || word == "NODE" || word == "SYS" || word == "SOC") return Connection{};
  if (!word.starts_with("NV")) return std::nullopt;
  constexpr std::uint32_t most_links = 72;
  const auto links = whole_number_in<std::uint32_t>(word.substr(2));
  if (!links || *links == 0 || *links > most_links) return std::nullopt;
  return Connection{.links = *links};
}

/// Devices of a header; empty when the line is none. Behind them come affinities.
Words devices_of(const Words& words) {
  if (words.empty() || !is_gpu(words[0])) return {};
  const bool is_row = std::find(words.begin(), words.end(), "X") != words.end() ||
                      (words.size() > 1 && connection_in(words[1]));
  if (is_row) return {};
  const auto end = std::find_if(words.begin(), words.end(), [](std::string_view word) {
    return word == "CPU" || word == "NUMA" || word == "GPU";
  });
  return {words.begin(), end};
}

class MatrixReader {
 public:
  MatrixReader(std::string_view text, const std::string& name)
      : text_(without_escapes(text)), complaints_("", ignored_), lines_(text_, complaints_) {
    out_.name = name;
  }

  NodeTopology read() {
    if (text_.size() > most_topology_bytes) refuse("expected at most 16 MiB");
    read_header();
    while (lines_.next()) {
      const Words words = words_of(lines_.line());
      if (!devices_of(words).empty()) {
        out_.notes.push_back(
            fmt::format("{}:{}: a second matrix is left out", out_.name, lines_.number()));
        break;
      }
      read_row(words);
    }
    for (const auto& [device, column] : columns_) {
      if (column < gpus_ && !rows_.contains(column)) {
        refuse(fmt::format("there is no row of {}", device));
      }
    }
    check_links();
    add_devices();
    return std::move(out_);
  }

 private:
  [[noreturn]] void refuse(std::string_view why) const {
    throw Error(ErrorKind::input, fmt::format("{}:{}: {}", out_.name,
                                              std::max<std::size_t>(lines_.number(), 1), why));
  }

  void read_header() {
    Words devices;
    while (devices.empty() && lines_.next()) devices = devices_of(words_of(lines_.line()));
    if (devices.empty()) refuse("expected the header of a matrix, GPU0 GPU1 and so on");
    if (devices.size() > 2 * most_devices) {
      refuse(fmt::format("expected at most {} devices", 2 * most_devices));
    }
    for (const bool gpus : {true, false}) {  // GPUs get the first numbers
      for (const std::string_view device : devices) {
        if (is_gpu(device) != gpus) continue;
        const bool is_new = columns_.try_emplace(std::string(device), columns_.size()).second;
        if (!is_new) refuse(fmt::format("{} is listed twice", device));
      }
      if (gpus) gpus_ = columns_.size();
    }
    for (const std::string_view device : devices)
      order_.push_back(columns_.at(std::string(device)));
    if (gpus_ > most_devices || columns_.size() - gpus_ > most_devices) {
      refuse(fmt::format("expected at most {} GPUs and as many NICs", most_devices));
    }
  }

  void read_row(const Words& words) {
    const auto found = columns_.find(std::string(words[0]));
    if (found == columns_.end()) return;  // the legend, or other text
    const std::size_t device = found->second;
    if (words.size() <= order_.size()) {
      refuse(fmt::format("expected {} connections of {}, got {}", order_.size(), words[0],
                         words.size() - 1));
    }
    std::vector<Connection> row(order_.size());
    for (std::size_t i = 0; i < order_.size(); ++i) {
      const auto connection = connection_in(words[i + 1]);
      if (!connection) {
        refuse(expected("X, NV#, PIX, PXB, PHB, NODE or SYS", words[i + 1]));
      }
      if (connection->self != (order_[i] == device)) {
        refuse(fmt::format("expected X where {} meets itself, and nowhere else", words[0]));
      }
      row[order_[i]] = *connection;
    }
    if (!rows_.try_emplace(device, std::move(row)).second) {
      refuse(fmt::format("a second row of {}", words[0]));
    }
  }

  void check_links() const {
    for (std::size_t a = 0; a < gpus_; ++a) {
      for (std::size_t b = 0; b < a; ++b) {
        if (rows_.at(a)[b].links == rows_.at(b)[a].links) continue;
        refuse(fmt::format("GPUs {} and {} disagree on their NVLinks", b, a));
      }
    }
  }

  void add_devices() {
    out_.says_links = true;
    for (std::size_t gpu = 0; gpu < gpus_; ++gpu) {
      NodeTopology::Gpu& added = out_.gpus.emplace_back();
      for (std::size_t other = 0; other < gpus_; ++other) {
        added.peer_links.push_back(rows_.at(gpu)[other].links);
      }
    }
    std::map<std::size_t, std::string> names;
    for (const auto& [device, column] : columns_) names[column] = device;
    for (std::size_t nic = gpus_; nic < columns_.size(); ++nic) {
      bool near = false;
      for (std::size_t gpu = 0; gpu < gpus_; ++gpu) {
        near = near || rows_.at(gpu)[nic].behind_one_switch;
      }
      out_.nics.push_back({.name = names[nic], .near_gpu = near, .rate = {}});
    }
    out_.notes.emplace_back(
        "the matrix tells no bandwidths of PIX, PXB, PHB, NODE and SYS: PCIe as in the catalogue, "
        "no limit where GPUs share it");
  }

  std::string text_;
  std::vector<std::string> ignored_;  // complaints about lines too long for any row
  Complaints complaints_;
  LineReader lines_;
  NodeTopology out_;
  std::size_t gpus_ = 0;
  std::map<std::string, std::size_t> columns_;  // numbers of devices, GPUs first
  std::vector<std::size_t> order_;              // numbers in the order of the header
  std::map<std::size_t, std::vector<Connection>> rows_;
};

}  // namespace

bool is_topology(std::string_view text) {
  const std::size_t start = text.find_first_not_of(" \t\r\n");
  if (start == std::string_view::npos || text[start] == '{' || text[start] == '[') return false;
  if (text[start] == '<') return true;
  const std::string plain = without_escapes(text);
  std::vector<std::string> ignored;
  Complaints complaints("", ignored);
  LineReader lines(plain, complaints);
  while (lines.next()) {
    if (!devices_of(words_of(lines.line())).empty()) return true;
  }
  return false;
}

NodeTopology read_topology_matrix(std::string_view text, const std::string& name) {
  return MatrixReader(text, name).read();
}

NodeTopology read_topology(std::string_view text, const std::string& name) {
  const std::size_t start = std::min(text.find_first_not_of(" \t\r\n"), text.size());
  return text.substr(start).starts_with('<') ? read_topology_xml(text, name)
                                             : read_topology_matrix(text, name);
}

}  // namespace zebroid
