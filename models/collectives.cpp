#include "models/collectives.hpp"

#include <algorithm>

namespace zebroid {

std::size_t piece_at(const std::vector<AlphaBeta>& pieces, double bytes) {
  std::size_t piece = 0;
  while (piece + 1 < pieces.size() && pieces[piece + 1].from_bytes <= bytes) ++piece;
  return piece;
}

Seconds time_of(const std::vector<AlphaBeta>& pieces, double bytes) {
  constexpr double micro = 1e-6;
  constexpr double giga = 1e9;
  const AlphaBeta& piece = pieces[piece_at(pieces, bytes)];
  return {piece.alpha_us * micro + bytes / (piece.algbw_GBps * giga)};
}

CollectiveFit read_collective_fit(const JsonView& view) {
  constexpr double largest = 1e15;
  constexpr double longest_us = 1e10;
  constexpr double fastest = 1e9;
  constexpr std::int64_t most_ranks = 1 << 20U;
  view.only_keys({"op", "ranks", "ranks_per_node", "pieces", "evidence", "source"});
  CollectiveFit out;
  std::vector<std::string> collectives;
  for (std::size_t o = 0; o < measured_op_count; ++o) {
    const auto op = static_cast<MeasuredOp>(o);
    if (is_collective(op)) collectives.emplace_back(name_of(op));
  }
  const std::string name = view.at("op").name_of("collective", collectives);
  for (std::size_t o = 0; o < measured_op_count; ++o) {
    if (name_of(static_cast<MeasuredOp>(o)) == name) out.op = static_cast<MeasuredOp>(o);
  }
  out.ranks = static_cast<std::uint32_t>(view.at("ranks").integer(1, most_ranks));
  out.ranks_per_node = static_cast<std::uint32_t>(view.at("ranks_per_node").integer(1, most_ranks));
  const JsonView pieces = view.at("pieces");
  for (const JsonView& piece : pieces.elements()) {
    piece.only_keys({"from_bytes", "alpha_us", "GBps"});
    out.pieces.push_back({piece.at("from_bytes").number(0, largest),
                          piece.at("alpha_us").number(0, longest_us),
                          piece.at("GBps").number(1.0 / fastest, fastest)});
  }
  if (out.pieces.empty()) pieces.fault("expected at least one piece");
  const bool sorted = std::is_sorted(
      out.pieces.begin(), out.pieces.end(),
      [](const AlphaBeta& a, const AlphaBeta& b) { return a.from_bytes <= b.from_bytes; });
  if (!sorted) pieces.fault("expected pieces by from_bytes, each further than the one before");
  out.evidence = read_evidence(view.at("evidence"));
  out.source = view.at("source").text();
  return out;
}

Json to_json(const CollectiveFit& fit) {
  Json out;
  out["op"] = name_of(fit.op);
  out["ranks"] = fit.ranks;
  out["ranks_per_node"] = fit.ranks_per_node;
  for (const AlphaBeta& piece : fit.pieces) {
    out["pieces"].push_back({{"from_bytes", piece.from_bytes},
                             {"alpha_us", piece.alpha_us},
                             {"GBps", piece.algbw_GBps}});
  }
  out["evidence"] = name_of(fit.evidence);
  out["source"] = fit.source;
  return out;
}

}  // namespace zebroid
