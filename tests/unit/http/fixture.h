// A server on a free loopback port with a few routes that show what reached the handler.
#pragma once

#include <gtest/gtest.h>

#include <boost/json/object.hpp>
#include <future>
#include <mutex>
#include <vector>

#include "raw_client.h"
#include "runtime/http/server.h"

namespace soma::runtime::http {

// "Bearer TENANT CAPABILITY" is the caller; the real verification has its own tests.
inline Result<security::Identity> toy_auth(std::optional<std::string_view> header) {
  if (!header) return fail(Code::kUnauthenticated, "Missing bearer token");
  const std::string text(header->substr(7));
  const auto space = text.find(' ');
  if (space == text.npos) return fail(Code::kUnauthenticated, "Invalid token");
  security::Identity identity;
  identity.principal.set_tenant(text.substr(0, space));
  identity.principal.set_subject("sam");
  identity.principal.add_capabilities(text.substr(space + 1));
  return identity;
}

struct ServerTest : testing::Test {
  Router router;
  Metrics metrics;
  ServerOptions options;
  std::unique_ptr<Server> server;
  std::mutex mutex;
  std::vector<Responder> held;                        // by /hold, until the test answers
  std::vector<std::shared_ptr<EventStream>> streams;  // by /stream

  void add(const char* method, const char* pattern, const char* capability, Handler handler,
           SchemaRef request = nullptr, std::size_t body_limit = 0) {
    Route r;
    r.method = method;
    r.pattern = pattern;
    r.capability = capability;
    r.request = std::move(request);
    r.body_limit = body_limit;
    r.query = {{.name = "limit", .type = FieldType::kInt, .min = 1.0, .max = 200.0}};
    router.add(std::move(r), std::move(handler));
  }

  // GET /wait keeps the only io thread until `go`; `waiting` grows when it does.
  void add_wait(Router& to, std::promise<void>& go, std::vector<int>& waiting) {
    to.add({.method = "GET", .pattern = "/wait", .capability = "public"},
           [&](std::shared_ptr<Request>, Responder responder) {
             {
               const std::lock_guard lock(mutex);
               waiting.push_back(1);
             }
             go.get_future().wait();
             responder.send(json_response(200, {}));
           });
  }

  static void echo(std::shared_ptr<Request> request, Responder responder) {
    boost::json::object out{{"method", request->method},
                            {"body", request->body},
                            {"tenant", request->tenant()},
                            {"request_id", request->request_id},
                            {"key", request->idempotency_key}};
    for (const auto& [name, value] : request->params) out[name] = value;
    for (const auto& [name, value] : request->query) out["query_" + name] = value;
    responder.send(json_response(200, out));
  }

  ServerTest() {
    options.listen = "127.0.0.1:0";
    options.access_log = ServerOptions::AccessLog::kOff;
    options.metrics = &metrics;
    add("GET", "/echo", "public", echo);
    add("POST", "/echo", "public", echo);
    add("GET", "/items/{id}", "item:read", echo);
    add("POST", "/big", "public", echo, nullptr, 4 * 1024 * 1024);
    add("POST", "/prompt", "public", echo,
        make_schema("Prompt", {{.name = "prompt", .required = true, .min_length = 1}}));
    add("GET", "/drop", "public", [](std::shared_ptr<Request>, Responder) {});
    add("GET", "/throw", "public",
        [](std::shared_ptr<Request>, Responder) { throw std::runtime_error("secret detail"); });
    add("GET", "/hold", "public", [this](std::shared_ptr<Request>, Responder responder) {
      const std::lock_guard lock(mutex);
      held.push_back(std::move(responder));
    });
    add("GET", "/stream", "public", [this](std::shared_ptr<Request>, Responder responder) {
      auto stream = responder.stream();
      stream->event("1", "hello", "first");
      const std::lock_guard lock(mutex);
      streams.push_back(std::move(stream));
    });
  }
  ~ServerTest() override {
    held.clear();
    server.reset();
  }

  std::uint16_t start() {
    auto made = Server::start(options, router, toy_auth);
    if (!made) throw std::runtime_error(made.error().message);
    server = std::move(*made);
    return server->port();
  }

  // Waits until the handlers have stored `n` entries; the io thread gives no other sign.
  template <typename T>
  bool wait_for(std::vector<T>& list, std::size_t n) {
    for (int i = 0; i < 5000; ++i) {
      {
        const std::lock_guard lock(mutex);
        if (list.size() >= n) return true;
      }
      ::poll(nullptr, 0, 1);
    }
    return false;
  }
};

}  // namespace soma::runtime::http
