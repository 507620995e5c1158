// The loop beside a resolver that does not answer.
#include "runtime/effects/http_loop.h"

#include <dlfcn.h>
#include <gtest/gtest.h>
#include <netdb.h>

#include <atomic>
#include <chrono>
#include <future>
#include <string_view>
#include <thread>

namespace {
// Outlive whoever is left behind in them.
std::atomic<bool> g_asked{false}, g_answers{false};
}  // namespace

// In place of the system's own, for libcurl too.
extern "C" __attribute__((visibility("default"))) int getaddrinfo(const char* node,
                                                                  const char* service,
                                                                  const addrinfo* hints,
                                                                  addrinfo** found) {
  if (node && std::string_view(node) == "silent.test") {
    g_asked = true;
    while (!g_answers) std::this_thread::yield();
    return EAI_NONAME;
  }
  static const auto real =
      reinterpret_cast<decltype(&getaddrinfo)>(::dlsym(RTLD_NEXT, "getaddrinfo"));
  return real(node, service, hints, found);
}

namespace soma::runtime {
namespace {

TEST(HttpLoop, ACallThatStillAsksForItsAddressEndsAtOnce) {
  HttpLoop loop(1);
  const auto ended = std::make_shared<std::promise<HttpEnd::Kind>>();
  auto end = ended->get_future();
  auto call = std::make_unique<HttpCall>();
  call->id = "call";
  call->url = "http://silent.test/";
  call->direct = true;
  call->on_end = [ended](const HttpEnd& e) { ended->set_value(e.kind); };
  loop.start(std::move(call));
  while (!g_asked) std::this_thread::yield();
  loop.cancel("call");
  const bool at_once = end.wait_for(std::chrono::seconds(20)) == std::future_status::ready;
  g_answers = true;
  EXPECT_TRUE(at_once);
  EXPECT_EQ(end.get(), HttpEnd::Kind::kCancelled);
}

}  // namespace
}  // namespace soma::runtime
