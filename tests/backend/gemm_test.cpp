#include "backend/host/gemm.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <thread>
#include <vector>

#include "tests/support/small_models.hpp"

namespace zebroid {
namespace {

using testing::random_numbers;

template <class Real>
std::vector<Real> rounded(const std::vector<double>& values) {
  return {values.begin(), values.end()};
}

std::vector<double> transposed(const std::vector<double>& values, std::size_t rows,
                               std::size_t columns) {
  std::vector<double> out(values.size());
  for (std::size_t i = 0; i < rows; ++i) {
    for (std::size_t j = 0; j < columns; ++j) out[j * rows + i] = values[i * columns + j];
  }
  return out;
}

std::vector<double> textbook(const ProductSize& size, const std::vector<double>& a,
                             const std::vector<double>& b) {
  std::vector<double> out(size.rows * size.columns);
  for (std::size_t i = 0; i < size.rows; ++i) {
    for (std::size_t j = 0; j < size.columns; ++j) {
      for (std::size_t k = 0; k < size.inner; ++k) {
        out[i * size.columns + j] += a[i * size.inner + k] * b[k * size.columns + j];
      }
    }
  }
  return out;
}

const std::vector<ProductSize> sizes = {{1, 1, 1},    {1, 7, 3},      {5, 1, 9},     {3, 4, 1},
                                        {4, 8, 16},   {17, 33, 65},   {64, 64, 64},  {65, 67, 257},
                                        {63, 300, 5}, {130, 259, 70}, {2, 513, 514}, {90, 1, 300},
                                        {0, 5, 3},    {5, 0, 3}};

template <class Real>
using Multiply = void (*)(const ProductSize&, const Factor<Real>&, const Factor<Real>&, Real*,
                          bool);

/// In all four forms, overwriting NaN and adding; the largest error in units of the sum's length.
template <class Real>
double largest_error(Multiply<Real> product, const ProductSize& size) {
  std::mt19937_64 random(size.rows * 1000 + size.columns);
  const std::vector<double> a = random_numbers(random, size.rows * size.inner);
  const std::vector<double> b = random_numbers(random, size.inner * size.columns);
  const std::vector<double> expected = textbook(size, a, b);
  double worst = 0;
  for (const Form a_form : {Form::plain, Form::transposed}) {
    for (const Form b_form : {Form::plain, Form::transposed}) {
      const auto left =
          rounded<Real>(a_form == Form::plain ? a : transposed(a, size.rows, size.inner));
      const auto right =
          rounded<Real>(b_form == Form::plain ? b : transposed(b, size.inner, size.columns));
      for (const bool adds : {false, true}) {
        std::vector<Real> c(expected.size(),
                            adds ? Real{3} : std::numeric_limits<Real>::quiet_NaN());
        product(size, {left.data(), a_form}, {right.data(), b_form}, c.data(), adds);
        for (std::size_t i = 0; i < c.size(); ++i) {
          const double error = std::abs(static_cast<double>(c[i]) - expected[i] - (adds ? 3 : 0));
          worst = std::max(worst, std::isnan(error) ? HUGE_VAL : error);
        }
      }
    }
  }
  return worst / static_cast<double>(size.inner);
}

TEST(Gemm, MultipliesInEveryFormAndSize) {
  for (const ProductSize& size : sizes) {
    SCOPED_TRACE(::testing::Message() << size.rows << " x " << size.columns << " x " << size.inner);
    EXPECT_LT(largest_error<double>(multiply<double>, size), 2e-15);
    EXPECT_LT(largest_error<double>(multiply_in_loops<double>, size), 2e-15);
    EXPECT_LT(largest_error<float>(multiply<float>, size), 1e-6);
    EXPECT_LT(largest_error<float>(multiply_in_loops<float>, size), 1e-6);
  }
}

TEST(Gemm, WithoutInnerElementsIsZeroOrWhatWasThere) {
  std::vector<double> c = {5, 6};
  multiply<double>({1, 2, 0}, {nullptr}, {nullptr}, c.data(), true);
  EXPECT_THAT(c, ::testing::ElementsAre(5, 6));
  multiply<double>({1, 2, 0}, {nullptr}, {nullptr}, c.data());
  EXPECT_THAT(c, ::testing::ElementsAre(0, 0));
}

/// The product with each array `shift` elements into its own memory.
template <class Real>
std::vector<Real> shifted(const ProductSize& size, std::size_t shift) {
  std::mt19937_64 random(7);
  auto a = rounded<Real>(random_numbers(random, size.rows * size.inner));
  auto b = rounded<Real>(random_numbers(random, size.inner * size.columns));
  a.insert(a.begin(), shift, Real{9});
  b.insert(b.begin(), 2 * shift, Real{9});
  std::vector<Real> c(3 * shift + size.rows * size.columns);
  multiply<Real>(size, {a.data() + shift, Form::plain}, {b.data() + 2 * shift, Form::plain},
                 c.data() + 3 * shift);
  return {c.begin() + static_cast<std::ptrdiff_t>(3 * shift), c.end()};
}

TEST(Gemm, GivesTheSameBitsWhereverTheArraysLie) {
  for (const ProductSize& size : sizes) {
    if (size.inner == 0) continue;
    for (const std::size_t shift : {1, 2, 3, 5}) {
      EXPECT_EQ(shifted<float>(size, shift), shifted<float>(size, 0));
      EXPECT_EQ(shifted<double>(size, shift), shifted<double>(size, 0));
    }
  }
}

TEST(Gemm, GivesTheSameBitsOnManyThreadsAtOnce) {
  const ProductSize size = {130, 259, 300};
  const std::vector<float> alone = shifted<float>(size, 0);
  std::vector<int> equal(6);
  std::vector<std::thread> threads;
  for (int& same : equal) {
    threads.emplace_back([&] {
      same = 1;
      for (int i = 0; i < 20; ++i) same = same != 0 && shifted<float>(size, 0) == alone ? 1 : 0;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(equal, ::testing::Each(1));
}

TEST(Gemm, NamesWhatMultiplies) {
  EXPECT_THAT(gemm_library(), ::testing::AnyOf(::testing::MatchesRegex("OpenBLAS .+ \\(.+\\)"),
                                               ::testing::StrEq("plain loops")));
}

}  // namespace
}  // namespace zebroid
