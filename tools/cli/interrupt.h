// Ctrl-C in commands that end well on it.
#pragma once

namespace soma::cli {

// From here on the first Ctrl-C is only remembered; the second one ends the process.
void hear_interrupts();
bool interrupted();

}  // namespace soma::cli
