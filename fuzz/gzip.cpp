#include "core/gzip.hpp"

#include "fuzz/checks.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace zebroid;
  constexpr std::size_t limit = std::size_t{1} << 20U;
  try {
    fuzz::require(gunzip(fuzz::text_of(data, size), limit, "x.gz").size() <= limit);
  } catch (const Error& error) {
    fuzz::require(error.kind() == ErrorKind::input);
  }
  return 0;
}
