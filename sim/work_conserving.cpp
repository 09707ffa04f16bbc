#include "sim/work_conserving.hpp"

#include <algorithm>
#include <functional>

namespace zebroid {

WorkConserving::WorkConserving(const Program& program, const Reads& reads)
    : first_reader_(program.size() + 1, 0), readers_(reads.ops.size()) {
  for (std::uint32_t i = 0; i < program.size(); ++i) {
    is_compute_.push_back(is_exchange(program[i].work) ? 0 : 1);
    reads_.push_back(reads.first[i + 1] - reads.first[i]);
  }
  for (const std::uint32_t read : reads.ops) ++first_reader_[read + 1];
  for (std::size_t i = 0; i < program.size(); ++i) first_reader_[i + 1] += first_reader_[i];
  std::vector<std::uint32_t> at(first_reader_.begin(), first_reader_.end() - 1);
  for (std::uint32_t i = 0; i < program.size(); ++i) {
    for (std::uint32_t k = reads.first[i]; k < reads.first[i + 1]; ++k) {
      readers_[at[reads.ops[k]]++] = i;
    }
  }
  ready_.reserve(program.size());
  waits_.reserve(program.size());
}

void WorkConserving::reset() {
  waits_ = reads_;
  ready_.clear();
  for (std::uint32_t op = 0; op < waits_.size(); ++op) {
    if (waits_[op] == 0 && is_compute_[op] != 0) add(op);
  }
}

std::uint32_t WorkConserving::next() {
  if (ready_.empty()) return none;
  std::pop_heap(ready_.begin(), ready_.end(), std::greater<>());
  running_ = ready_.back();
  ready_.pop_back();
  return running_;
}

void WorkConserving::end(std::uint32_t op) {
  for (std::uint32_t k = first_reader_[op]; k < first_reader_[op + 1]; ++k) {
    const std::uint32_t reader = readers_[k];
    if (--waits_[reader] == 0 && is_compute_[reader] != 0) add(reader);
  }
}

void WorkConserving::add(std::uint32_t op) {
  ready_.push_back(op);
  std::push_heap(ready_.begin(), ready_.end(), std::greater<>());
}

}  // namespace zebroid
