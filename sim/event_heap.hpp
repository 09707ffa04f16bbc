#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <vector>

namespace zebroid {

/// The next event of each of a fixed number of sources, earliest first: a 4-ary heap that knows
/// where each source stands, so that an event can be moved or taken back. Allocates in its
/// constructor only.
class EventHeap {
 public:
  static constexpr double never = std::numeric_limits<double>::infinity();

  explicit EventHeap(std::size_t sources) : place_(sources, none) { heap_.reserve(sources); }

  /// Time of the earliest event, never when there is none.
  double next() const {
    if (heap_.empty()) return never;
    return heap_.front().time;
  }
  /// Its source; requires one.
  std::uint32_t first() const { return heap_.front().source; }
  bool holds(std::uint32_t source) const { return place_[source] != none; }

  /// The source's event is now at `time`, wherever it was.
  void set(std::uint32_t source, double time) {
    std::uint32_t at = place_[source];
    if (at == none) {
      at = static_cast<std::uint32_t>(heap_.size());
      heap_.push_back({time, source});
    }
    if (at > 0 && time < heap_[parent(at)].time) {
      rise(at, {time, source});
    } else {
      sink(at, {time, source});
    }
  }

  void remove(std::uint32_t source) {
    const std::uint32_t at = place_[source];
    if (at == none) return;
    place_[source] = none;
    const Event last = heap_.back();
    heap_.pop_back();
    if (at == heap_.size()) return;
    if (at > 0 && last.time < heap_[parent(at)].time) {
      rise(at, last);
    } else {
      sink(at, last);
    }
  }

  void clear() {
    heap_.clear();
    std::fill(place_.begin(), place_.end(), none);
  }

 private:
  struct Event {
    double time;
    std::uint32_t source;
  };
  static constexpr std::uint32_t none = UINT32_MAX;
  static constexpr std::uint32_t arity = 4;

  static std::uint32_t parent(std::uint32_t at) { return (at - 1) / arity; }
  void put(std::uint32_t at, const Event& event) {
    heap_[at] = event;
    place_[event.source] = at;
  }

  void rise(std::uint32_t at, const Event& event) {
    while (at > 0 && event.time < heap_[parent(at)].time) {
      put(at, heap_[parent(at)]);
      at = parent(at);
    }
    put(at, event);
  }

  void sink(std::uint32_t at, const Event& event) {
    const auto size = static_cast<std::uint32_t>(heap_.size());
    for (;;) {
      const std::uint32_t first = at * arity + 1;
      std::uint32_t least = first;
      for (std::uint32_t child = first + 1; child < std::min(first + arity, size); ++child) {
        if (heap_[child].time < heap_[least].time) least = child;
      }
      if (first >= size || heap_[least].time >= event.time) break;
      put(at, heap_[least]);
      at = least;
    }
    put(at, event);
  }

  std::vector<Event> heap_;
  std::vector<std::uint32_t> place_;  // [sources] in the heap
};

}  // namespace zebroid
