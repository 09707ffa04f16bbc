#include "fuzz/checks.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace zebroid;
  fuzz::check_topology([&] { return read_topology_xml(fuzz::text_of(data, size), "x.xml"); });
  return 0;
}
