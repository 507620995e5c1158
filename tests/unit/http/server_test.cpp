// Routing, callers, limits and life cycle of the server, over real sockets.
#include <algorithm>
#include <boost/json/parse.hpp>
#include <chrono>
#include <cstdio>
#include <future>
#include <thread>

#include "fixture.h"
#include "runtime/http/in_process.h"

namespace soma::runtime::http {
namespace {

std::string get(const std::string& target, const std::string& fields = {}) {
  return "GET " + target + " HTTP/1.1\r\nHost: x\r\n" + fields + "\r\n";
}
std::string post(const std::string& target, const std::string& body,
                 const std::string& fields = "Content-Type: application/json\r\n") {
  return "POST " + target + " HTTP/1.1\r\nHost: x\r\n" + fields +
         "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}
boost::json::value json(const RawResponse& r) { return boost::json::parse(r.body); }
std::string text(const RawResponse& r, const char* member) {
  const auto value = json(r);
  const auto* found = value.as_object().if_contains(member);
  return found != nullptr && found->is_string() ? std::string(found->get_string().c_str()) : "";
}

TEST_F(ServerTest, AnswersAndKeepsTheConnection) {
  RawClient client(start());
  for (int i = 0; i < 3; ++i) {
    const auto r = client.ask(get("/echo?limit=7&name=a%20b+c"));
    ASSERT_EQ(r.status, 200);
    EXPECT_EQ(json(r).at("query_name"), "a b c");
    EXPECT_EQ(r.headers.at("content-type"), "application/json");
    EXPECT_TRUE(r.headers.contains("date"));
    EXPECT_EQ(r.headers.at("x-content-type-options"), "nosniff");
    EXPECT_EQ(r.headers.at("cache-control"), "no-store");
    EXPECT_EQ(r.headers.at("x-request-id").size(), 32u);
  }
  EXPECT_EQ(server->connections(), 1u);
}

TEST_F(ServerTest, BrowsersAreToldToComeByTlsOnly) {
  const auto told = [this] {
    RawClient client(start());
    const std::string field = "strict-transport-security";
    const auto found = client.ask(get("/echo")), missing = client.ask(get("/nowhere"));
    EXPECT_EQ(found.headers.contains(field), missing.headers.contains(field));
    return found.headers.contains(field) ? found.headers.at(field) : "";
  };
  EXPECT_EQ(told(), "");
  options.strict_transport = true;
  EXPECT_EQ(told(), "max-age=31536000; includeSubDomains");
}

TEST_F(ServerTest, PipelinedRequestsAreAnsweredInOrder) {
  RawClient client(start());
  std::string all;
  for (int i = 0; i < 50; ++i) all += get("/echo?n=" + std::to_string(i));
  client.send(all);
  for (int i = 0; i < 50; ++i) ASSERT_EQ(text(client.response(), "query_n"), std::to_string(i));
}

TEST_F(ServerTest, ASlowAnswerHoldsBackThoseBehindIt) {
  RawClient client(start());
  client.send(get("/hold") + get("/echo?n=2"));
  ASSERT_TRUE(wait_for(held, 1));
  std::thread([this] { held[0].send(json_response(200, {{"first", true}})); }).join();
  EXPECT_TRUE(json(client.response()).as_object().contains("first"));
  EXPECT_EQ(text(client.response(), "query_n"), "2");
}

// As on a node that was stopped: what waited for it is read when nobody waits for the answer.
TEST_F(ServerTest, WhoHasHungUpIsNotServedWhereThatIsWanted) {
  for (const bool heeds : {true, false}) {
    std::promise<void> go;
    std::vector<int> busy, served;
    Router with_work;
    add_wait(with_work, go, busy);
    Route work{.method = "GET", .pattern = "/work", .capability = "public"};
    with_work.add(work, [&](std::shared_ptr<Request>, Responder responder) {
      const std::lock_guard lock(mutex);
      served.push_back(1);
      responder.send(json_response(200, {}));
    });
    options.heeds_hang_ups = heeds;
    auto made = Server::start(options, with_work, nullptr);
    ASSERT_TRUE(made);
    RawClient first((*made)->port());
    first.send(get("/wait"));
    ASSERT_TRUE(wait_for(busy, 1));
    {
      RawClient gone((*made)->port());
      gone.send(get("/work"));
    }
    RawClient stays((*made)->port());
    stays.send(get("/work"));
    go.set_value();
    EXPECT_EQ(stays.response().status, 200);
    const std::lock_guard lock(mutex);
    EXPECT_EQ(served.size(), heeds ? 1U : 2U);
  }
}

// A crowd of newcomers beside connections that always have another request ready.
TEST_F(ServerTest, NewcomersDoNotWaitForTheOthersOneByOne) {
  constexpr int kBusy = 16, kNewcomers = 16, kAhead = 300;
  std::promise<void> go;
  std::vector<int> waits, order;  // of the latter: 0 for each request of the others
  Router with_work;
  add_wait(with_work, go, waits);
  for (const int newcomer : {0, 1})
    with_work.add({.method = "GET", .pattern = newcomer ? "/new" : "/busy", .capability = "public"},
                  [&order, newcomer](std::shared_ptr<Request>, Responder responder) {
                    order.push_back(newcomer);
                    responder.send(json_response(200, {}));
                  });
  auto made = Server::start(options, with_work, nullptr);
  ASSERT_TRUE(made);
  std::vector<std::unique_ptr<RawClient>> clients;
  for (int i = 0; i < kBusy; ++i) {
    clients.push_back(std::make_unique<RawClient>((*made)->port()));
    EXPECT_EQ(clients.back()->ask(get("/busy")).status, 200);
  }
  RawClient holder((*made)->port());
  holder.send(get("/wait"));
  ASSERT_TRUE(wait_for(waits, 1));
  order.clear();
  std::string ahead;
  for (int i = 0; i < kAhead; ++i) ahead += get("/busy");
  for (auto& busy : clients) busy->send(ahead);
  for (int i = 0; i < kNewcomers; ++i) {
    clients.push_back(std::make_unique<RawClient>((*made)->port()));
    clients.back()->send(get("/new"));
  }
  go.set_value();
  for (auto& client : clients) EXPECT_EQ(client->response().status, 200);
  (*made)->stop(0);
  const auto last = std::find(order.rbegin(), order.rend(), 1);
  EXPECT_LT(std::count(order.begin(), last.base(), 0), 8 * kBusy) << "of " << order.size();
}

// What this process writes to stderr while it lives.
class StderrFile {
 public:
  StderrFile() : file_(std::tmpfile()), before_(::dup(STDERR_FILENO)) {
    ::dup2(::fileno(file_), STDERR_FILENO);
  }
  ~StderrFile() {
    ::dup2(before_, STDERR_FILENO);
    ::close(before_);
    std::fclose(file_);
  }
  std::string text() const {
    std::string out(1 << 20, '\0');
    const ssize_t n = ::pread(::fileno(file_), out.data(), out.size(), 0);
    out.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
    return out;
  }

 private:
  std::FILE* file_;
  int before_;
};

TEST_F(ServerTest, RefusalsDoNotFillTheLog) {
  options.access_log = ServerOptions::AccessLog::kErrors;
  add("GET", "/busy", "public", [](std::shared_ptr<Request>, Responder responder) {
    responder.send(problem(Error{Code::kOverloaded, "busy", {}}));
  });
  const auto count = [](const std::string& text, const std::string& what) {
    int n = 0;
    for (auto at = text.find(what); at != text.npos; at = text.find(what, at + 1)) ++n;
    return n;
  };
  const StderrFile log;
  const auto began = std::chrono::steady_clock::now();
  RawClient client(start());
  for (int i = 0; i < 200; ++i) ASSERT_EQ(client.ask(get("/busy")).status, 503);
  for (int i = 0; i < 30; ++i) ASSERT_EQ(client.ask(get("/throw")).status, 500);
  const auto told = [&] {
    return log.text().find("http_refusals_not_logged") != std::string::npos;
  };
  while (!told() && std::chrono::steady_clock::now() - began < std::chrono::seconds(20))
    ASSERT_EQ(client.ask(get("/echo")).status, 200);
  EXPECT_TRUE(told());
  const auto seconds =
      std::chrono::duration_cast<std::chrono::seconds>(std::chrono::steady_clock::now() - began)
          .count();
  server.reset();
  EXPECT_GE(count(log.text(), "/busy"), 20);
  EXPECT_LE(count(log.text(), "/busy"), 20 * (static_cast<int>(seconds) + 2));
  EXPECT_EQ(count(log.text(), "/throw"), 60) << "errors are all logged, by the access log too";
}

TEST_F(ServerTest, WhoIsKeptOutIsLogged) {
  options.access_log = ServerOptions::AccessLog::kErrors;
  const StderrFile log;
  RawClient client(start());
  EXPECT_EQ(client.ask(get("/items/1")).status, 401);
  EXPECT_EQ(client.ask(get("/items/2", "Authorization: Bearer acme other:read\r\n")).status, 403);
  EXPECT_EQ(client.ask(get("/items/3", "Authorization: Bearer acme item:read\r\n")).status, 200);
  EXPECT_EQ(client.ask(get("/nothing")).status, 404);
  server.reset();
  const std::string text = log.text();
  EXPECT_NE(text.find("\"status\":401"), text.npos) << text;
  EXPECT_NE(text.find("\"status\":403"), text.npos) << text;
  EXPECT_EQ(text.find("\"status\":404"), text.npos) << text;
}

TEST_F(ServerTest, ResponderCompletesOnce) {
  RawClient client(start());
  client.send(get("/hold"));
  ASSERT_TRUE(wait_for(held, 1));
  const Responder copy = held[0];
  copy.send(text_response(200, "one"));
  held[0].send(text_response(200, "two"));
  EXPECT_TRUE(held[0].answered());
  EXPECT_EQ(copy.stream(), nullptr);
  EXPECT_EQ(client.response().body, "one");
  EXPECT_EQ(client.ask(get("/echo")).status, 200);
}

TEST_F(ServerTest, UnansweredAndThrowingHandlersGive500WithoutDetail) {
  RawClient client(start());
  for (const char* path : {"/drop", "/throw"}) {
    const auto r = client.ask(get(path));
    EXPECT_EQ(r.status, 500) << path;
    EXPECT_EQ(r.headers.at("content-type"), "application/problem+json");
    EXPECT_EQ(r.body.find("secret"), std::string::npos);
  }
}

TEST_F(ServerTest, UnknownRouteAndWrongMethod) {
  RawClient client(start());
  auto r = client.ask(get("/nowhere"));
  EXPECT_EQ(r.status, 404);
  EXPECT_EQ(json(r).at("code"), "not_found");
  r = client.ask("DELETE /echo HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_EQ(r.status, 405);
  EXPECT_EQ(r.headers.at("allow"), "GET, HEAD, POST, OPTIONS");
  EXPECT_EQ(client.ask("TRACE /echo HTTP/1.1\r\nHost: x\r\n\r\n").status, 405);
  r = client.ask("OPTIONS /echo HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_EQ(r.status, 204);
  EXPECT_EQ(r.headers.at("allow"), "GET, HEAD, POST, OPTIONS");
  EXPECT_EQ(client.ask("OPTIONS /none HTTP/1.1\r\nHost: x\r\n\r\n").status, 404);
}

TEST_F(ServerTest, HeadIsGetWithoutItsBody) {
  RawClient client(start());
  const auto r = client.ask("HEAD /echo HTTP/1.1\r\nHost: x\r\nX-Request-ID: r\r\n\r\n", true);
  EXPECT_EQ(r.status, 200);
  EXPECT_GT(std::stoi(r.headers.at("content-length")), 10);
  EXPECT_EQ(client.ask(get("/echo")).status, 200);  // nothing was left over
}

TEST_F(ServerTest, RequestIdIsEchoedUnlessOdd) {
  RawClient client(start());
  EXPECT_EQ(client.ask(get("/echo", "X-Request-ID: abc-1\r\n")).headers.at("x-request-id"),
            "abc-1");
  const std::string longer(200, 'x');
  EXPECT_EQ(client.ask(get("/echo", "X-Request-ID: " + longer + "\r\n"))
                .headers.at("x-request-id")
                .size(),
            32u);
}

TEST_F(ServerTest, CallersTenantsAndCapabilities) {
  RawClient client(start());
  auto r = client.ask(get("/items/5"));
  EXPECT_EQ(r.status, 401);
  EXPECT_EQ(json(r).at("detail"), "Missing bearer token");
  EXPECT_EQ(r.headers.at("www-authenticate"), "Bearer");
  r = client.ask(get("/items/5", "Authorization: Bearer acme item:*\r\n"));
  EXPECT_EQ(r.status, 200);
  EXPECT_EQ(json(r).at("tenant"), "acme");
  EXPECT_EQ(json(r).at("id"), "5");
  r = client.ask(get("/items/5", "Authorization: Bearer acme item:write\r\n"));
  EXPECT_EQ(r.status, 403);
  const std::string caller = "Authorization: Bearer acme item:read\r\n";
  EXPECT_EQ(client.ask(get("/items/5", caller + "X-Tenant-ID: acme\r\n")).status, 200);
  EXPECT_EQ(client.ask(get("/items/5", caller + "X-Tenant-ID: other\r\n")).status, 403);
  EXPECT_EQ(client.ask(get("/items/5", caller + caller)).status, 400);
}

TEST_F(ServerTest, BodiesAreCheckedBeforeTheHandler) {
  RawClient client(start());
  EXPECT_EQ(client.ask(post("/prompt", R"({"prompt":"hi"})")).status, 200);
  auto r = client.ask(post("/prompt", R"({})"));
  EXPECT_EQ(r.status, 422);
  const boost::json::value error = json(r).at("errors").at(0);
  EXPECT_EQ(error.at("loc"), boost::json::array({"body", "prompt"}));
  EXPECT_EQ(error.at("type"), "missing");
  EXPECT_EQ(client.ask(post("/prompt", "{\"prompt\":")).status, 400);
  EXPECT_EQ(client.ask(post("/prompt", R"({"prompt":"a","prompt":"b"})")).status, 400);
  EXPECT_EQ(client.ask(post("/prompt", "prompt=hi", "Content-Type: text/plain\r\n")).status, 415);
  EXPECT_EQ(client.ask(post("/prompt", R"({"prompt":"hi"})", "")).status, 415);
  EXPECT_EQ(client.ask(post("/prompt", "", "")).status, 422);
  EXPECT_EQ(
      client
          .ask(post("/prompt", "x", "Content-Type: application/json\r\nContent-Encoding: gzip\r\n"))
          .status,
      415);
}

TEST_F(ServerTest, UnknownFieldsAreRefusedWhenTold) {
  std::atomic<bool> refuse{false};
  options.refuse_unknown_fields = [&refuse] { return refuse.load(); };
  RawClient client(start());
  const std::string body = R"({"prompt":"hi","colour":1})";
  EXPECT_EQ(client.ask(post("/prompt", body)).status, 200);
  refuse = true;
  const auto r = client.ask(post("/prompt", body));
  EXPECT_EQ(r.status, 422);
  EXPECT_EQ(json(r).at("errors").at(0).at("type"), "extra_forbidden");
  EXPECT_EQ(client.ask(get("/echo?colour=1")).status, 422);
}

TEST_F(ServerTest, WhatComesInProcessIsJudgedByTheSameRuleAtThatMoment) {
  bool refuse = false;
  options.refuse_unknown_fields = [&refuse] { return refuse; };
  const InProcess door(options, router, toy_auth);
  const auto ask = [&door] {
    const std::string body = R"({"prompt":"hi","colour":1})";
    Head head{"POST", "/prompt", 11, {}, "test"};
    head.headers.add("Host", "x");
    head.headers.add("Content-Type", "application/json");
    head.headers.add("Content-Length", std::to_string(body.size()));
    int status = 0;
    door.call(std::move(head), body, [&status](Response r) { status = r.status; });
    return status;
  };
  EXPECT_EQ(ask(), 200);
  refuse = true;
  EXPECT_EQ(ask(), 422);
}

TEST_F(ServerTest, QueryAndIdempotencyKeyAreChecked) {
  RawClient client(start());
  EXPECT_EQ(client.ask(get("/echo?limit=0")).status, 422);
  EXPECT_EQ(client.ask(get("/echo?limit=%zz")).status, 400);
  EXPECT_EQ(json(client.ask(get("/echo", "Idempotency-Key: k 1\r\n"))).at("key"), "k 1");
  EXPECT_EQ(client.ask(get("/echo", "Idempotency-Key: " + std::string(256, 'k') + "\r\n")).status,
            422);
  EXPECT_EQ(client.ask(get("/echo", "Idempotency-Key: a\r\nIdempotency-Key: b\r\n")).status, 422);
}

TEST_F(ServerTest, CorsOnlyForConfiguredOrigins) {
  options.cors_origins = {"https://app.example"};
  RawClient client(start());
  auto r = client.ask("OPTIONS /echo HTTP/1.1\r\nHost: x\r\nOrigin: https://app.example\r\n\r\n");
  EXPECT_EQ(r.headers.at("access-control-allow-origin"), "https://app.example");
  EXPECT_TRUE(r.headers.contains("access-control-allow-headers"));
  r = client.ask(get("/echo", "Origin: https://evil.example\r\n"));
  EXPECT_FALSE(r.headers.contains("access-control-allow-origin"));
}

// Where whoever brings no token is let in, a page that the person at the browser merely looks at
// must not act in their place.
TEST_F(ServerTest, PagesOfOtherOriginsDoNotActWithoutAToken) {
  add("POST", "/items", "item:write", echo);
  options.cors_origins = {"https://app.example"};
  auto made = Server::start(
      options, router, [](std::optional<std::string_view> header) -> Result<security::Identity> {
        if (header) return toy_auth(header);
        security::Identity anybody;
        anybody.anonymous = true;
        anybody.principal.set_tenant("demo");
        anybody.principal.add_capabilities("*");
        return anybody;
      });
  ASSERT_TRUE(made);
  RawClient client((*made)->port());
  const auto evil = std::string("Origin: https://evil.example\r\n");
  for (const std::string origin :
       {"https://evil.example", "null", "http://x.example", "http://x:1"})
    EXPECT_EQ(client.ask(post("/items", "{}", "Origin: " + origin + "\r\n")).status, 403) << origin;
  EXPECT_EQ(client.ask(post("/items", "{}", "")).status, 200) << "no page";
  EXPECT_EQ(client.ask(post("/items", "{}", "Origin: http://x\r\n")).status, 200) << "its own";
  EXPECT_EQ(client.ask(post("/items", "{}", "Origin: https://app.example\r\n")).status, 200);
  EXPECT_EQ(client.ask(get("/items/1", evil)).status, 200) << "nothing is changed";
  EXPECT_EQ(
      client.ask(post("/items", "{}", evil + "Authorization: Bearer acme item:write\r\n")).status,
      200)
      << "no page has that token by itself";
}

TEST_F(ServerTest, ConnectionsBeyondTheLimitAreToldSo) {
  options.max_connections = 2;
  const auto port = start();
  RawClient a(port);
  RawClient b(port);
  ASSERT_EQ(a.ask(get("/echo")).status, 200);
  ASSERT_EQ(b.ask(get("/echo")).status, 200);
  RawClient c(port);
  // Its request is answered, not cut off by a reset while it is still being sent.
  const auto told = c.ask("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n\r\n" +
                          std::string(200'000, 'x'));
  EXPECT_EQ(told.status, 503);
  EXPECT_EQ(told.headers.at("content-type"), "application/problem+json");
  EXPECT_EQ(told.headers.at("retry-after"), "1");
  EXPECT_NE(told.body.find(R"("code":"overloaded")"), told.body.npos) << told.body;
  EXPECT_TRUE(c.closed_by_peer());
  a.close();
  for (int i = 0; i < 1000 && server->connections() > 1; ++i) ::poll(nullptr, 0, 1);
  RawClient d(port);
  EXPECT_EQ(d.ask(get("/echo")).status, 200);
}

TEST_F(ServerTest, SlowHeadersAndBodiesAndIdleConnectionsEnd) {
  options.header_timeout = options.body_timeout = std::chrono::milliseconds(50);
  options.idle_timeout = std::chrono::milliseconds(150);
  const auto port = start();
  RawClient idle(port);
  RawClient header(port);
  header.send("GET /echo HTTP/1.1\r\nHost: x\r\n");
  RawClient body(port);
  body.send("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab");
  EXPECT_EQ(header.response().status, 408);
  EXPECT_EQ(body.response().status, 408);
  EXPECT_TRUE(idle.closed_by_peer());
}

TEST_F(ServerTest, DrainLetsRunningRequestsFinish) {
  const auto port = start();
  RawClient idle(port);
  ASSERT_EQ(idle.ask(get("/echo")).status, 200);
  RawClient busy(port);
  busy.send(get("/hold"));
  ASSERT_TRUE(wait_for(held, 1));
  std::thread stopper([this] { server->stop(10000); });
  EXPECT_TRUE(idle.closed_by_peer());
  held[0].send(text_response(200, "done"));
  const auto r = busy.response();
  EXPECT_EQ(r.body, "done");
  EXPECT_EQ(r.headers.at("connection"), "close");
  busy.close();
  stopper.join();
  EXPECT_EQ(server->connections(), 0u);
}

TEST_F(ServerTest, RespondersOutliveTheServer) {
  RawClient client(start());
  client.send(get("/hold"));
  ASSERT_TRUE(wait_for(held, 1));
  RawClient streamer(server->port());
  streamer.send(get("/stream"));
  ASSERT_TRUE(wait_for(streams, 1));
  server.reset();
  held[0].send(text_response(200, "too late"));
  held.clear();
  EXPECT_FALSE(streams[0]->event("2", "x", "y"));
}

TEST_F(ServerTest, PortInUseIsAnError) {
  start();
  ServerOptions again = options;
  again.listen = "127.0.0.1:" + std::to_string(server->port());
  const auto second = Server::start(again, router, toy_auth);
  ASSERT_FALSE(second.has_value());
  EXPECT_EQ(second.error().field, "listen");
  again.listen = "nonsense";
  EXPECT_FALSE(Server::start(again, router, toy_auth).has_value());
}

TEST_F(ServerTest, CountsRequestsByRouteAndStatus) {
  RawClient client(start());
  client.ask(get("/echo"));
  client.ask(get("/nowhere"));
  client.ask(get("/echo"));  // the answer before it has been counted by now
  const std::string page = metrics.render();
  EXPECT_NE(page.find("soma_http_requests_total{method=\"GET\",route=\"/"
                      "echo\",service=\"soma\",status=\"200\"}"),
            std::string::npos)
      << page;
  EXPECT_NE(page.find("status=\"404\"} 1"), std::string::npos) << page;
}

}  // namespace
}  // namespace soma::runtime::http
