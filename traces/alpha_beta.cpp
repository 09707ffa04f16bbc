#include "traces/alpha_beta.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <limits>

namespace zebroid {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr std::size_t least_points = 3;

struct Line {
  double alpha = 0;         // us
  double beta = 0;          // us per byte
  double error = infinity;  // sum of squared relative errors
};

/// Sums over transfers that give the best line through any run of them in constant time.
class Lines {
 public:
  explicit Lines(const std::vector<Transfer>& transfers) : sums_(1) {
    for (const auto [bytes, time] : transfers) {
      const double weight = 1 / (time * time);
      const Sums& s = sums_.back();
      sums_.push_back({s.one + weight, s.x + weight * bytes, s.xx + weight * bytes * bytes,
                       s.y + weight * time, s.xy + weight * bytes * time});
    }
  }

  /// Through transfers [begin, end); neither number below 0.
  Line through(std::size_t begin, std::size_t end) const {
    const Sums s = sums_[end] - sums_[begin];
    const auto count = static_cast<double>(end - begin);
    Line out;
    const double determinant = s.one * s.xx - s.x * s.x;
    if (end - begin > 1 && determinant > 1e-12 * s.one * s.xx) {
      out.alpha = (s.xx * s.y - s.x * s.xy) / determinant;
      out.beta = (s.one * s.xy - s.x * s.y) / determinant;
    } else {
      out.beta = s.xx > 0 ? s.xy / s.xx : 0;
    }
    if (out.alpha < 0) {
      out.alpha = 0;
      out.beta = s.xx > 0 ? s.xy / s.xx : 0;
    } else if (out.beta < 0) {
      out.beta = 0;
      out.alpha = s.y / s.one;
    }
    const double squares = count - 2 * (out.alpha * s.y + out.beta * s.xy) +
                           out.alpha * out.alpha * s.one + 2 * out.alpha * out.beta * s.x +
                           out.beta * out.beta * s.xx;
    out.error = std::max(squares, 0.0);
    return out;
  }

 private:
  struct Sums {
    double one = 0, x = 0, xx = 0, y = 0, xy = 0;
    friend Sums operator-(const Sums& a, const Sums& b) {
      return {a.one - b.one, a.x - b.x, a.xx - b.xx, a.y - b.y, a.xy - b.xy};
    }
  };
  std::vector<Sums> sums_;  // of the transfers before each
};

/// Evenly spread ones where there are many: the fit takes the square of their number.
std::vector<Transfer> thinned(const std::vector<Transfer>& all) {
  constexpr std::size_t enough = 1000;
  if (all.size() <= enough) return all;
  std::vector<Transfer> out;
  for (std::size_t i = 0; i < enough; ++i) out.push_back(all[i * all.size() / enough]);
  return out;
}

AlphaBeta piece_of(double from_bytes, const Line& line) {
  constexpr double fastest = 1e9;      // GB/s, for a time that does not grow
  constexpr double micro_giga = 1e-3;  // bytes per us -> GB/s
  return {from_bytes, line.alpha,
          line.beta > 0 ? std::min(micro_giga / line.beta, fastest) : fastest};
}

}  // namespace

std::vector<AlphaBeta> fit_alpha_beta(const std::vector<Transfer>& all) {
  constexpr std::size_t most_pieces = 6;
  constexpr double numbers_per_piece = 3;  // alpha, rate, where it begins
  constexpr double least_variance = 1e-8;  // of a relative error: finer is below any timer
  const std::vector<Transfer> transfers = thinned(all);
  const std::size_t n = transfers.size();
  const Lines lines(transfers);
  if (n < least_points) return {piece_of(transfers.front().bytes, lines.through(0, n))};

  // error[k][end]: least error of k + 1 pieces over transfers [0, end); begin: of the last piece.
  std::array<std::vector<double>, most_pieces> error;
  std::array<std::vector<std::size_t>, most_pieces> begin;
  double least_criterion = infinity;
  std::size_t best = 0;
  for (std::size_t k = 0; k < most_pieces; ++k) {
    error.at(k).assign(n + 1, infinity);
    begin.at(k).assign(n + 1, 0);
    for (std::size_t end = least_points * (k + 1); end <= n; ++end) {
      if (k == 0) {
        error[0][end] = lines.through(0, end).error;
        continue;
      }
      for (std::size_t from = least_points * k; from + least_points <= end; ++from) {
        const double sum = error.at(k - 1)[from] + lines.through(from, end).error;
        if (sum >= error.at(k)[end]) continue;
        error.at(k)[end] = sum;
        begin.at(k)[end] = from;
      }
    }
    const auto count = static_cast<double>(n);
    const double variance = std::max(error.at(k)[n] / count, least_variance);
    const double criterion = count * std::log(variance) +
                             numbers_per_piece * static_cast<double>(k + 1) * std::log(count);
    if (!(criterion < least_criterion)) continue;
    least_criterion = criterion;
    best = k;
  }
  std::vector<AlphaBeta> out;
  std::size_t end = n;
  for (std::size_t k = best + 1; k-- > 0;) {
    const std::size_t from = k == 0 ? 0 : begin.at(k)[end];
    out.push_back(piece_of(transfers[from].bytes, lines.through(from, end)));
    end = from;
  }
  std::reverse(out.begin(), out.end());
  return out;
}

}  // namespace zebroid
