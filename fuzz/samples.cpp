#include "fuzz/checks.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace zebroid;
  fuzz::check_samples(read_samples(fuzz::text_of(data, size), "x.ndjson"));
  return 0;
}
