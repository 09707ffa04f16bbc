#include "backend/host/attention_core.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

#include "backend/host/gemm.hpp"
#include "backend/host/rows.hpp"

namespace zebroid {
namespace {

/// Queries that meet their keys in one product.
constexpr std::size_t block_queries = 64;

/// Queries [first, end) of a sequence and the keys [low, end) that they can see.
struct Block {
  std::size_t first = 0;
  std::size_t end = 0;
  std::size_t low = 0;

  std::size_t queries() const { return end - first; }
  std::size_t keys() const { return end - low; }
};

/// The first key that a query sees.
std::size_t first_seen(const Attention& attention, std::size_t query) {
  const std::size_t window = attention.window;
  if (window == 0) return 0;
  if (attention.chunked) return query / window * window;
  return query + 1 > window ? query + 1 - window : 0;
}

/// In a head's block, keys [low, high) of one query's row, counted from the block's low.
struct Seen {
  std::size_t low = 0;
  std::size_t high = 0;
};
Seen seen(const Attention& attention, const Block& block, std::size_t row) {
  const std::size_t query = block.first + row;
  return {first_seen(attention, query) - block.low, query + 1 - block.low};
}

Block block_at(const Attention& attention, std::size_t first, std::size_t length) {
  return {first, std::min(first + block_queries, length), first_seen(attention, first)};
}

/// One head of [tokens, heads, head_dim] in one sequence, as [length, head_dim].
template <class Real>
class Head {
 public:
  Head(const Attention& attention, const Tokens& tokens)
      : width_(attention.head_dim), length_(tokens.length), values_(length_ * width_) {}

  /// Reads head `head` of `heads` from the sequence that starts at token `start`.
  void read(const Real* array, std::size_t start, std::size_t head, std::size_t heads) {
    for (std::size_t i = 0; i < length_; ++i) {
      std::copy_n(array + ((start + i) * heads + head) * width_, width_, row(i));
    }
  }
  void write(Real* array, std::size_t start, std::size_t head, std::size_t heads) const {
    for (std::size_t i = 0; i < length_; ++i) {
      std::copy_n(row(i), width_, array + ((start + i) * heads + head) * width_);
    }
  }
  void clear() { std::fill(values_.begin(), values_.end(), Real{0}); }

  Real* row(std::size_t i) { return values_.data() + i * width_; }
  const Real* row(std::size_t i) const { return values_.data() + i * width_; }

 private:
  std::size_t width_, length_;
  std::vector<Real> values_;
};

template <class Real>
Real inverse_root(std::size_t head_dim) {
  return static_cast<Real>(1 / std::sqrt(static_cast<double>(head_dim)));
}

/// A place for [queries, keys] of any block.
template <class Real>
std::vector<Real> block_array(const Tokens& tokens) {
  return std::vector<Real>(std::min(block_queries, tokens.length) * tokens.length);
}

template <class Real>
void clear_unseen(const Seen& range, std::size_t keys, Real* row) {
  std::fill(row, row + range.low, Real{0});
  std::fill(row + range.high, row + keys, Real{0});
}

template <class Real>
class Forward {
 public:
  Forward(const Attention& attention, const Tokens& tokens, const AttentionValues<Real>& values)
      : attention_(attention),
        tokens_(tokens),
        values_(values),
        query_(attention, tokens),
        key_(attention, tokens),
        value_(attention, tokens),
        attended_(attention, tokens),
        scores_(block_array<Real>(tokens)) {}

  void run() {
    const std::size_t group = attention_.heads / attention_.kv_heads;
    for (std::size_t start = 0; start < tokens_.count(); start += tokens_.length) {
      for (std::size_t head = 0; head < attention_.heads; ++head) {
        if (head % group == 0) {
          key_.read(values_.key, start, head / group, attention_.kv_heads);
          value_.read(values_.value, start, head / group, attention_.kv_heads);
        }
        query_.read(values_.query, start, head, attention_.heads);
        for (std::size_t first = 0; first < tokens_.length; first += block_queries) {
          run_block(block_at(attention_, first, tokens_.length),
                    values_.logsumexp + start * attention_.heads + head);
        }
        attended_.write(values_.attended, start, head, attention_.heads);
      }
    }
  }

 private:
  void run_block(const Block& block, Real* logsumexp) {
    const std::size_t width = attention_.head_dim;
    multiply({block.queries(), block.keys(), width}, {query_.row(block.first)},
             {key_.row(block.low), Form::transposed}, scores_.data());
    for (std::size_t row = 0; row < block.queries(); ++row) {
      Real* scores = scores_.data() + row * block.keys();
      const Seen range = seen(attention_, block, row);
      logsumexp[(block.first + row) * attention_.heads] = softmax(range, scores);
      clear_unseen(range, block.keys(), scores);
    }
    multiply({block.queries(), width, block.keys()}, {scores_.data()}, {value_.row(block.low)},
             attended_.row(block.first));
  }

  /// Of a row's scores before scaling; returns the logsumexp.
  Real softmax(const Seen& range, Real* scores) const {
    Real* of_row = scores + range.low;
    const std::size_t size = range.high - range.low;
    scale_row(scale_, size, of_row);
    const Real most = largest(of_row, size);
    const Real sum = exponentials(of_row, size, most, of_row);
    scale_row(1 / sum, size, of_row);
    return most + std::log(sum);
  }

  const Attention& attention_;
  Tokens tokens_;
  const AttentionValues<Real>& values_;
  Real scale_ = inverse_root<Real>(attention_.head_dim);
  Head<Real> query_, key_, value_, attended_;
  std::vector<Real> scores_;
};

template <class Real>
class Backward {
 public:
  Backward(const Attention& attention, const Tokens& tokens, const AttentionValues<Real>& values,
           const AttentionValues<Real>& gradients)
      : attention_(attention),
        tokens_(tokens),
        values_(values),
        gradients_(gradients),
        query_(attention, tokens),
        key_(attention, tokens),
        value_(attention, tokens),
        dattended_(attention, tokens),
        dquery_(attention, tokens),
        dkey_(attention, tokens),
        dvalue_(attention, tokens),
        shares_(block_array<Real>(tokens)),
        dscores_(block_array<Real>(tokens)) {}

  void run() {
    for (std::size_t start = 0; start < tokens_.count(); start += tokens_.length) {
      for (std::size_t kv_head = 0; kv_head < attention_.kv_heads; ++kv_head) {
        run_group(start, kv_head);
      }
    }
  }

 private:
  void run_group(std::size_t start, std::size_t kv_head) {
    const std::size_t group = attention_.heads / attention_.kv_heads;
    key_.read(values_.key, start, kv_head, attention_.kv_heads);
    value_.read(values_.value, start, kv_head, attention_.kv_heads);
    dkey_.clear();
    dvalue_.clear();
    for (std::size_t head = kv_head * group; head < (kv_head + 1) * group; ++head) {
      query_.read(values_.query, start, head, attention_.heads);
      dattended_.read(gradients_.attended, start, head, attention_.heads);
      for (std::size_t first = 0; first < tokens_.length; first += block_queries) {
        run_block(block_at(attention_, first, tokens_.length), start * attention_.heads + head);
      }
      dquery_.write(gradients_.query, start, head, attention_.heads);
    }
    dkey_.write(gradients_.key, start, kv_head, attention_.kv_heads);
    dvalue_.write(gradients_.value, start, kv_head, attention_.kv_heads);
  }

  /// at: of the head's first token in [tokens, heads].
  void run_block(const Block& block, std::size_t at) {
    const std::size_t width = attention_.head_dim;
    const Real* dattended = dattended_.row(block.first);
    multiply({block.queries(), block.keys(), width}, {query_.row(block.first)},
             {key_.row(block.low), Form::transposed}, shares_.data());
    multiply({block.queries(), block.keys(), width}, {dattended},
             {value_.row(block.low), Form::transposed}, dscores_.data());
    for (std::size_t row = 0; row < block.queries(); ++row) {
      run_row(block, row, at + (block.first + row) * attention_.heads);
    }
    multiply({block.keys(), width, block.queries()}, {shares_.data(), Form::transposed},
             {dattended}, dvalue_.row(block.low), true);
    multiply({block.queries(), width, block.keys()}, {dscores_.data()}, {key_.row(block.low)},
             dquery_.row(block.first));
    multiply({block.keys(), width, block.queries()}, {dscores_.data(), Form::transposed},
             {query_.row(block.first)}, dkey_.row(block.low), true);
  }

  /// Scores before scaling become shares, and gradients of shares those of scores.
  void run_row(const Block& block, std::size_t row, std::size_t at) {
    const std::size_t width = attention_.head_dim;
    const Seen range = seen(attention_, block, row);
    Real* shares = shares_.data() + row * block.keys();
    Real* dscores = dscores_.data() + row * block.keys();
    const Real logsumexp = values_.logsumexp[at];
    const Real delta = dot(dattended_.row(block.first + row), values_.attended + at * width, width);
    for (std::size_t key = range.low; key < range.high; ++key) {
      shares[key] = std::exp(shares[key] * scale_ - logsumexp);
    }
    for (std::size_t key = range.low; key < range.high; ++key) {
      dscores[key] = shares[key] * (dscores[key] - delta) * scale_;
    }
    clear_unseen(range, block.keys(), shares);
    clear_unseen(range, block.keys(), dscores);
  }

  const Attention& attention_;
  Tokens tokens_;
  const AttentionValues<Real>& values_;
  const AttentionValues<Real>& gradients_;
  Real scale_ = inverse_root<Real>(attention_.head_dim);
  Head<Real> query_, key_, value_, dattended_, dquery_, dkey_, dvalue_;
  std::vector<Real> shares_, dscores_;
};

}  // namespace

template <class Real>
void attend(const Attention& attention, const Tokens& tokens, const AttentionValues<Real>& values) {
  Forward<Real>(attention, tokens, values).run();
}

template <class Real>
void attend_backward(const Attention& attention, const Tokens& tokens,
                     const AttentionValues<Real>& values, const AttentionValues<Real>& gradients) {
  Backward<Real>(attention, tokens, values, gradients).run();
}

template void attend(const Attention&, const Tokens&, const AttentionValues<float>&);
template void attend(const Attention&, const Tokens&, const AttentionValues<double>&);
template void attend_backward(const Attention&, const Tokens&, const AttentionValues<float>&,
                              const AttentionValues<float>&);
template void attend_backward(const Attention&, const Tokens&, const AttentionValues<double>&,
                              const AttentionValues<double>&);

}  // namespace zebroid
