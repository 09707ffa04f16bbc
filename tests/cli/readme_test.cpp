// README.md keeps its promises: its commands run, and what it names exists.

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <regex>
#include <sstream>
#include <string>
#include <vector>

#include "core/file.hpp"
#include "models/config_dir.hpp"
#include "tests/support/command.hpp"

namespace zebroid {
namespace {

namespace fs = std::filesystem;

const fs::path root = ZEBROID_SOURCE_DIR;

std::string readme() { return read_file(root / "README.md", std::size_t{1} << 20U); }

/// The text, split at lines of ```: every second part is the inside of a fenced block.
std::vector<std::string> parts_of(const std::string& text) {
  std::vector<std::string> out = {""};
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("```")) {
      out.emplace_back();
    } else {
      out.back() += line + "\n";
    }
  }
  return out;
}

/// Lines of fenced blocks that begin with the command, as one would type them.
std::vector<std::string> commands_in(const std::string& text) {
  std::vector<std::string> out;
  const std::vector<std::string> parts = parts_of(text);
  for (std::size_t i = 1; i < parts.size(); i += 2) {
    std::istringstream lines(std::regex_replace(parts[i], std::regex("\\\\\n\\s*"), ""));
    for (std::string line; std::getline(lines, line);) {
      std::smatch found;
      if (std::regex_match(line, found, std::regex("(\\$ )?(build/release/)?(zebroid .*)"))) {
        out.push_back(found[3]);
      }
    }
  }
  return out;
}

std::vector<std::string> matches(const std::string& text, const std::string& pattern) {
  const std::regex regex(pattern);
  std::vector<std::string> out;
  for (std::sregex_iterator at(text.begin(), text.end(), regex), end; at != end; ++at) {
    out.push_back((*at)[1]);
  }
  return out;
}

/// Links and pictures that are no web pages, without what follows a #.
std::vector<std::string> links_in(const std::string& text) {
  std::vector<std::string> out;
  for (const std::string& link : matches(text, "\\]\\(([^)#\\s]+)[^)]*\\)")) {
    if (link.find("://") == std::string::npos) out.push_back(link);
  }
  return out;
}

TEST(Readme, ItsCommandsRunAndPrintTheTablesThatItShows) {
  const std::vector<std::string> commands = commands_in(readme());
  ASSERT_FALSE(commands.empty());
  const testing::TemporaryFolder folder;
  // A model of the reader's own.
  fs::copy_file(config_dir() / "models" / "mixtral-w1.json", folder.path() / "config.json");
  // And measurements.
  fs::create_directory(folder.path() / "mytables");
  write_file(folder.path() / "mytables" / "a40.csv",
             "gpu,op,kernel,dtype,m,n,k,time_us\n"
             "A40,gemm,cublas,bf16,2048,6144,4096,950\nA40,gemm,cublas,bf16,8192,6144,4096,3600\n");
  fs::copy_file(root / "fuzz" / "corpus" / "nccl_log" / "new.log", folder.path() / "nccl.log");
  std::vector<std::string> outputs;
  for (const std::string& command : commands) {
    const testing::Ran ran = testing::run_line(command, {.folder = folder.path()});
    EXPECT_EQ(ran.exit_code, 0) << command << "\n" << ran.err;
    outputs.push_back(ran.out);
  }
  const std::vector<std::string> parts = parts_of(readme());
  for (std::size_t i = 1; i < parts.size(); i += 2) {
    if (parts[i].find("strategy  ") == std::string::npos) continue;  // a table of results
    EXPECT_NE(std::find(outputs.begin(), outputs.end(), parts[i]), outputs.end())
        << "no command prints\n"
        << parts[i];
  }
}

TEST(Readme, NamesScriptsThatCanBeRun) {
  for (const std::string& script : matches(readme(), "\\b(scripts/[\\w./-]*\\w)")) {
    EXPECT_TRUE(fs::is_regular_file(root / script)) << script;
    EXPECT_NE(fs::status(root / script).permissions() & fs::perms::owner_exec, fs::perms::none)
        << script;
  }
}

TEST(Readme, LinksToWhatExists) {
  const std::vector<std::string> links = links_in(readme());
  ASSERT_FALSE(links.empty());
  for (const std::string& link : links) EXPECT_TRUE(fs::exists(root / link)) << link;
}

TEST(Readme, CommandsAreFoundInFencedBlocksOnly) {
  const std::string text =
      "zebroid outside\n```sh\n$ zebroid one \\\n    --more\nsome zebroid\nbuild/release/zebroid "
      "two > file\n```\nzebroid between\n```\nzebroid three\n```\n";
  const std::vector<std::string> expected = {"zebroid one --more", "zebroid two > file",
                                             "zebroid three"};
  EXPECT_EQ(commands_in(text), expected);
}

TEST(Readme, LinksAreFoundWithoutTheirSections) {
  const std::vector<std::string> expected = {"a.png", "docs/b.md"};
  EXPECT_EQ(links_in("![x](a.png) [y](docs/b.md#part) [z](https://z.org/) [w](#part)"), expected);
}

}  // namespace
}  // namespace zebroid
