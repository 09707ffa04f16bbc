#include "core/journal.hpp"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <string>

#include "core/error.hpp"
#include "tests/support/command.hpp"

namespace zebroid {
namespace {

using ::testing::HasSubstr;

constexpr Digest red{1, 2};
constexpr Digest blue{3, 4};

class JournalFile : public ::testing::Test {
 protected:
  Journal open() const { return Journal(path_); }
  std::string text() const { return folder_.read("j"); }
  void write(const std::string& text) const { folder_.write("j", text); }

  const testing::TemporaryFolder folder_;
  const std::filesystem::path path_ = folder_.path() / "j";
};

TEST_F(JournalFile, GivesBackWhatIsAppended) {
  Journal journal = open();
  EXPECT_EQ(journal.find(red), std::nullopt);
  journal.append(red, "first record");
  journal.append(blue, "");
  EXPECT_EQ(journal.find(red), "first record");
  EXPECT_EQ(journal.find(blue), "");
}

TEST_F(JournalFile, OutlivesItsProcess) {
  { open().append(red, "first"); }
  { open().append(blue, "second"); }
  const Journal journal = open();
  EXPECT_EQ(journal.find(red), "first");
  EXPECT_EQ(journal.find(blue), "second");
}

TEST_F(JournalFile, DropsATornLastLineWhereverItIsTorn) {
  { open().append(red, "first"); }
  const std::string whole = text();
  { open().append(blue, "second"); }
  const std::string both = text();
  for (std::size_t size = 0; size < both.size(); ++size) {
    write(both.substr(0, size));
    Journal journal = open();
    EXPECT_EQ(journal.contains(red), size >= whole.size()) << size;
    EXPECT_FALSE(journal.contains(blue)) << size;
    journal.append(blue, "again");
    EXPECT_EQ(journal.find(blue), "again") << size;
  }
}

TEST_F(JournalFile, DropsALineWithAFlippedBit) {
  { open().append(red, "first"); }
  const std::size_t begin = text().size();
  { open().append(blue, "second"); }
  const std::string sound = text();
  for (std::size_t at = begin; at + 1 < sound.size(); ++at) {
    std::string damaged = sound;
    damaged[at] = static_cast<char>(damaged[at] ^ 1);
    write(damaged);
    const Journal journal = open();
    EXPECT_EQ(journal.find(red), "first");
    EXPECT_FALSE(journal.contains(blue)) << at;
  }
}

TEST_F(JournalFile, IsRefusedWhenItIsSomethingElse) {
  write("dear diary\n");
  EXPECT_THROW(open(), Error);
  EXPECT_EQ(text(), "dear diary\n");
}

TEST_F(JournalFile, IsRefusedToASecondProcess) {
  const Journal journal = open();
  const pid_t other = fork();
  if (other == 0) {
    try {
      open();
      _exit(0);
    } catch (const Error& error) {
      _exit(std::string(error.what()).ends_with("in use by another process") ? 7 : 1);
    }
  }
  int status = 0;
  waitpid(other, &status, 0);
  EXPECT_EQ(WEXITSTATUS(status), 7);
}

TEST_F(JournalFile, LeavesNothingWhenRemoved) {
  Journal journal = open();
  journal.append(red, "first");
  journal.remove();
  EXPECT_FALSE(std::filesystem::exists(path_));
}

TEST(Digests, AreTheSameEverywhere) {
  EXPECT_EQ(to_text(digest("")), "99aa06d3014798d86001c324468d497f");  // XXH3's published value
  EXPECT_EQ(parse_digest(to_text(red)), red);
  EXPECT_EQ(parse_digest("0001"), std::nullopt);
  EXPECT_EQ(parse_digest(std::string(32, 'x')), std::nullopt);
}

}  // namespace
}  // namespace zebroid
