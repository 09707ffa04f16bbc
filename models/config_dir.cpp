#include "models/config_dir.hpp"

#include <fmt/format.h>

#include <cstdlib>

#include "core/error.hpp"

namespace zebroid {

std::filesystem::path config_dir() {
  std::error_code ignored;
  const char* const named = std::getenv("ZEBROID_CONFIG_DIR");  // NOLINT(concurrency-mt-unsafe)
  if (named != nullptr && *named != '\0') {
    if (std::filesystem::is_directory(named, ignored)) return named;
    throw Error(ErrorKind::input, fmt::format("ZEBROID_CONFIG_DIR: {} is not a folder", named));
  }
  for (const char* folder : {ZEBROID_SOURCE_CONFIG_DIR, ZEBROID_INSTALL_CONFIG_DIR}) {
    if (std::filesystem::is_directory(folder, ignored)) return folder;
  }
  throw Error(ErrorKind::input,
              fmt::format("no folder of configs: neither {} nor {} exists; set ZEBROID_CONFIG_DIR",
                          ZEBROID_SOURCE_CONFIG_DIR, ZEBROID_INSTALL_CONFIG_DIR));
}

}  // namespace zebroid
