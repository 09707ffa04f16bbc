#include "backend/host/communicator.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "core/digest.hpp"
#include "core/error.hpp"

namespace zebroid {
namespace {

std::uint32_t place_of(const Exchange& exchange, RankId rank) {
  const auto at =
      std::lower_bound(exchange.members.begin(), exchange.members.end(), rank,
                       [](const Exchange::Member& member, RankId r) { return member.rank < r; });
  ensure(at != exchange.members.end() && at->rank == rank, "a rank is a member of its exchange");
  return static_cast<std::uint32_t>(at - exchange.members.begin());
}

template <class Visitor>
void each_row(const Segment& segment, const Visitor& visit) {
  if (segment.index == nullptr) {
    if (segment.rows > 0) visit(segment.data, segment.rows * segment.row_bytes);
    return;
  }
  for (std::size_t i = 0; i < segment.rows; ++i) {
    const auto row = static_cast<std::size_t>(segment.index[i] / segment.divisor);
    visit(segment.data + row * segment.row_bytes, segment.row_bytes);
  }
}

}  // namespace

struct Communicator::Meeting {
  static constexpr std::size_t rounds = 2;

  mutable std::mutex mutex;
  std::condition_variable_any changed;
  std::vector<char> here;                         // [members]
  std::vector<std::function<void()>> on_end;      // [members]
  std::array<std::vector<Offer>, rounds> offers;  // [rounds][members]
  std::size_t arrived = 0;
  std::size_t again = 0;   // members that came to the second round
  std::size_t done = 0;    // members that took all
  std::uint64_t ends = 0;  // of iterations
  Clock::time_point started;

  explicit Meeting(std::size_t members) : here(members, 0), on_end(members) {
    offers.fill(std::vector<Offer>(members));
  }

  /// All members are done. Ready for the next iteration.
  void end() {
    for (const auto& of_member : on_end) of_member();
    std::fill(here.begin(), here.end(), 0);
    for (auto& of_round : offers) {
      for (Offer& offer : of_round) offer.clear();
    }
    arrived = again = done = 0;
    ++ends;
    changed.notify_all();
  }
};

Communicator::Communicator(const Schedule& schedule, const Exchanges& exchanges, Trouble& trouble,
                           const Options& options)
    : schedule_(schedule),
      exchanges_(exchanges),
      trouble_(trouble),
      options_(options),
      order_(schedule.ranks.size(), std::vector<std::vector<std::uint32_t>>(stream_count)),
      next_(schedule.ranks.size(), std::vector<std::size_t>(stream_count, 0)) {
  for (const Exchange& exchange : exchanges.all) {
    meetings_.push_back(std::make_unique<Meeting>(exchange.members.size()));
  }
  for (std::uint32_t r = 0; r < schedule.ranks.size(); ++r) {
    const Program& program = schedule.program_of({r});
    for (std::uint32_t i = 0; i < program.size(); ++i) {
      if (!is_exchange(program[i].work)) continue;
      order_[r].at(static_cast<std::size_t>(stream_of(program[i]))).push_back(i);
    }
  }
}

Communicator::~Communicator() = default;

std::string Communicator::name(RankId rank, std::uint32_t op) const {
  return name_of(schedule_.program_of(rank)[op]);
}

/// Only the thread of one stream asks for it.
void Communicator::check_turn(RankId rank, std::uint32_t op) {
  const auto stream = static_cast<std::size_t>(stream_of(schedule_.program_of(rank)[op]));
  const auto& order = order_[rank.value].at(stream);
  std::size_t& next = next_[rank.value].at(stream);
  const std::uint32_t listed = order[next];
  next = (next + 1) % order.size();
  if (listed == op) return;
  trouble_.report({ErrorKind::aborted, rank, listed,
                   fmt::format("out of turn: {} came in its place", name(rank, op))});
  throw Stopped{};
}

void Communicator::seal(Offer& offer) const {
  if (!options_.checksums) return;
  for (Outgoing& outgoing : offer) {
    Checksum sum;
    for (const Segment& segment : outgoing.segments) {
      each_row(segment, [&](const std::byte* row, std::size_t bytes) { sum.add(row, bytes); });
    }
    outgoing.checksum = sum.value();
  }
}

Communicator::Visit::Visit(Communicator& communicator, RankId rank, std::uint32_t op, Offer offer,
                           std::function<void()> on_end)
    : communicator_(communicator),
      rank_(rank),
      exchange_(communicator.exchanges_.of[rank.value][op]) {
  communicator.check_turn(rank, op);
  member_ = place_of(communicator.exchanges_.all[exchange_], rank);
  communicator.seal(offer);
  Meeting& meeting = *communicator.meetings_[exchange_];
  std::unique_lock lock(meeting.mutex);
  meeting.offers[0][member_] = std::move(offer);
  meeting.on_end[member_] = std::move(on_end);
  meeting.here[member_] = 1;
  if (++meeting.arrived == meeting.here.size()) {
    meeting.started = Clock::now();
    meeting.changed.notify_all();
  }
  const bool complete = meeting.changed.wait(
      lock, communicator.trouble_.token(), [&] { return meeting.arrived == meeting.here.size(); });
  if (!complete) throw Stopped{};
}

Communicator::Clock::time_point Communicator::Visit::started() const {
  return communicator_.meetings_[exchange_]->started;  // written before the last one came
}

void Communicator::Visit::take(RankId from, std::span<const Place> places) {
  const Exchange& exchange = communicator_.exchanges_.all[exchange_];
  const Exchange::Member& sender = exchange.members[place_of(exchange, from)];
  const Meeting& meeting = *communicator_.meetings_[exchange_];
  const Offer& offer = meeting.offers.at(round_)[place_of(exchange, from)];  // written
  const auto to_me = std::find_if(offer.begin(), offer.end(),
                                  [&](const Outgoing& outgoing) { return outgoing.to == rank_; });
  const auto fail = [&](const std::string& what) {
    communicator_.trouble_.report({ErrorKind::aborted, from, sender.op, what});
    throw Stopped{};
  };
  const std::size_t shown = to_me == offer.end() ? 0 : to_me->segments.size();
  std::size_t expected = 0;
  for (const Place& place : places) expected += place.rows;
  if (shown != places.size()) {
    if (shown == 0 && expected == 0) return;
    fail(fmt::format("sends {} pieces to rank {}, which expects {}", shown, rank_.value,
                     places.size()));
  }
  Checksum received;
  bool flips = from != rank_ && communicator_.options_.injection != nullptr &&
               communicator_.options_.injection->kind == FaultKind::flipped &&
               communicator_.options_.injection->rank == from &&
               communicator_.options_.injection->op == sender.op;
  for (std::size_t i = 0; i < places.size(); ++i) {
    const Segment& segment = to_me->segments[i];
    if (segment.rows != places[i].rows || segment.row_bytes != places[i].row_bytes) {
      fail(fmt::format("sends {} rows of {} bytes to rank {}, which expects {} of {} bytes",
                       segment.rows, segment.row_bytes, rank_.value, places[i].rows,
                       places[i].row_bytes));
    }
    std::byte* to = places[i].to;
    each_row(segment, [&](const std::byte* row, std::size_t bytes) {
      std::memcpy(to, row, bytes);
      if (flips && bytes > 0) *to ^= std::byte{1};
      flips = flips && bytes == 0;
      if (communicator_.options_.checksums) received.add(to, bytes);
      to += bytes;
    });
    communicator_.moved_bytes_ += segment.bytes();
  }
  if (communicator_.options_.checksums && received.value() != to_me->checksum) {
    fail(fmt::format("its message to rank {} arrived with checksum {:016x}, sent with {:016x}",
                     rank_.value, received.value(), to_me->checksum));
  }
}

void Communicator::Visit::leave() {
  Meeting& meeting = *communicator_.meetings_[exchange_];
  std::unique_lock lock(meeting.mutex);
  const std::uint64_t ends = meeting.ends;
  if (++meeting.done == meeting.here.size()) return meeting.end();
  const bool ended = meeting.changed.wait(lock, communicator_.trouble_.token(),
                                          [&] { return meeting.ends != ends; });
  if (!ended) throw Stopped{};
}

void Communicator::Visit::meet_again(Offer offer) {
  communicator_.seal(offer);
  round_ = 1;
  Meeting& meeting = *communicator_.meetings_[exchange_];
  std::unique_lock lock(meeting.mutex);
  meeting.offers[1][member_] = std::move(offer);
  if (++meeting.again == meeting.here.size()) meeting.changed.notify_all();
  const bool all = meeting.changed.wait(lock, communicator_.trouble_.token(),
                                        [&] { return meeting.again == meeting.here.size(); });
  if (!all) throw Stopped{};
}

std::vector<RankId> Communicator::missing(std::uint32_t exchange, std::uint64_t iteration) const {
  const Meeting& meeting = *meetings_[exchange];
  const std::scoped_lock lock(meeting.mutex);
  std::vector<RankId> out;
  if (meeting.ends > iteration) return out;
  for (std::size_t m = 0; m < meeting.here.size(); ++m) {
    if (meeting.here[m] == 0) out.push_back(exchanges_.all[exchange].members[m].rank);
  }
  return out;
}

}  // namespace zebroid
