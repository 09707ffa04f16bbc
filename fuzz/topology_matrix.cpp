#include "fuzz/checks.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace zebroid;
  is_topology(fuzz::text_of(data, size));
  fuzz::check_topology([&] { return read_topology_matrix(fuzz::text_of(data, size), "x.txt"); });
  return 0;
}
