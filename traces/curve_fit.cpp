#include "traces/curve_fit.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <map>

namespace zebroid {
namespace {

class CurveFit {
 public:
  CurveFit(const std::vector<TimedCall>& calls, double memory_efficiency, const Peaks& peaks)
      : calls_(thinned(calls)),
        memory_efficiency_(memory_efficiency),
        peaks_(peaks),
        memory_bound_(calls.front().call.op == MeasuredOp::elementwise) {
    std::map<int, double> in_octave;
    for (const TimedCall& timed : calls_) ++in_octave[octave_of(timed.call)];
    for (const TimedCall& timed : calls_) {
      weights_.push_back(1 / in_octave[octave_of(timed.call)] /
                         static_cast<double>(in_octave.size()));
    }
  }

  KernelCurve best() const {
    KernelCurve out;
    double least = std::numeric_limits<double>::infinity();
    for (const double efficiency : {0.25, 0.75}) {
      for (const double half_size : {memory_bound_ ? 0.0 : 16.0, 256.0}) {
        if (memory_bound_ && half_size > 0) continue;  // no size decides their rate
        const auto [curve, error] =
            descend({efficiency, half_size, first_launch_us, memory_efficiency_});
        if (error < least) {
          least = error;
          out = curve;
        }
      }
    }
    if (memory_bound_) out.memory_efficiency = 0;  // it is the efficiency
    return out;
  }

 private:
  // efficiency, half size, launch in us, memory efficiency
  using Numbers = std::array<double, 4>;
  static constexpr double first_launch_us = 5;

  static int octave_of(const KernelCall& call) {
    const double work = call.flops.value > 0 ? call.flops.value : call.bytes.value;
    return static_cast<int>(std::floor(std::log2(std::max(work, 1.0))));
  }

  /// Of each octave of work a hundred calls, evenly: more say no more.
  static std::vector<TimedCall> thinned(const std::vector<TimedCall>& calls) {
    constexpr std::size_t enough = 100;
    std::map<int, std::vector<const TimedCall*>> octaves;
    for (const TimedCall& timed : calls) octaves[octave_of(timed.call)].push_back(&timed);
    std::vector<TimedCall> out;
    for (const auto& [octave, all] : octaves) {
      const std::size_t kept = std::min(enough, all.size());
      for (std::size_t i = 0; i < kept; ++i) out.push_back(*all[i * all.size() / kept]);
    }
    return out;
  }

  KernelCurve curve_of(const Numbers& numbers) const {
    constexpr double micro = 1e-6;
    KernelCurve out;
    out.efficiency = numbers[0];
    out.half_size = numbers[1];
    out.launch = {numbers[2] * micro};
    out.memory_efficiency = memory_bound_ ? numbers[0] : numbers[3];
    return out;
  }

  /// Each base-3 digit of `move` leaves a number, multiplies or divides it; within what a
  /// calibration file may hold.
  static Numbers moved(Numbers numbers, int move, double factor) {
    constexpr Numbers most = {1, 1e9, 1e6, 1};
    constexpr double least_efficiency = 1e-4;
    for (std::size_t i = 0; i < numbers.size(); ++i, move /= 3) {
      if (move % 3 == 1) numbers.at(i) *= factor;
      if (move % 3 == 2) numbers.at(i) /= factor;
      numbers.at(i) = std::min(numbers.at(i), most.at(i));
    }
    numbers[0] = std::max(numbers[0], least_efficiency);
    numbers[3] = std::max(numbers[3], least_efficiency);
    return numbers;
  }

  double error(const Numbers& numbers) const {
    const KernelCurve curve = curve_of(numbers);
    double sum = 0;
    for (std::size_t i = 0; i < calls_.size(); ++i) {
      const Seconds predicted = curve_time(calls_[i].call, curve, peaks_);
      sum += weights_[i] * std::abs(std::log(predicted / calls_[i].time));
    }
    return sum;
  }

  /// Pattern search: each number up or down by a factor or left as it is, smaller factors when no
  /// such move helps. Numbers move together too: the error has narrow slanted valleys.
  std::pair<KernelCurve, double> descend(Numbers at) const {
    constexpr double first_step = 0.5;
    constexpr double last_step = 0.004;
    // Base-3 digits, one per number. Those of all numbers cost more, so they come last.
    constexpr std::array<int, 8> single = {1, 2, 3, 6, 9, 18, 27, 54};
    constexpr int moves = 81;
    double least = error(at);
    const auto improve = [&](int move, double step) {
      const Numbers tried = moved(at, move, 1 + step);
      const double now = error(tried);
      if (now >= least) return false;
      least = now;
      at = tried;
      return true;
    };
    for (double step = first_step; step > last_step;) {
      bool better = false;
      for (const int move : single) better = improve(move, step) || better;
      for (int move = 1; move < moves && !better; ++move) better = improve(move, step);
      if (!better) step /= 2;
    }
    return {curve_of(at), least};
  }

  std::vector<TimedCall> calls_;
  std::vector<double> weights_;
  double memory_efficiency_;
  Peaks peaks_;
  bool memory_bound_;
};

}  // namespace

KernelCurve fit_curve(const std::vector<TimedCall>& calls, double memory_efficiency,
                      const Peaks& peaks) {
  return CurveFit(calls, memory_efficiency, peaks).best();
}

}  // namespace zebroid
