// What throws on an io thread, beside a handler, ends its connection; the others are served.
#include <atomic>
#include <new>
#include <stdexcept>

#include "fixture.h"
#include "runtime/http/guarded.h"
#include "runtime/http/stream_buffer.h"

namespace soma::runtime::http {
namespace {

const std::string kGet = "GET /echo HTTP/1.1\r\nHost: x\r\n\r\n";

TEST_F(ServerTest, WhatACheckThrowsEndsItsConnectionAlone) {
  std::atomic<int> throws_at{0};  // of the calls to come
  options.refuse_unknown_fields = [&] {
    if (--throws_at == 0) throw std::length_error("odd");
    return false;
  };
  const auto port = start();
  RawClient other(port);
  EXPECT_EQ(other.ask(kGet).status, 200);
  const std::string body = R"({"prompt":"x"})";
  for (const int call :
       {1, 2}) {  // the query's check; the body's, when the request is being handled
    throws_at = call;
    RawClient client(port);
    client.send(
        "POST /prompt HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: " +
        std::to_string(body.size()) + "\r\n\r\n" + body);
    EXPECT_TRUE(client.closed_by_peer()) << call;
    EXPECT_EQ(other.ask(kGet).status, 200) << call;
    EXPECT_EQ(server->connections(), 1u) << call;
  }
}

TEST_F(ServerTest, WhatACallbackOfAStreamThrowsHarmsNoOther) {
  const auto port = start();
  const std::string get = "GET /stream HTTP/1.1\r\nHost: x\r\n\r\n";
  RawClient leaves(port), stays(port), other(port);
  for (RawClient* client : {&leaves, &stays}) client->send(get);
  ASSERT_TRUE(wait_for(streams, 2));
  for (const auto& stream : streams) stream->on_disconnect([] { throw std::runtime_error("odd"); });
  leaves.close();
  for (int i = 0; i < 5000 && server->connections() > 2; ++i) ::poll(nullptr, 0, 1);
  EXPECT_EQ(server->connections(), 2u);
  EXPECT_EQ(other.ask(kGet).status, 200);
  server->stop(0);
  EXPECT_EQ(server->connections(), 0u);
  EXPECT_TRUE(stays.closed_by_peer());
}

TEST(Guarded, MemoryThatRanOutIsNotBorne) {
  EXPECT_TRUE(guarded([] {}));
  EXPECT_FALSE(guarded([] { throw std::runtime_error("odd"); }));
  EXPECT_THROW(guarded([] { throw std::bad_alloc(); }), std::bad_alloc);
}

TEST(StreamBuffer, IsCutWhenItsWriterThrows) {
  StreamBuffer stream([] {}, StreamBuffer::Form::kBytes);
  ASSERT_TRUE(stream.raw(std::string(EventStream::kMaxBuffered, 'x')));
  stream.on_writable([] { throw std::runtime_error("odd"); });
  stream.take();
  stream.written();
  EXPECT_FALSE(stream.open());
  EXPECT_TRUE(stream.take().cut);
}

}  // namespace
}  // namespace soma::runtime::http
