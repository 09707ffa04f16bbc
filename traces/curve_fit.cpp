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
      : calls_(calls),
        memory_efficiency_(memory_efficiency),
        peaks_(peaks),
        memory_bound_(calls.front().call.op == MeasuredOp::elementwise) {
    std::map<int, double> in_octave;
    for (const TimedCall& timed : calls) ++in_octave[octave_of(timed.call)];
    for (const TimedCall& timed : calls) {
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
        const auto [curve, error] = descend({efficiency, half_size, first_launch_us});
        if (error < least) {
          least = error;
          out = curve;
        }
      }
    }
    return out;
  }

 private:
  using Numbers = std::array<double, 3>;  // efficiency, half size, launch in us
  static constexpr double first_launch_us = 5;

  static int octave_of(const KernelCall& call) {
    const double work = call.flops.value > 0 ? call.flops.value : call.bytes.value;
    return static_cast<int>(std::floor(std::log2(std::max(work, 1.0))));
  }

  static KernelCurve curve_of(const Numbers& numbers) {
    constexpr double micro = 1e-6;
    KernelCurve out;
    out.efficiency = numbers[0];
    out.half_size = numbers[1];
    out.launch = {numbers[2] * micro};
    return out;
  }

  /// Each base-3 digit of `move` leaves a number, multiplies or divides it; within what a
  /// calibration file may hold.
  static Numbers moved(Numbers numbers, int move, double factor) {
    constexpr Numbers most = {1, 1e9, 1e6};
    constexpr double least_efficiency = 1e-4;
    for (std::size_t i = 0; i < numbers.size(); ++i, move /= 3) {
      if (move % 3 == 1) numbers.at(i) *= factor;
      if (move % 3 == 2) numbers.at(i) /= factor;
      numbers.at(i) = std::min(numbers.at(i), most.at(i));
    }
    numbers[0] = std::max(numbers[0], least_efficiency);
    return numbers;
  }

  double error(const Numbers& numbers) const {
    const KernelCurve curve = curve_of(numbers);
    const double memory = memory_bound_ ? curve.efficiency : memory_efficiency_;
    double sum = 0;
    for (std::size_t i = 0; i < calls_.size(); ++i) {
      const Seconds predicted = curve_time(calls_[i].call, curve, memory, peaks_);
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
    constexpr std::array<int, 6> single = {1, 2, 3, 6, 9, 18};
    constexpr int moves = 27;
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

  const std::vector<TimedCall>& calls_;
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
