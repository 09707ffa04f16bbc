#pragma once

#include <algorithm>
#include <cstdint>
#include <set>
#include <vector>

#include "backend/host/communicator.hpp"
#include "backend/host/rank_state.hpp"

namespace zebroid {

/// What the exchanges of one rank do. Those of different streams run at the same time.
template <class Real>
class ExchangeOps {
 public:
  /// All outlive this; injection may be nullptr.
  ExchangeOps(RankState<Real>& state, Communicator& communicator, const Injection* injection)
      : state_(state), job_(state.job), communicator_(communicator), injection_(injection) {}

  struct Done {
    Communicator::Clock::time_point started;  ///< when all members had come
    std::uint64_t sent_bytes = 0;             ///< to other ranks
  };
  /// Takes the op's values once all members have come, as their sizes are known then, and gives
  /// back what nobody needs any more when all members have taken theirs. Throws what
  /// Communicator and RankMemory do.
  Done run(std::uint32_t op);

 private:
  /// One exchange while it runs.
  struct Call {
    std::uint32_t op;
    const Op& of;
    std::uint64_t sent_bytes = 0;
  };
  /// An array of which each of `ranks` has its own, to be summed in their order. Parts are cut in
  /// ascending order of ranks, as those of a group that shares optimizer states.
  template <class T>
  struct Summed {
    T* values = nullptr;
    std::size_t size = 0;
    std::vector<RankId> ranks;

    bool has(RankId rank) const {
      return values != nullptr && std::find(ranks.begin(), ranks.end(), rank) != ranks.end();
    }
    Interval part_of(RankId rank) const {
      const auto before =
          std::count_if(ranks.begin(), ranks.end(), [rank](RankId other) { return other < rank; });
      return zebroid::part_of(size, static_cast<std::size_t>(before), ranks.size());
    }
  };

  std::vector<RankId> holders(const Op& op) const;
  bool owns(const Op& op) const;
  Offer checked(Call& call, Offer offer) const;
  Communicator::Visit visit(Call& call, Offer offer);

  Done dispatch(Call& call);
  Offer dispatch_offer(const Op& op) const;
  void receive_rows(const Op& op, Real* rows, Communicator::Visit& visit);
  Done combine(Call& call);
  Offer combine_offer(const Op& op) const;
  void receive_returned(const Op& op, Real* rows, Communicator::Visit& visit);
  Done stage(Call& call);
  Done reduce(Call& call);
  Done gather(Call& call);

  template <class T>
  Done sum(Call& call, const std::vector<Summed<T>>& arrays);
  template <class T>
  void sum_parts(const std::vector<Summed<T>>& arrays, Communicator::Visit& visit);
  template <class T>
  void take_parts(const std::vector<Summed<T>>& arrays, Communicator::Visit& visit);
  template <class T>
  std::set<RankId> others(const std::vector<Summed<T>>& arrays) const;
  template <class T>
  Done hand_on(Call& call, const std::vector<Summed<T>>& arrays);
  template <class T>
  Offer parts_offer(const std::vector<Summed<T>>& arrays, bool own_parts) const;
  std::vector<Summed<Real>> expert_arrays(const Op& op);
  Summed<Real> shared_array(const Op& op);

  RankState<Real>& state_;
  const StepJob& job_;
  Communicator& communicator_;
  const Injection* injection_;
};

}  // namespace zebroid
