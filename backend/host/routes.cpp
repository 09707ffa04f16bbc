#include "backend/host/routes.hpp"

#include "schedule/verify.hpp"

namespace zebroid {

RouteCounts::RouteCounts(const Schedule& schedule)
    : layers_(schedule.layers),
      microbatches_(schedule.microbatches),
      chunks_(schedule.chunks),
      experts_(schedule.experts),
      counts_(schedule.ranks.size() * layers_ * microbatches_ * chunks_ * experts_, 0) {}

std::span<std::uint32_t> RouteCounts::of(RankId owner, std::uint32_t layer,
                                         std::uint32_t microbatch) {
  return std::span(counts_).subspan(first(owner, layer, microbatch), chunks_ * experts_);
}

std::span<const std::uint32_t> RouteCounts::of(RankId owner, std::uint32_t layer,
                                               std::uint32_t microbatch) const {
  return std::span(counts_).subspan(first(owner, layer, microbatch), chunks_ * experts_);
}

std::vector<double> RouteCounts::tokens(std::uint32_t layer) const {
  std::vector<double> out(experts_, 0);
  for (std::size_t i = 0; i < counts_.size(); ++i) {
    const std::size_t l = i / (microbatches_ * chunks_ * experts_) % layers_;
    if (l == layer) out[i % experts_] += counts_[i];
  }
  return out;
}

double CountedAmounts::tokens(RankId rank, const Op& op) const {
  const Rank& self = schedule_.ranks[rank.value];
  const std::uint64_t all =
      std::uint64_t{sequences_in(self.sequences, op.microbatch, schedule_.microbatches)} * length_;
  const bool is_chunked =
      op.work == Work::dispatch || op.work == Work::expert || op.work == Work::combine;
  return static_cast<double>(is_chunked ? chunk_cut(all, op.chunk, schedule_.chunks).size() : all);
}

std::size_t CountedAmounts::rows_of(RankId rank, const Op& op, std::uint32_t e) const {
  std::size_t out = 0;
  for (const RankId owner : layout_.attention_on(schedule_.ranks[rank.value].replica, op.layer)) {
    out += counts_.copies(owner, op, e);
  }
  return out;
}

double CountedAmounts::rows(RankId rank, const Op& op) const {
  std::size_t out = 0;
  for (const std::uint32_t e : layout_.experts_of(rank, op.layer)) out += rows_of(rank, op, e);
  return static_cast<double>(out);
}

}  // namespace zebroid
