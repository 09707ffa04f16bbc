#include "fuzz/checks.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace zebroid;
  fuzz::check_samples(read_nccl_log(fuzz::text_of(data, size), "all_reduce.log", {}));
  return 0;
}
