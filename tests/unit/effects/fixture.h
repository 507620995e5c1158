// A model client with an upstream beside it, and answers to wait for.
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "runtime/effects/slm_client.h"
#include "tests/support/scripted_upstream.h"

namespace soma::test {

inline constexpr auto kPatience = std::chrono::seconds(20);

// What one chat told: its tokens as they came, its outcome once.
struct Chat {
  std::mutex mutex;
  std::vector<std::pair<std::uint32_t, std::string>> tokens;
  int outcomes = 0;
  std::promise<Result<v1::ModelAnswer>> promise;
  std::future<Result<v1::ModelAnswer>> future = promise.get_future();

  Result<v1::ModelAnswer> wait() {
    if (future.wait_for(kPatience) != std::future_status::ready)
      return fail(Code::kInternal, "TEST: no outcome came");
    return future.get();
  }
  std::string text() {
    std::lock_guard lock(mutex);
    std::string all;
    for (const auto& [index, t] : tokens) all += t;
    return all;
  }
};

class SlmTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto started = ScriptedUpstream::start();
    ASSERT_TRUE(started) << started.error().message;
    upstream = std::move(*started);
    endpoint.base_url = upstream->base_url();
    endpoint.model = "scripted";
  }

  static v1::ModelRequest request(const std::string& id,
                                  const std::string& prompt = "hello there") {
    v1::ModelRequest r;
    r.set_call_id(id);
    auto* m = r.add_messages();
    m->set_role("user");
    m->set_content(prompt);
    return r;
  }

  std::shared_ptr<Chat> chat(const v1::ModelRequest& r, const std::string& traceparent = {}) {
    auto c = std::make_shared<Chat>();
    client->chat(
        endpoint, r, traceparent,
        [c](std::uint32_t index, const std::string& text) {
          std::lock_guard lock(c->mutex);
          c->tokens.emplace_back(index, text);
        },
        [c](Result<v1::ModelAnswer> answer) {
          {
            std::lock_guard lock(c->mutex);
            ++c->outcomes;
          }
          c->promise.set_value(std::move(answer));
        });
    return c;
  }

  Result<v1::EmbedResult> embed(const std::vector<std::string>& texts) {
    auto promise = std::make_shared<std::promise<Result<v1::EmbedResult>>>();
    auto future = promise->get_future();
    client->embed(endpoint, texts,
                  [promise](Result<v1::EmbedResult> r) { promise->set_value(std::move(r)); });
    if (future.wait_for(kPatience) != std::future_status::ready)
      return fail(Code::kInternal, "TEST: no outcome came");
    return future.get();
  }

  using SlmEndpoint = runtime::SlmEndpoint;
  using SlmClient = runtime::SlmClient;
  std::unique_ptr<ScriptedUpstream> upstream;
  SlmEndpoint endpoint;
  std::unique_ptr<SlmClient> client = SlmClient::create();  // goes first
};

}  // namespace soma::test
