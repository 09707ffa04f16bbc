#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/json.hpp"
#include "core/units.hpp"
#include "models/evidence.hpp"
#include "models/measured.hpp"

namespace zebroid {

/// From `from_bytes` on a transfer takes alpha + bytes / rate.
struct AlphaBeta {
  double from_bytes = 0;
  double alpha_us = 0;
  double algbw_GBps = 0;  ///< 1 / beta, in 1e9 bytes per second; of nccl-tests' size, so algbw

  friend bool operator==(const AlphaBeta&, const AlphaBeta&) = default;
};

/// How long a collective takes over groups of one shape, fitted to measurements.
struct CollectiveFit {
  MeasuredOp op = MeasuredOp::all_to_all;
  std::uint32_t ranks = 0;
  std::uint32_t ranks_per_node = 0;
  std::vector<AlphaBeta> pieces;  ///< by from_bytes; the first holds for smaller sizes too
  Evidence evidence = Evidence::interpolated;
  std::string source;
  double rate = 1;  ///< what-if: all sizes, measured ones too, run at this multiple; in no file

  friend bool operator==(const CollectiveFit&, const CollectiveFit&) = default;
};

/// Which of the pieces, at least one, holds for a size.
std::size_t piece_at(const std::vector<AlphaBeta>& pieces, double bytes);
Seconds time_of(const std::vector<AlphaBeta>& pieces, double bytes);

CollectiveFit read_collective_fit(const JsonView& view);
Json to_json(const CollectiveFit& fit);

}  // namespace zebroid
