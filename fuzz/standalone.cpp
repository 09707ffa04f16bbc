// Runs a target over files, for compilers without libFuzzer: standalone FILE...
#include <exception>
#include <iostream>

#include "core/file.hpp"
#include "fuzz/target.hpp"

int main(int argc, char** argv) {
  constexpr std::size_t limit = std::size_t{1} << 20U;
  try {
    for (int i = 1; i < argc; ++i) {
      std::cout << argv[i] << std::endl;  // before it runs: it may crash
      const std::string text = zebroid::read_file(argv[i], limit);
      LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(text.data()), text.size());
    }
  } catch (const std::exception& error) {
    std::cerr << error.what() << '\n';
    return 1;
  }
  return argc > 1 ? 0 : 1;  // a target without a corpus tests nothing
}
