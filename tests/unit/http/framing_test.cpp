// Hostile and unusual bytes on the wire: every one gets a defined answer, and the server lives on.
#include "fixture.h"

namespace soma::runtime::http {
namespace {

std::string line(const std::string& request_line, const std::string& fields = {}) {
  return request_line + "\r\nHost: x\r\n" + fields + "\r\n";
}

struct Wire {
  const char* name;
  std::string bytes;
  int status;
};

TEST_F(ServerTest, EveryFramingFaultIsRefused) {
  const auto port = start();
  std::string many;
  for (int i = 0; i < 101; ++i) many += "A" + std::to_string(i) + ": 1\r\n";
  const std::string chunked = "Transfer-Encoding: chunked\r\n";
  const Wire cases[] = {
      {"no_http", "hello\r\n\r\n", 400},
      {"bad_version", "GET /echo HTTP/2.0\r\nHost: x\r\n\r\n", 505},
      {"no_host", "GET /echo HTTP/1.1\r\n\r\n", 400},
      {"two_hosts", line("GET /echo HTTP/1.1", "Host: y\r\n"), 400},
      {"space_before_colon", line("GET /echo HTTP/1.1", "A : b\r\n"), 400},
      {"bad_field_name", line("GET /echo HTTP/1.1", "A\x01: b\r\n"), 400},
      {"nul_in_value", std::string("GET /echo HTTP/1.1\r\nHost: x\r\nA: b\0c\r\n\r\n", 40), 400},
      {"two_lengths", line("POST /echo HTTP/1.1", "Content-Length: 1\r\nContent-Length: 2\r\n"),
       400},
      {"same_length_twice",
       line("POST /echo HTTP/1.1", "Content-Length: 0\r\nContent-Length: 0\r\n"), 400},
      {"length_list", line("POST /echo HTTP/1.1", "Content-Length: 1, 1\r\n"), 400},
      {"length_sign", line("POST /echo HTTP/1.1", "Content-Length: +1\r\n"), 400},
      {"length_negative", line("POST /echo HTTP/1.1", "Content-Length: -1\r\n"), 400},
      {"length_huge", line("POST /echo HTTP/1.1", "Content-Length: 99999999999999999999\r\n"), 400},
      {"length_and_chunked", line("POST /echo HTTP/1.1", "Content-Length: 3\r\n" + chunked), 400},
      {"chunked_and_length", line("POST /echo HTTP/1.1", chunked + "Content-Length: 3\r\n"), 400},
      {"chunked_twice", line("POST /echo HTTP/1.1", chunked + chunked), 400},
      {"other_coding", line("POST /echo HTTP/1.1", "Transfer-Encoding: gzip, chunked\r\n"), 501},
      {"identity_coding", line("POST /echo HTTP/1.1", "Transfer-Encoding: identity\r\n"), 501},
      {"chunked_http10", "POST /echo HTTP/1.0\r\n" + chunked + "\r\n0\r\n\r\n", 400},
      {"bad_chunk", line("POST /echo HTTP/1.1", chunked) + "zz\r\n", 400},
      {"chunk_overrun", line("POST /echo HTTP/1.1", chunked) + "3\r\nabcd\r\n0\r\n\r\n", 400},
      {"endless_chunk_line", line("GET /echo HTTP/1.1", chunked) + "1;" + std::string(200'000, 'a'),
       431},
      {"endless_trailer",
       line("POST /echo HTTP/1.1", chunked) + "0\r\nA: " + std::string(200'000, 'a'), 431},
      {"long_trailer",
       line("POST /echo HTTP/1.1", chunked) + "0\r\nA: " + std::string(70'000, 'a') + "\r\n\r\n",
       431},
      {"too_large", line("POST /echo HTTP/1.1", "Content-Length: 1048577\r\n"), 413},
      {"long_url", line("GET /echo?" + std::string(9000, 'a') + " HTTP/1.1"), 414},
      {"longer_url", "GET /" + std::string(40000, 'a'), 414},
      {"large_header", line("GET /echo HTTP/1.1", "A: " + std::string(17000, 'a') + "\r\n"), 431},
      {"many_headers", line("GET /echo HTTP/1.1", many), 431},
      {"fragment", line("GET /echo#x HTTP/1.1"), 400},
      {"authority_form", line("CONNECT x:80 HTTP/1.1"), 400},
      {"star_form", line("GET * HTTP/1.1"), 400},
      {"expect", line("POST /echo HTTP/1.1", "Expect: tea\r\nContent-Length: 1\r\n"), 417},
  };
  std::size_t refused = 0;
  for (const Wire& c : cases) {
    RawClient client(port);
    const auto r = client.ask(c.bytes);
    refused += r.status == c.status;
    EXPECT_EQ(r.status, c.status) << c.name << ": " << r.body;
    if (r.status != 0) {
      EXPECT_EQ(r.headers.at("content-type"), "application/problem+json") << c.name;
    }
  }
  std::printf("GATE S8.faults %zu vectors\n", refused);
  RawClient after(port);
  EXPECT_EQ(after.ask(line("GET /echo HTTP/1.1")).status, 200);
}

TEST_F(ServerTest, UnreadableRequestsEndTheConnection) {
  const auto port = start();
  for (const std::string& bytes :
       {std::string("hello\r\n\r\n"),
        line("POST /echo HTTP/1.1", "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n") +
            "GET / HTTP/1.1\r\n\r\n"}) {
    RawClient client(port);
    const auto r = client.ask(bytes);
    EXPECT_EQ(r.status, 400);
    EXPECT_EQ(r.headers.at("connection"), "close");
    EXPECT_TRUE(client.closed_by_peer());
  }
}

// The parser's own limit does not count fields that came whole.
TEST_F(ServerTest, AHeadIsBoundedHoweverItComes) {
  const auto port = start();
  const std::size_t most = options.header_limit;
  const auto field = [](std::size_t size) { return "A: " + std::string(size - 5, 'a') + "\r\n"; };
  const std::string first = "GET /echo HTTP/1.1\r\nHost: x\r\n";
  const auto head = [&](std::size_t size) {
    return first + field(most / 2) + field(size - first.size() - most / 2 - 2) + "\r\n";
  };
  EXPECT_EQ(RawClient(port).ask(head(most)).status, 200);
  EXPECT_EQ(RawClient(port).ask(head(most + 1)).status, 431);
  RawClient drip(port);
  drip.send(first + field(8192 - first.size()));
  for (int i = 0; i < 10; ++i) drip.send(field(8192));  // each is one read of the server's
  EXPECT_EQ(drip.ask("\r\n").status, 431);
}

TEST_F(ServerTest, ByteByByte) {
  RawClient client(start());
  const std::string bytes = line("POST /echo HTTP/1.1", "Transfer-Encoding: chunked\r\n") +
                            "3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nTrailer: t\r\n\r\n" +
                            line("GET /echo?n=2 HTTP/1.1");
  for (const char c : bytes) ASSERT_TRUE(client.send({&c, 1}));
  EXPECT_NE(client.response().body.find("\"abcde\""), std::string::npos);
  EXPECT_NE(client.response().body.find("\"query_n\":\"2\""), std::string::npos);
}

TEST_F(ServerTest, LargeBodiesWhereTheRouteAllowsThem) {
  RawClient client(start());
  const std::string body(3 * 1024 * 1024, 'b');
  const std::string length = "Content-Length: " + std::to_string(body.size()) + "\r\n";
  const auto r = client.ask(line("POST /big HTTP/1.1", length) + body);
  EXPECT_EQ(r.status, 200);
  EXPECT_GT(r.body.size(), body.size());
  EXPECT_EQ(client.ask(line("POST /echo HTTP/1.1", length)).status, 413);
  EXPECT_TRUE(client.closed_by_peer());
}

TEST_F(ServerTest, AChunkedBodyCannotGrowPastTheLimit) {
  options.body_limit = 1000;
  RawClient client(start());
  client.send(line("POST /echo HTTP/1.1", "Transfer-Encoding: chunked\r\n"));
  for (int i = 0; i < 30; ++i) client.send("64\r\n" + std::string(100, 'x') + "\r\n");
  EXPECT_EQ(client.response().status, 413);
}

TEST_F(ServerTest, RefusedSmallBodiesKeepTheConnection) {
  RawClient client(start());
  EXPECT_EQ(client.ask(line("POST /nowhere HTTP/1.1", "Content-Length: 5\r\n") + "hello").status,
            404);
  EXPECT_EQ(client.ask(line("GET /echo HTTP/1.1")).status, 200);
}

TEST_F(ServerTest, ContinueIsSentOnlyWhenTheBodyIsWanted) {
  RawClient client(start());
  const std::string expect = "Expect: 100-continue\r\nContent-Length: 2\r\n";
  client.send(line("POST /echo HTTP/1.1", expect));
  EXPECT_EQ(client.response().status, 100);
  EXPECT_EQ(client.ask("hi").status, 200);
  EXPECT_EQ(client.ask(line("POST /nowhere HTTP/1.1", expect)).status, 404);
  EXPECT_TRUE(client.closed_by_peer());
}

TEST_F(ServerTest, Http10AndConnectionClose) {
  const auto port = start();
  RawClient old(port);
  EXPECT_EQ(old.ask("GET /echo HTTP/1.0\r\n\r\n").status, 200);
  EXPECT_TRUE(old.closed_by_peer());
  RawClient closing(port);
  EXPECT_EQ(closing.ask(line("GET /echo HTTP/1.1", "Connection: close\r\n")).status, 200);
  EXPECT_TRUE(closing.closed_by_peer());
  RawClient absolute(port);
  EXPECT_EQ(absolute.ask(line("GET http://host/echo?n=1 HTTP/1.1")).status, 200);
}

TEST_F(ServerTest, ClientsThatVanishDoNoHarm) {
  const auto port = start();
  for (int i = 0; i < 50; ++i) {
    RawClient client(port);
    client.send(line("POST /echo HTTP/1.1", "Content-Length: 100\r\n") + std::string(i, 'x'));
  }
  RawClient holder(port);
  holder.send(line("GET /hold HTTP/1.1"));
  ASSERT_TRUE(wait_for(held, 1));
  holder.close();
  held[0].send(text_response(200, std::string(1 << 20, 'x')));
  for (int i = 0; i < 5000 && server->connections() > 0; ++i) ::poll(nullptr, 0, 1);
  EXPECT_EQ(server->connections(), 0u);
}

}  // namespace
}  // namespace soma::runtime::http
