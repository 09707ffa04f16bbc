#pragma once

#include <filesystem>

namespace zebroid {

/// The folder of shipped configs: $ZEBROID_CONFIG_DIR, else that of the source tree, else the
/// installed one. Throws Error(input) when none exists.
std::filesystem::path config_dir();

}  // namespace zebroid
