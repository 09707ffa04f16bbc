#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>
#include <zlib.h>

#include <filesystem>

#include "core/error.hpp"
#include "core/gzip.hpp"
#include "tests/support/command.hpp"
#include "traces/readers.hpp"

namespace zebroid {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::StartsWith;

constexpr const char* table = "gemm_dtype,m,n,k,latency,device\nbf16,1,2,3,4,NVIDIA A40\n";
constexpr const char* samples =
    "{\"schema\":\"zebroid.samples/1\"}\n"
    "{\"gpu\":\"T4\",\"op\":\"gemm\",\"kernel\":\"c\",\"dtype\":\"fp16\",\"m\":1,\"n\":2,\"k\":3,"
    "\"time_us\":4}\n";

/// As gzip would write it.
void write_packed(const testing::TemporaryFolder& folder, const std::string& name,
                  const std::string& content) {
  const gzFile file = gzopen((folder.path() / name).c_str(), "wb9");
  gzwrite(file, content.data(), static_cast<unsigned>(content.size()));
  gzclose(file);
}

std::vector<std::string> gpus(const Samples& read) {
  std::vector<std::string> out;
  for (const Sample& sample : read.samples) out.push_back(sample.gpu);
  return out;
}

class Measurements : public ::testing::Test {
 protected:
  Samples read(const std::string& name = "") const {
    return read_measurements({name.empty() ? folder_.path() : folder_.path() / name}, {});
  }
  std::string path(const std::string& name) const { return (folder_.path() / name).string(); }

  testing::TemporaryFolder folder_;
};

TEST_F(Measurements, AreKnownByWhatTheyHold) {
  folder_.write("a.txt", table);
  folder_.write("b.csv", samples);
  write_packed(folder_, "c", table);
  const Samples got = read();
  EXPECT_THAT(got.complaints, IsEmpty());
  EXPECT_THAT(gpus(got), ElementsAre("A40", "T4", "A40"));
  EXPECT_EQ(got.samples[2].source, path("c"));
}

TEST_F(Measurements, OfFoldersComeByName) {
  fs::create_directories(folder_.path() / "b" / "deep");
  folder_.write("c.csv", samples);
  folder_.write("b/deep/x.csv", table);
  folder_.write("a.csv", samples);
  fs::create_directory_symlink(folder_.path(), folder_.path() / "b" / "back");
  EXPECT_THAT(gpus(read()), ElementsAre("T4", "A40", "T4"));
}

TEST_F(Measurements, GivenTwiceCountOnce) {
  folder_.write("a.csv", table);
  const Samples got = read_measurements({folder_.path(), path("a.csv")}, {});
  EXPECT_THAT(got.samples, SizeIs(1));
}

TEST_F(Measurements, OfNoKnownFormatAreNamed) {
  folder_.write("empty", "");
  folder_.write("model.json", "{\n  \"hidden_size\": 4096\n}\n");
  folder_.write("program", std::string("\x7f"
                                       "ELF\0\0",
                                       6));
  folder_.write("prose.txt", "Dear reader, this is about m, n and k.\n");
  folder_.write("z.csv", table);
  const Samples got = read();
  EXPECT_THAT(got.samples, SizeIs(1));
  ASSERT_THAT(got.complaints, SizeIs(4));
  for (const std::string& complaint : got.complaints) {
    EXPECT_THAT(complaint, HasSubstr(": no format that zebroid reads: CSV tables"));
  }
  EXPECT_THAT(got.complaints[0], StartsWith(path("empty")));
}

TEST_F(Measurements, OfATableThatLacksAColumnSayWhich) {
  folder_.write("x.csv", "m,n,k,latency\n1,1,1,1\n");
  EXPECT_THAT(read().complaints, ElementsAre(HasSubstr("x.csv:1: expected also the columns "
                                                       "gemm_dtype of the table AIConfigurator")));
}

TEST_F(Measurements, ThatCannotBeUnpackedOrReadCostOnlyThemselves) {
  write_packed(folder_, "bomb.csv.gz", std::string(most_unpacked + 1, ','));
  folder_.write("cut.gz", "\x1f\x8b\x08");
  folder_.write("good.csv", table);
  const Samples got = read();
  EXPECT_THAT(got.samples, SizeIs(1));
  EXPECT_THAT(got.complaints, ElementsAre(path("bomb.csv.gz") +
                                              ": unpacks to more than the limit of 268435456 bytes",
                                          path("cut.gz") + ": packed data is cut off"));
}

TEST_F(Measurements, InLockedFilesAreNamed) {
  if (::geteuid() == 0) GTEST_SKIP() << "root reads everything";
  folder_.write("locked.csv", table);
  folder_.write("z.csv", table);
  fs::permissions(path("locked.csv"), fs::perms::none);
  const Samples got = read();
  EXPECT_THAT(got.samples, SizeIs(1));
  EXPECT_THAT(got.complaints, ElementsAre(HasSubstr("locked.csv: cannot read")));
}

TEST_F(Measurements, OfNoFileAreAnError) {
  try {
    read("missing");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::input);
    EXPECT_EQ(error.what(), path("missing") + ": cannot read: No such file or directory");
  }
}

TEST_F(Measurements, AreNotRoutingTraces) {
  const std::string meta = "{\"type\": \"meta\"}\n";
  const std::string one = "{\"layer\": 3, \"topk_ids\": [1, 2]}\n";
  const std::string same = "{\"layer\": 3, \"topk_ids\": [2, 1]}\n";
  const std::string other = "{\"layer\": 3, \"topk_ids\": [2, 4]}\n";
  const std::string message = ": a routing trace, not a measurement";
  folder_.write("load", meta + one + same + other);
  folder_.write("short", meta + one);
  folder_.write("warm", meta + one + "broken topk_ids\n" + same);
  folder_.write("whole", "{\"activations\": [{\"layer\": 0, \"expert_idx\": 1}]}\n");
  EXPECT_THAT(read().complaints,
              ElementsAre(path("load") + message, path("short") + message,
                          path("warm") + message +
                              "; in layer 3 one pattern for all tokens: a warm-up pass, not load",
                          path("whole") + message));
}

TEST_F(Measurements, AreNotTheRoutingTracesOfOtherTools) {
  const fs::path routing = fs::path(ZEBROID_SHARED_DATA_DIR) / "routing";
  if (!fs::exists(routing)) GTEST_SKIP() << routing << " is not here";
  const Samples got = read_measurements({routing}, {});
  EXPECT_THAT(got.samples, IsEmpty());
  ASSERT_THAT(got.complaints, SizeIs(2));
  for (const std::string& complaint : got.complaints) {
    EXPECT_THAT(complaint, HasSubstr("a routing trace, not a measurement"));
  }
}

TEST_F(Measurements, OfOtherToolsAreReadByTheFolder) {
  const fs::path tables = fs::path(ZEBROID_SHARED_DATA_DIR) / "kernel-bench";
  if (!fs::exists(tables)) GTEST_SKIP() << tables << " is not here";
  const Samples got = read_measurements({tables}, {});
  // 159 + 2 * (504 + 5457 + 9240) + 6360 + 12718 + 2 * (1988 + 10440)
  EXPECT_EQ(got.samples.size(), 74495U);
  EXPECT_THAT(got.complaints, SizeIs(1)) << "a remark in the column of times";
  EXPECT_THAT(got.notes, SizeIs(5)) << "DeepBench's and Vidur's files name no GPU";
}

}  // namespace
}  // namespace zebroid
