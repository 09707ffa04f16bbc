#pragma once

#include <compare>
#include <cstdint>

namespace zebroid {

/// An index into the container of things named by Tag; different Tags do not mix.
template <class Tag>
struct Id {
  std::uint32_t value = 0;

  friend constexpr auto operator<=>(Id, Id) = default;
};

using RankId = Id<struct RankTag>;
using GpuId = Id<struct GpuTag>;
using GroupId = Id<struct GroupTag>;
using PortId = Id<struct PortTag>;

}  // namespace zebroid
