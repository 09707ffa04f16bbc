#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "models/gpu.hpp"
#include "traces/readers.hpp"

namespace zebroid {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

TEST(Device, IsFoundInTheCatalogueAsDriversPrintIt) {
  const std::vector<std::pair<const char*, const char*>> devices = {
      {"NVIDIA A100-SXM4-80GB", "A100-80GB"},
      {"A100-SXM4-40GB", "A100-40GB"},
      {"A100-SXM-80GB", "A100-80GB"},
      {"NVIDIA A100 80GB PCIe", "A100-PCIe-80GB"},
      {"Tesla V100-SXM2-16GB", "V100-SXM2-16GB"},
      {"Tesla V100-SXM2-32GB", "V100-SXM2-32GB"},
      {"Tesla V100-PCIE-16GB", "V100-16GB"},
      {"Tesla V100-PCIE-32GB", "V100-32GB"},
      {"Tesla T4", "T4"},
      {"NVIDIA L40S", "L40S"},
      {"NVIDIA A40", "A40"},
      {"NVIDIA A10G", "A10G"},
      {"NVIDIA L4", "L4"},
      {"NVIDIA H100 80GB HBM3", "H100"},
      {"NVIDIA H100 PCIe", "H100-PCIe"},
      {"NVIDIA H200", "H200"},
      {"NVIDIA B200", "B200"}};
  for (const auto& [device, gpu] : devices) EXPECT_EQ(gpu_of_device(device), gpu) << device;
}

TEST(Device, OfTheCatalogueIsItself) {
  for (const GpuSpec& gpu : gpu_catalogue()) EXPECT_EQ(gpu_of_device(gpu.name), gpu.name);
  EXPECT_EQ(gpu_of_device("a40"), "A40");
}

TEST(Device, ThatIsAnotherCardIsUnknown) {
  for (const char* device :
       {"", "NVIDIA", "NVIDIA A10", "NVIDIA L40", "NVIDIA A100-PCIE-40GB", "NVIDIA H100 NVL",
        "NVIDIA H200 NVL", "NVIDIA A40-48Q", "Tesla V100-SXM3-32GB", "Tesla V100", "NVIDIA GH200",
        "NVIDIA H100 80GB HBM3 MIG 1g.10gb", "NVIDIA GeForce RTX 4090"}) {
    EXPECT_EQ(gpu_of_device(device), "") << device;
  }
}

Samples table_without_device(const std::string& name, const std::string& gpu = "") {
  return read_kernel_table("m,n,k,gemm_dtype,latency\n1,1,1,fp8,1\n2,1,1,fp8,1\n", name,
                           {.gpu = gpu});
}

TEST(GpuOfFile, IsAWholeWordOfItsName) {
  const std::vector<std::pair<const char*, const char*>> names = {
      {"A40.csv", "A40"},
      {"vidur_a40_mlp.csv", "A40"},
      {"x-l40s.csv.gz", "L40S"},
      {"h100.csv", "H100"},
      {"h100_pcie.csv", "H100-PCIe"},
      {"aic_a100_gemm.csv", "A100-40GB"},
      {"aic_a100_sxm4_80gb.csv", "A100-80GB"},
      {"v100-sxm2-32gb.csv", "V100-SXM2-32GB"},
      {"DeepBench_NV_V100_gemm.csv", "V100-16GB"},
      {"profiles/a40/mlp.csv", "A40"},
      {"a100/with/t4.csv", "T4"}};
  for (const auto& [name, gpu] : names) {
    const Samples read = table_without_device(name);
    ASSERT_THAT(read.samples, SizeIs(2)) << name;
    EXPECT_EQ(read.samples.front().gpu, gpu) << name;
    EXPECT_THAT(read.complaints, IsEmpty()) << name;
    EXPECT_THAT(read.notes,
                ElementsAre(std::string(name) + " names no GPU; " + gpu + " taken from its name"));
  }
}

TEST(GpuOfFile, IsWhatTheCallerSays) {
  const Samples read = table_without_device("a40.csv", "l4");
  EXPECT_EQ(read.samples.at(0).gpu, "L4");
  EXPECT_THAT(read.notes, IsEmpty());
}

TEST(GpuOfFile, ThatNobodyKnowsCostsItsSamples) {
  for (const char* name : {"x.csv", "a400.csv", "my/dota40.csv"}) {
    const Samples read = table_without_device(name);
    EXPECT_THAT(read.samples, IsEmpty());
    EXPECT_THAT(read.complaints,
                ElementsAre(std::string(name) + ": expected the GPU that was measured in the file "
                                                "or in its name, got none"));
  }
}

TEST(GpuOfFile, IsNotGuessedWhereItsNameHasSeveral) {
  const Samples read = table_without_device("a40_against_t4.csv");
  EXPECT_THAT(read.samples, IsEmpty());
  EXPECT_THAT(read.complaints, ElementsAre(HasSubstr("got a name with several: A40, T4")));
}

}  // namespace
}  // namespace zebroid
