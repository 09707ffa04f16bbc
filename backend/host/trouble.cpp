#include "backend/host/trouble.hpp"

#include <utility>

namespace zebroid {

void Trouble::report(Culprit culprit) {
  {
    const std::scoped_lock lock(mutex_);
    if (!first_) first_ = std::move(culprit);
  }
  source_.request_stop();
}

std::optional<Culprit> Trouble::first() const {
  const std::scoped_lock lock(mutex_);
  return first_;
}

}  // namespace zebroid
