#pragma once

namespace zebroid {

/// The zebroid command. Results go to stdout, all else to stderr; returns the exit code
/// (docs/architecture.md, "Exit codes").
int run_command_line(int argc, char** argv) noexcept;

}  // namespace zebroid
