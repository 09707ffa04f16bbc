// The topology of a node, from what a machine prints to a plan.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "core/json.hpp"
#include "tests/support/command.hpp"

namespace zebroid {
namespace {

using ::testing::HasSubstr;
using testing::Ran;
using testing::run_zebroid;
using testing::TemporaryFolder;

const std::string matrix =
    "\tGPU0\tGPU1\tNIC0\tCPU Affinity\n"
    "GPU0\t X \tNV4\tPIX\t0-15\n"
    "GPU1\tNV4\t X \tSYS\t0-15\n"
    "NIC0\tPIX\tSYS\t X \n";

class ShowTopology : public ::testing::Test {
 protected:
  ShowTopology() { folder_.write("topo.txt", matrix); }

  Ran run(const std::string& arguments) const {
    return run_zebroid(arguments, {.folder = folder_.path()});
  }
  const TemporaryFolder& folder() const { return folder_; }

 private:
  TemporaryFolder folder_;
};

TEST_F(ShowTopology, GivesAClusterFileThatCanBePlannedFor) {
  const Ran shown = run("show topo.txt --gpu A40 --json");
  ASSERT_EQ(shown.exit_code, 0) << shown.err;
  const JsonDocument cluster = parse_json(shown.out, "node.json");
  EXPECT_EQ(cluster.root["schema"], "zebroid.cluster/1");
  EXPECT_EQ(cluster.root["gpus"][0]["count"], 2);
  folder().write("node.json", shown.out);
  EXPECT_EQ(run("verify node.json").exit_code, 0);
  const Ran planned =
      run("simulate --model mixtral-w1 --cluster node.json --strategy ep --sequence-length 512");
  EXPECT_EQ(planned.exit_code, 0) << planned.err;
}

TEST_F(ShowTopology, ShowsTheNodeToPeople) {
  const Ran shown = run("show topo.txt --gpu a40");
  EXPECT_EQ(shown.exit_code, 0) << shown.err;
  EXPECT_THAT(shown.out, HasSubstr("topo.txt: a node"));
  EXPECT_THAT(shown.out, HasSubstr("56.25"));
  EXPECT_THAT(shown.out, HasSubstr("NICs: 1"));
}

TEST_F(ShowTopology, RefusesAKindThatIsUnknownAbsentOrOutOfPlace) {
  const Ran unknown = run("show topo.txt --gpu A41");
  EXPECT_EQ(unknown.exit_code, 2);
  EXPECT_THAT(unknown.err, HasSubstr("did you mean 'A40'?"));
  const Ran absent = run("show topo.txt");
  EXPECT_EQ(absent.exit_code, 2);
  EXPECT_THAT(absent.err, HasSubstr("topo.txt: the file does not say what its GPUs are; --gpu"));
  const Ran elsewhere = run("show o1 --gpu A40");
  EXPECT_EQ(elsewhere.exit_code, 2);
  EXPECT_THAT(elsewhere.err, HasSubstr("--gpu goes with the topology of a node"));
}

TEST_F(ShowTopology, NamesFileAndLineOfWhatItCannotRead) {
  folder().write("bad.xml", "<system>\n<cpu>");
  const Ran bad = run("show bad.xml");
  EXPECT_EQ(bad.exit_code, 2);
  EXPECT_THAT(bad.err, HasSubstr("bad.xml:2: not XML"));
}

}  // namespace
}  // namespace zebroid
