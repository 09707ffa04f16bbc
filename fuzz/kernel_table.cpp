#include "fuzz/checks.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace zebroid;
  fuzz::check_samples(read_kernel_table(fuzz::text_of(data, size), "a40.csv", {.gpu = "A40"}));
  return 0;
}
