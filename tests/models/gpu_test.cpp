#include "models/gpu.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "core/error.hpp"

namespace zebroid {
namespace {

using ::testing::HasSubstr;

/// Datasheet figures in TFLOP/s, GB/s and GiB.
struct Datasheet {
  const char* name;
  double capability;
  double half;
  double single;
  double memory_rate;
  double memory;
  double link;
  double pcie;
  double watts;
};

class CatalogueGpu : public ::testing::TestWithParam<Datasheet> {};

TEST_P(CatalogueGpu, HasTheFiguresOfItsDatasheet) {
  const Datasheet& sheet = GetParam();
  const GpuSpec& gpu = find_gpu(sheet.name);
  EXPECT_EQ(gpu.name, sheet.name);
  EXPECT_DOUBLE_EQ(gpu.compute_capability, sheet.capability);
  EXPECT_DOUBLE_EQ(gpu.half_peak.value, sheet.half * 1e12);
  EXPECT_DOUBLE_EQ(gpu.single_peak.value, sheet.single * 1e12);
  EXPECT_DOUBLE_EQ(gpu.memory_bandwidth.value, sheet.memory_rate * 1e9);
  EXPECT_DOUBLE_EQ(gpu.memory.value, sheet.memory * 1024 * 1024 * 1024);
  EXPECT_DOUBLE_EQ(gpu.link.value, sheet.link * 1e9);
  EXPECT_DOUBLE_EQ(gpu.pcie.value, sheet.pcie * 1e9);
  EXPECT_DOUBLE_EQ(gpu.watts.value_or(0), sheet.watts);
}

TEST_P(CatalogueGpu, NamesItsSource) { EXPECT_NE(find_gpu(GetParam().name).source, ""); }

TEST_P(CatalogueGpu, HasBf16AndFlashAttentionFromComputeCapability8) {
  const GpuSpec& gpu = find_gpu(GetParam().name);
  EXPECT_EQ(gpu.bf16, gpu.compute_capability >= 8);
  EXPECT_EQ(gpu.flash_attention, gpu.compute_capability >= 8);
}

INSTANTIATE_TEST_SUITE_P(
    All, CatalogueGpu,
    ::testing::Values(Datasheet{"A40", 8.6, 149.7, 37.4, 696, 48, 56.25, 32, 300},
                      Datasheet{"V100-16GB", 7.0, 112, 14, 900, 16, 0, 16, 250},
                      Datasheet{"V100-32GB", 7.0, 112, 14, 900, 32, 0, 16, 250},
                      Datasheet{"V100-SXM2-16GB", 7.0, 125, 15.7, 900, 16, 150, 16, 300},
                      Datasheet{"V100-SXM2-32GB", 7.0, 125, 15.7, 900, 32, 150, 16, 300},
                      Datasheet{"T4", 7.5, 65, 8.1, 320, 16, 0, 16, 70},
                      Datasheet{"L4", 8.9, 121, 30.3, 300, 24, 0, 32, 72},
                      Datasheet{"L40S", 8.9, 362, 91.6, 864, 48, 0, 32, 350},
                      Datasheet{"A10G", 8.6, 70, 35, 600, 24, 0, 32, 300},
                      Datasheet{"A100-40GB", 8.0, 312, 19.5, 1555, 40, 300, 32, 400},
                      Datasheet{"A100-80GB", 8.0, 312, 19.5, 2039, 80, 300, 32, 400},
                      Datasheet{"A100-PCIe-80GB", 8.0, 312, 19.5, 1935, 80, 300, 32, 300},
                      Datasheet{"H100", 9.0, 989, 67, 3350, 80, 450, 64, 700},
                      Datasheet{"H100-PCIe", 9.0, 756, 51, 2000, 80, 300, 64, 350},
                      Datasheet{"H200", 9.0, 989, 67, 4800, 141, 450, 64, 700},
                      Datasheet{"B200", 10.0, 2250, 80, 7700, 180, 900, 128, 1000}),
    [](const auto& instance) {
      std::string name = instance.param.name;
      std::erase(name, '-');
      return name;
    });

TEST(GpuCatalogue, HasSixteenGpus) { EXPECT_EQ(gpu_catalogue().size(), 16U); }

TEST(GpuCatalogue, JoinsOnlyTwoGpusByABridge) {
  EXPECT_EQ(find_gpu("A40").link_gpus, 2U);
  EXPECT_EQ(find_gpu("H100-PCIe").link_gpus, 2U);
  EXPECT_EQ(find_gpu("H100").link_gpus, 0U);
}

TEST(GpuCatalogue, FindsAGpuInAnyCase) {
  EXPECT_EQ(find_gpu("a100-pcie-80gb").name, "A100-PCIe-80GB");
}

TEST(GpuCatalogue, OffersTheNearestNameForAnUnknownGpu) {
  try {
    find_gpu("A41");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::input);
    EXPECT_STREQ(error.what(), "unknown GPU 'A41'; did you mean 'A40'?");
  }
}

TEST(GpuCatalogue, AsksWhichVariantIsMeant) {
  EXPECT_EQ(unknown_gpu("v100", gpu_catalogue()),
            "unknown GPU 'v100'; which of V100-16GB, V100-32GB, V100-SXM2-16GB, V100-SXM2-32GB?");
  EXPECT_EQ(unknown_gpu("A100-PCIe", gpu_catalogue()),
            "unknown GPU 'A100-PCIe'; which of A100-PCIe-80GB?");
}

struct Reading {
  GpuSpec gpu;
  std::vector<std::string> faults;
};

Reading read(const Json& json, const std::string& name = "MyGPU") {
  const JsonDocument document{"gpu", "", json};
  Faults faults;
  GpuSpec gpu = read_gpu(JsonView(document, faults), name);
  return {std::move(gpu), faults.all()};
}

TEST(GpuReading, GivesBackEveryGpuOfTheCatalogue) {
  for (const GpuSpec& gpu : gpu_catalogue()) {
    const Reading reading = read(to_json(gpu), gpu.name);
    EXPECT_TRUE(reading.faults.empty());
    EXPECT_EQ(reading.gpu, gpu);
  }
}

TEST(GpuReading, GivesBackAGpuWithoutTheOptionalFigures) {
  GpuSpec gpu = find_gpu("A40");
  gpu.watts.reset();
  gpu.price_per_hour = 0.35;
  gpu.sm_share_of_exchanges = 0.1;
  EXPECT_EQ(read(to_json(gpu), "A40").gpu, gpu);
}

TEST(GpuReading, TakesWhatIsNotSaidFromTheGpuThatItIsLike) {
  const Reading reading = read({{"like", "a100-80gb"}, {"half_tflops", 500}});
  EXPECT_TRUE(reading.faults.empty());
  EXPECT_EQ(reading.gpu.name, "MyGPU");
  EXPECT_EQ(reading.gpu.like, "A100-80GB");
  EXPECT_DOUBLE_EQ(reading.gpu.half_peak.value, 500e12);
  EXPECT_EQ(reading.gpu.memory, find_gpu("A100-80GB").memory);
  EXPECT_EQ(reading.gpu.source, "as described, the rest like A100-80GB");
  EXPECT_EQ(read(to_json(reading.gpu)).gpu, reading.gpu);
}

TEST(GpuReading, ChangesAGpuOfTheCatalogueByItsName) {
  const Reading reading = read({{"link_GBps", 0}}, "A40");
  EXPECT_TRUE(reading.faults.empty());
  EXPECT_EQ(reading.gpu.link.value, 0);
  EXPECT_EQ(reading.gpu.half_peak, find_gpu("A40").half_peak);
}

TEST(GpuReading, NamesEveryFigureThatAnUnknownGpuLacks) {
  const Reading reading = read({{"half_tflops", 500}});
  EXPECT_EQ(reading.faults.size(), 8U);
  EXPECT_THAT(reading.faults.front(), HasSubstr("key \"single_tflops\" is missing"));
}

TEST(GpuReading, OffersTheNearestGpuToBeLike) {
  const Reading reading = read({{"like", "H101"}});
  ASSERT_EQ(reading.faults.size(), 1U);
  EXPECT_EQ(reading.faults.front(), "gpu: /like: unknown GPU 'H101'; did you mean 'H100'?");
}

TEST(GpuReading, RefusesAnUnknownKey) {
  const Reading reading = read({{"like", "A40"}, {"half_tflop", 500}});
  ASSERT_EQ(reading.faults.size(), 1U);
  EXPECT_THAT(reading.faults.front(), HasSubstr("did you mean 'half_tflops'?"));
}

TEST(GpuReading, RefusesFiguresThatNoGpuCanHave) {
  for (const char* key : {"half_tflops", "single_tflops", "memory_GBps", "memory_GiB", "pcie_GBps",
                          "compute_capability"}) {
    EXPECT_EQ(read({{"like", "A40"}, {key, 0}}).faults.size(), 1U) << key;
    EXPECT_EQ(read({{"like", "A40"}, {key, -1}}).faults.size(), 1U) << key;
    EXPECT_EQ(read({{"like", "A40"}, {key, 1e300}}).faults.size(), 1U) << key;
    EXPECT_EQ(read({{"like", "A40"}, {key, "many"}}).faults.size(), 1U) << key;
  }
  EXPECT_EQ(read({{"like", "A40"}, {"link_GBps", 1e-300}}).faults.size(), 1U);
  EXPECT_EQ(read({{"like", "A40"}, {"sm_share_of_exchanges", 1}}).faults.size(), 1U);
}

TEST(GpuReading, RefusesWhatIsNoObject) {
  EXPECT_FALSE(read(Json::array()).faults.empty());
  EXPECT_FALSE(read("A40").faults.empty());
}

}  // namespace
}  // namespace zebroid
