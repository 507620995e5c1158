// The scripted model server as a program: scripted_upstream [--port N] [--script FILE].
// Prints one line of JSON when it listens; ends on SIGTERM or SIGINT, or when its parent does.
#include <signal.h>
#include <sys/prctl.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string_view>

#include "tests/support/scripted_upstream.h"

int main(int argc, char** argv) {
  using namespace soma::test;
  sigset_t ends;
  sigemptyset(&ends);
  sigaddset(&ends, SIGTERM);
  sigaddset(&ends, SIGINT);
  sigprocmask(SIG_BLOCK, &ends, nullptr);  // before the server's thread starts: it inherits this
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  std::uint16_t port = 0;
  Script script;
  for (int i = 1; i < argc; ++i) {
    const std::string_view option = argv[i];
    if (option == "--port" && i + 1 < argc) {
      port = static_cast<std::uint16_t>(std::atoi(argv[++i]));
    } else if (option == "--script" && i + 1 < argc) {
      std::ifstream file(argv[++i]);
      std::stringstream text;
      text << file.rdbuf();
      auto parsed = parse_script(text.str());
      if (!file || !parsed) {
        std::fprintf(stderr, "%s: %s %s\n", argv[i],
                     file ? parsed.error().message.c_str() : "cannot be read",
                     file ? parsed.error().field.c_str() : "");
        return 2;
      }
      script = std::move(*parsed);
    } else {
      std::fprintf(stderr, "usage: scripted_upstream [--port N] [--script FILE]\n");
      return 2;
    }
  }
  auto server = ScriptedUpstream::start(port, std::move(script));
  if (!server) {
    std::fprintf(stderr, "%s\n", server.error().message.c_str());
    return 1;
  }
  std::printf("{\"event\":\"ready\",\"port\":%u,\"base_url\":\"%s\"}\n", (*server)->port(),
              (*server)->base_url().c_str());
  std::fflush(stdout);
  int signal = 0;
  sigwait(&ends, &signal);
  return 0;
}
