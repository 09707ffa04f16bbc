#pragma once

#include <string>
#include <utility>
#include <vector>

#include "schedule/schedule.hpp"
#include "schedule/verify.hpp"

namespace zebroid {

/// Faults as they are found; the many that one mistake causes are cut short.
class FaultList {
 public:
  void add(std::string message) {
    ++found_;
    if (faults_.size() < most) faults_.push_back({std::move(message)});
  }
  bool empty() const { return found_ == 0; }
  /// So many that looking for more is a waste: a few numbers of a file can cause billions.
  bool many() const { return found_ >= enough; }
  std::vector<Fault> take() {
    if (found_ > most) {
      faults_.push_back(
          {(many() ? "... and at least " : "... and ") + std::to_string(found_ - most) + " more"});
    }
    return std::move(faults_);
  }

 private:
  static constexpr std::size_t most = 20;
  static constexpr std::size_t enough = 1000;
  std::size_t found_ = 0;
  std::vector<Fault> faults_;
};

/// Checks that the ops make one whole training step: every sequence passes every layer forward and
/// backward, every token can reach every expert and return, every gradient is summed over all
/// holders, every rank steps once. The numbers in the schedule exist (structure was checked).
void check_training_step(const Schedule& schedule, FaultList& faults);

}  // namespace zebroid
