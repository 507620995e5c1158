// The soma command.
#include "tools/cli/commands.h"

int main(int argc, char** argv) { return soma::cli::run_command(argc, argv); }
