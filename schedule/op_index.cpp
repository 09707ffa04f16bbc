#include "schedule/op_index.hpp"

#include <algorithm>
#include <utility>

namespace zebroid {
OpIndex::OpIndex(const Program& program) : program_(program), kinds_(program.size()) {
  std::vector<std::uint32_t> kind_of;
  kind_of.reserve(program.size());
  for (const Op& op : program) {
    kind_of.push_back(kinds_.add(key_of(op.work, op.pass, op.layer, op.microbatch)));
    has_.at(number_of(op.work, op.pass)) = true;
  }
  first_.assign(kinds_.size() + 1U, 0);
  for (const std::uint32_t kind : kind_of) ++first_[kind + 1];
  for (std::size_t k = 0; k < kinds_.size(); ++k) first_[k + 1] += first_[k];
  order_.resize(program.size());
  std::vector<std::uint32_t> at(first_.begin(), first_.end() - 1);
  for (std::uint32_t i = 0; i < program.size(); ++i) order_[at[kind_of[i]]++] = i;
  const auto by_chunk = [&](std::uint32_t a, std::uint32_t b) {
    return std::pair(program[a].chunk, a) < std::pair(program[b].chunk, b);
  };
  for (std::size_t k = 0; k < kinds_.size(); ++k) {
    if (first_[k + 1] - first_[k] < 2) continue;
    std::sort(order_.begin() + first_[k], order_.begin() + first_[k + 1], by_chunk);
  }
}

std::span<const std::uint32_t> OpIndex::one_chunk(Work work, Pass pass, const Op& like) const {
  const auto all = all_chunks(work, pass, like.layer, like.microbatch);
  if (all.empty()) return {};
  const auto begin = std::lower_bound(
      all.begin(), all.end(), like.chunk,
      [this](std::uint32_t i, std::uint16_t chunk) { return program_[i].chunk < chunk; });
  auto end = begin;
  while (end != all.end() && program_[*end].chunk == like.chunk) ++end;
  return {begin, end};
}

}  // namespace zebroid
