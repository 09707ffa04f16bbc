#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/json.hpp"
#include "core/units.hpp"
#include "models/evidence.hpp"

namespace zebroid {

enum class Link : std::uint8_t { nvlink, pcie, nic };
inline constexpr std::size_t link_count = 3;
std::string_view name_of(Link link);

/// What large messages reach of a link's stated rate, per direction.
struct LinkRate {
  Link link = Link::nic;
  double nic_Gbps =
      0;  ///< the class of NICs that the row describes, by the rate of one; 0 for others
  double efficiency = 1;  ///< in (0, 1] as read; a what-if may go beyond
  Evidence evidence = Evidence::roofline;
  std::string source;

  friend bool operator==(const LinkRate&, const LinkRate&) = default;
};

/// What one link reaches, and what that rests on.
struct LinkEfficiency {
  double share = 1;
  Evidence evidence = Evidence::roofline;
};

/// Of one NIC with this stated rate the row nearest to it in log, of two equally near ones the
/// slower; extrapolated at best where that is more than a tenth away. Of NVLink and PCIe their row,
/// whatever the rate. 1 and roofline without rows.
LinkEfficiency efficiency_of(const std::vector<LinkRate>& rows, Link link, BytesPerSecond rate);

/// Puts a row in its place, by link, then Gbps; it replaces one of the same link and Gbps.
void put_link(LinkRate row, std::vector<LinkRate>& rows);
/// An array of rows, put in one by one. Faults go to the view.
void read_links(const JsonView& view, std::vector<LinkRate>& rows);
Json to_json(const LinkRate& row);

}  // namespace zebroid
