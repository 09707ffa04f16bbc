#include "models/link_rates.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <tuple>

namespace zebroid {
namespace {

constexpr double bytes_per_s_of_Gbps = 1e9 / 8;

std::vector<std::string> link_names() {
  std::vector<std::string> out;
  for (std::size_t l = 0; l < link_count; ++l) out.emplace_back(name_of(static_cast<Link>(l)));
  return out;
}

LinkRate read_link(const JsonView& view) {
  constexpr double least_efficiency = 1e-4;
  constexpr double least_Gbps = 1e-3;
  constexpr double most_Gbps = 1e6;
  view.only_keys({"link", "Gbps", "efficiency", "evidence", "source", "date"});
  LinkRate out;
  const std::vector<std::string> names = link_names();
  const std::string name = view.at("link").name_of("link", names);
  const auto found = std::find(names.begin(), names.end(), name);
  if (found != names.end()) out.link = static_cast<Link>(found - names.begin());
  if (out.link == Link::nic) {
    out.nic_Gbps = view.at("Gbps").number(least_Gbps, most_Gbps);
  } else if (const auto rate = view.find("Gbps")) {
    rate->fault("only a nic has classes; this row is for every " + name);
  }
  out.efficiency = view.at("efficiency").number(least_efficiency, 1);
  out.evidence = read_evidence(view.at("evidence"));
  out.source = view.at("source").text();
  return out;
}

}  // namespace

std::string_view name_of(Link link) {
  constexpr std::array<std::string_view, link_count> names = {"nvlink", "pcie", "nic"};
  return names.at(static_cast<std::size_t>(link));
}

LinkEfficiency efficiency_of(const std::vector<LinkRate>& rows, Link link, BytesPerSecond rate) {
  constexpr double same_class = 1.1;
  const LinkRate* nearest = nullptr;
  double least = 0;
  for (const LinkRate& row : rows) {
    if (row.link != link) continue;
    const double distance =
        link == Link::nic ? std::abs(std::log(rate.value / (row.nic_Gbps * bytes_per_s_of_Gbps)))
                          : 0;
    if (nearest != nullptr && distance >= least) continue;
    nearest = &row;
    least = distance;
  }
  if (nearest == nullptr) return {};
  const bool of_its_class = least <= std::log(same_class);
  return {nearest->efficiency,
          of_its_class ? nearest->evidence : std::max(nearest->evidence, Evidence::extrapolated)};
}

void put_link(LinkRate row, std::vector<LinkRate>& rows) {
  const auto key = [](const LinkRate& r) { return std::tuple(r.link, r.nic_Gbps); };
  const auto at =
      std::lower_bound(rows.begin(), rows.end(), row,
                       [&](const LinkRate& a, const LinkRate& b) { return key(a) < key(b); });
  if (at != rows.end() && key(*at) == key(row)) {
    *at = std::move(row);
  } else {
    rows.insert(at, std::move(row));
  }
}

void read_links(const JsonView& view, std::vector<LinkRate>& rows) {
  for (const JsonView& element : view.elements()) put_link(read_link(element), rows);
}

Json to_json(const LinkRate& row) {
  Json out;
  out["link"] = name_of(row.link);
  if (row.link == Link::nic) out["Gbps"] = row.nic_Gbps;
  out["efficiency"] = row.efficiency;
  out["evidence"] = name_of(row.evidence);
  out["source"] = row.source;
  return out;
}

}  // namespace zebroid
