#include "core/gzip.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zlib.h>

#include "core/error.hpp"

namespace zebroid {
namespace {

using ::testing::HasSubstr;

constexpr std::size_t limit = 1U << 20U;

std::string packed(const std::string& text) {
  z_stream stream{};
  constexpr int gzip = 16 + MAX_WBITS;
  deflateInit2(&stream, Z_BEST_COMPRESSION, Z_DEFLATED, gzip, 8, Z_DEFAULT_STRATEGY);
  std::string in = text;
  std::string out(deflateBound(&stream, text.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(in.data());
  stream.avail_in = static_cast<uInt>(in.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  EXPECT_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

std::string refusal(const std::string& bytes, std::size_t most = limit) {
  try {
    gunzip(bytes, most, "x.gz");
    return "";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::input);
    return error.what();
  }
}

TEST(Gunzip, GivesBackWhatWasPacked) {
  std::string text;
  for (int i = 0; i < 100'000; ++i) text += static_cast<char>('a' + i * i % 23);
  for (const std::string& any : {std::string(), std::string("one"), text}) {
    EXPECT_EQ(gunzip(packed(any), limit, "x.gz"), any);
  }
}

TEST(Gunzip, JoinsMembersAndPassesOverPadding) {
  const std::string padding(512, '\0');
  EXPECT_EQ(gunzip(packed("one ") + packed("two"), limit, "x.gz"), "one two");
  EXPECT_EQ(gunzip(packed("one") + padding, limit, "x.gz"), "one");
}

TEST(Gunzip, UnpacksUpToTheLimitAndRefusesABomb) {
  EXPECT_EQ(gunzip(packed(std::string(1000, 'a')), 1000, "x.gz").size(), 1000U);
  EXPECT_EQ(refusal(packed(std::string(1001, 'a')), 1000),
            "x.gz: unpacks to more than the limit of 1000 bytes");
  EXPECT_THAT(refusal(packed(std::string(64U << 20U, 'a'))), HasSubstr("more than the limit"));
  const std::string many = packed(std::string(600, 'a'));
  EXPECT_THAT(refusal(many + many, 1000), HasSubstr("more than the limit"));
}

TEST(Gunzip, RefusesEveryCut) {
  const std::string whole = packed("some text that is long enough to be cut, and then some");
  for (std::size_t length = 0; length < whole.size(); ++length) {
    EXPECT_THAT(refusal(whole.substr(0, length)), HasSubstr("x.gz: ")) << length;
  }
  EXPECT_EQ(refusal(whole.substr(0, whole.size() - 9)), "x.gz: packed data is cut off");
}

TEST(Gunzip, RefusesDamage) {
  std::string damaged = packed("some text that is long enough to be damaged");
  damaged[damaged.size() - 6] ^= 1;  // its checksum
  EXPECT_EQ(refusal(damaged), "x.gz: packed data is damaged");
  EXPECT_EQ(refusal("plain text"), "x.gz: expected gzip, got something else");
  EXPECT_EQ(refusal(packed("one") + "two"), "x.gz: something follows the packed data");
}

}  // namespace
}  // namespace zebroid
