#include "cli/app.hpp"

int main(int argc, char** argv) { return zebroid::run_command_line(argc, argv); }
