#include "backend/host/rank_memory.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "core/error.hpp"

namespace zebroid {
namespace {

constexpr std::uint32_t none = UINT32_MAX;

}  // namespace

template <class Real>
RankMemory<Real>::RankMemory(const MoeModel& model, const Program& program, const Values& values,
                             Arena& arena)
    : model_(model),
      program_(program),
      values_(values),
      arena_(arena),
      blocks_(values.all.size(), nullptr),
      needed_by_(std::make_unique<std::atomic<std::uint32_t>[]>(values.all.size())),
      whole_at_(values.all.size(), 0),
      value_bytes_(values.all.size(), 0) {}

template <class Real>
void RankMemory<Real>::begin() {
  for (std::size_t v = 0; v < values_.all.size(); ++v) {
    ensure(blocks_[v] == nullptr, "no value outlives its step");
    needed_by_[v] = values_.all[v].readers + 1;
    value_bytes_[v] = 0;
  }
}

template <class Real>
void RankMemory<Real>::take(std::uint32_t op, const Counts& counts) {
  for (std::uint32_t v = values_.first[op]; v < values_.first[op + 1]; ++v) {
    const Elements elements = elements_of(model_, program_[op], values_.all[v].what, counts);
    const auto numbers = static_cast<std::size_t>(elements.half + elements.single);
    whole_at_[v] = numbers * sizeof(Real);
    const std::size_t bytes =
        whole_at_[v] + static_cast<std::size_t>(elements.index) * sizeof(std::int32_t);
    value_bytes_[v] = static_cast<double>(bytes);
    blocks_[v] = static_cast<std::byte*>(arena_.take(bytes));
  }
}

template <class Real>
void RankMemory<Real>::need_one_less(std::uint32_t value) {
  if (--needed_by_[value] > 0 || blocks_[value] == nullptr) return;
  const bool whole = arena_.give(blocks_[value]);
  blocks_[value] = nullptr;
  ensure(whole, fmt::format("nobody writes beyond what {} leaves",
                            name_of(program_[values_.all[value].writer])));
}

template <class Real>
void RankMemory<Real>::finish(std::uint32_t op) {
  for (const std::uint32_t value : values_.read_by(op)) need_one_less(value);
  for (std::uint32_t v = values_.first[op]; v < values_.first[op + 1]; ++v) need_one_less(v);
}

template <class Real>
std::uint32_t RankMemory<Real>::value_of(std::uint32_t op, What what) const {
  for (std::uint32_t v = values_.first[op]; v < values_.first[op + 1]; ++v) {
    if (values_.all[v].what == what) return v;
  }
  return none;
}

template <class Real>
bool RankMemory<Real>::has(std::uint32_t op, What what) const {
  return value_of(op, what) != none;
}

template <class Real>
std::byte* RankMemory<Real>::block(std::uint32_t op, What what, std::uint32_t& value) const {
  value = value_of(op, what);
  ensure(value != none, "an op leaves what others read");
  if (blocks_[value] == nullptr) throw MissingValue{op};
  return blocks_[value];
}

template <class Real>
Real* RankMemory<Real>::numbers(std::uint32_t op, What what) const {
  std::uint32_t value = none;
  return reinterpret_cast<Real*>(block(op, what, value));
}

template <class Real>
std::int32_t* RankMemory<Real>::whole_numbers(std::uint32_t op, What what) const {
  std::uint32_t value = none;
  std::byte* const start = block(op, what, value);
  return reinterpret_cast<std::int32_t*>(start + whole_at_[value]);
}

template <class Real>
std::vector<std::uint32_t> RankMemory<Real>::early_before(std::uint32_t op) const {
  std::vector<std::uint32_t> out;
  for (const std::uint32_t v : values_.read_by(op)) {
    if (values_.all[v].what == What::early_gradient) out.push_back(values_.all[v].writer);
  }
  std::sort(out.begin(), out.end(), [this](std::uint32_t a, std::uint32_t b) {
    return std::pair(program_[a].microbatch, program_[a].chunk) <
           std::pair(program_[b].microbatch, program_[b].chunk);
  });
  return out;
}

template class RankMemory<float>;
template class RankMemory<double>;

}  // namespace zebroid
