#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "backend/host/faults.hpp"
#include "backend/host/trouble.hpp"
#include "schedule/exchanges.hpp"

namespace zebroid {

/// Rows that a member shows another one: row i starts at data + (index ? index[i] / divisor : i) *
/// row_bytes.
struct Segment {
  const std::byte* data = nullptr;
  std::size_t rows = 0;
  std::size_t row_bytes = 0;
  const std::int32_t* index = nullptr;
  std::int32_t divisor = 1;

  std::size_t bytes() const { return rows * row_bytes; }
};

/// All that a member shows one other member, in the order in which that one takes it.
struct Outgoing {
  RankId to;
  std::vector<Segment> segments;
  std::uint64_t checksum = 0;  ///< with checksums, filled in by the communicator
};
using Offer = std::vector<Outgoing>;

/// Exchanges between ranks that are threads of one process. Each member shows its memory, and takes
/// what is for it once all have come. A member that comes out of turn, shows other amounts than
/// expected, or bytes that do not have their checksum is reported as the culprit.
class Communicator {
 public:
  using Clock = std::chrono::steady_clock;
  struct Options {
    bool checksums = false;
    const Injection* injection = nullptr;  ///< may flip a bit; outlives this
  };

  /// All outlive this.
  Communicator(const Schedule& schedule, const Exchanges& exchanges, Trouble& trouble,
               const Options& options);
  ~Communicator();

  /// One member's part in one exchange, from when it comes to when it leaves. Its functions throw
  /// Stopped when the run stops.
  class Visit {
   public:
    /// Waits until all members have come. on_end is called when all members have taken what they
    /// want, on some thread, before any of them goes on: what the rules say has ended has ended.
    Visit(Communicator& communicator, RankId rank, std::uint32_t op, Offer offer,
          std::function<void()> on_end);

    Clock::time_point started() const;
    /// Where a segment goes, row after row without gaps, and what it has to have.
    struct Place {
      std::byte* to = nullptr;
      std::size_t rows = 0;
      std::size_t row_bytes = 0;
    };
    /// Copies what `from` shows this member, segment by segment.
    void take(RankId from, std::span<const Place> places);
    /// All is taken. Waits for the other members, so that all end together.
    void leave();
    /// Waits until all members have taken what they wanted and show something else.
    void meet_again(Offer offer);

   private:
    friend class Communicator;
    Communicator& communicator_;
    RankId rank_;
    std::uint32_t exchange_;
    std::uint32_t member_ = 0;
    std::size_t round_ = 0;
  };

  /// Members of an exchange that have not come yet in an iteration, counted from 0.
  std::vector<RankId> missing(std::uint32_t exchange, std::uint64_t iteration) const;
  /// In all exchanges so far.
  std::uint64_t moved_bytes() const { return moved_bytes_; }

 private:
  struct Meeting;

  void check_turn(RankId rank, std::uint32_t op);
  void seal(Offer& offer) const;
  std::string name(RankId rank, std::uint32_t op) const;

  const Schedule& schedule_;
  const Exchanges& exchanges_;
  Trouble& trouble_;
  Options options_;
  std::atomic<std::uint64_t> moved_bytes_ = 0;
  std::vector<std::unique_ptr<Meeting>> meetings_;              // [exchanges]
  std::vector<std::vector<std::vector<std::uint32_t>>> order_;  // [ranks][streams] exchanges' ops
  std::vector<std::vector<std::size_t>> next_;                  // [ranks][streams] into order_
};

}  // namespace zebroid
