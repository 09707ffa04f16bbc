#include "tests/support/random_load.hpp"

#include <cmath>

namespace zebroid::testing {
namespace {

std::uint64_t mix(std::uint64_t x) {  // the finalizer of SplitMix64
  x += 0x9E3779B97F4A7C15ULL;
  x = (x ^ (x >> 30U)) * 0xBF58476D1CE4E5B9ULL;
  x = (x ^ (x >> 27U)) * 0x94D049BB133111EBULL;
  return x ^ (x >> 31U);
}

bool moves_tokens(Work work) {
  return work == Work::dispatch || work == Work::combine || work == Work::stage;
}

}  // namespace

RandomLoad::RandomLoad(const Schedule& schedule, const Scenario& scenario, std::uint64_t seed,
                       double message_s)
    : schedule_(schedule), seed_(seed), message_s_(message_s), network_(scenario.cluster) {}

double RandomLoad::draw(std::uint64_t a, std::uint64_t b, const Op& op) const {
  std::uint64_t x = mix(seed_ ^ mix(a * 1000003 + b));
  for (const std::uint64_t field :
       {static_cast<std::uint64_t>(op.work), static_cast<std::uint64_t>(op.pass),
        static_cast<std::uint64_t>(op.layer), static_cast<std::uint64_t>(op.microbatch),
        static_cast<std::uint64_t>(op.chunk)}) {
    x = mix(x ^ field);
  }
  return static_cast<double>(x >> 11U) / 9007199254740992.0;
}

Seconds RandomLoad::seconds(RankId rank, const Op& op) const {
  const double u = draw(rank.value, 0, op);
  return {u < 0.05 ? 0 : scale * 2 * u};
}

Bytes RandomLoad::bytes(GroupId group, const Op& op, RankId from, RankId to) const {
  const double u = draw(from.value, to.value + 1, op);
  constexpr double port = 12.5e9;
  if (moves_tokens(op.work)) {
    if (u < 0.1) return {};
    return {scale * std::round(port * message_s_ * 2 * u / 4)};
  }
  const auto& members = schedule_.groups[group.value];
  for (std::size_t i = 0; i < members.size(); ++i) {  // a ring
    if (members[i] == from && members[(i + 1) % members.size()] == to) {
      return {scale * std::round(port * message_s_ * 0.1)};
    }
  }
  return {};
}

Seconds RandomLoad::latency(GroupId /*group*/, const Op& /*op*/) const { return {scale * 0.001}; }

}  // namespace zebroid::testing
