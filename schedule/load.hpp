#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/id.hpp"
#include "core/units.hpp"
#include "models/cluster.hpp"
#include "schedule/schedule.hpp"

namespace zebroid {

/// Bytes from one member of a group to another, by their places in it.
struct Message {
  std::uint32_t from = 0;
  std::uint32_t to = 0;
  Bytes bytes;

  friend bool operator==(const Message&, const Message&) = default;
};

/// What the members of a group send each other, by sender, then receiver. Equal messages of one
/// sender to consecutive receivers are kept as one.
class Messages {
 public:
  class Iterator {
   public:
    using difference_type = std::ptrdiff_t;
    using value_type = Message;

    Message operator*() const { return {run_->from, run_->to + passed_, run_->bytes}; }
    Iterator& operator++() {
      if (++passed_ == run_->count) {
        ++run_;
        passed_ = 0;
      }
      return *this;
    }
    friend bool operator==(const Iterator&, const Iterator&) = default;

   private:
    friend class Messages;
    struct Run {
      std::uint32_t from = 0;
      std::uint32_t to = 0;
      std::uint32_t count = 0;
      Bytes bytes;
    };
    explicit Iterator(const Run* run) : run_(run) {}
    const Run* run_;
    std::uint32_t passed_ = 0;
  };

  /// After all that are there already.
  void add(const Message& message);
  Iterator begin() const { return Iterator(runs_.data()); }
  Iterator end() const { return Iterator(runs_.data() + runs_.size()); }
  std::size_t size() const { return size_; }
  bool empty() const { return runs_.empty(); }

 private:
  std::vector<Iterator::Run> runs_;
  std::size_t size_ = 0;
};

/// What the ops of one schedule cost: all that an engine knows beside the schedule. A prediction
/// makes it from costs and routing (schedule/predicted_load.hpp), a replay from a timeline. Answers
/// never change, are finite and >= 0.
class Load {
 public:
  Load() = default;
  Load(const Load&) = delete;
  Load& operator=(const Load&) = delete;
  virtual ~Load() = default;

  /// Time of a compute op on a rank that runs at full rate.
  virtual Seconds seconds(RankId rank, const Op& op) const = 0;
  /// Bytes that `from` sends to `to` in an exchange over `group`, a whole number; asked for from !=
  /// to only.
  virtual Bytes bytes(GroupId group, const Op& op, RankId from, RankId to) const = 0;
  /// Delay between the last member's launch and the first byte; occupies nothing. An exchange
  /// without any bytes has none.
  virtual Seconds latency(GroupId group, const Op& op) const = 0;
  /// Token copies that an expert op computes; 0 for other ops.
  virtual double rows(RankId rank, const Op& op) const = 0;
  /// Share of a rank's compute rate that its launched and unfinished exchanges take, in [0, 1).
  virtual double sm_share(RankId rank) const = 0;

  // What is alike, so that engines ask once. A load that cannot tell keeps these as they are.

  /// The first rank whose seconds(), rows() and sm_share() are those of `rank` for every op that
  /// both may run.
  virtual RankId like(RankId rank) const { return rank; }
  /// The first op, by layer, microbatch and chunk, that costs what `op` does: on each rank equal
  /// seconds() and rows(), in each group equal bytes() and latency().
  virtual Op like(const Op& op) const { return op; }
  /// The messages with bytes of an exchange over `group`, whose members these are. O(members^2)
  /// unless a load knows better.
  virtual Messages messages(GroupId group, const std::vector<RankId>& members, const Op& op) const;

  /// Ports and paths between the GPUs that the ranks of the schedule name.
  virtual const Network& network() const = 0;
};

}  // namespace zebroid
