// Event streams: framing, bounds, keep-alive, disconnects.
#include <atomic>
#include <thread>

#include "fixture.h"
#include "runtime/http/paced.h"

namespace soma::runtime::http {
namespace {

const std::string kGetStream = "GET /stream HTTP/1.1\r\nHost: x\r\n\r\n";

TEST_F(ServerTest, StreamsEventsInChunks) {
  RawClient client(start());
  client.send(kGetStream);
  ASSERT_TRUE(client.wait_for("data: first\n\n"));
  EXPECT_NE(client.buffer().find("Content-Type: text/event-stream\r\n"), std::string::npos);
  EXPECT_NE(client.buffer().find("Transfer-Encoding: chunked\r\n"), std::string::npos);
  EXPECT_NE(client.buffer().find("id: 1\nevent: hello\ndata: first\n\n"), std::string::npos);
  ASSERT_TRUE(wait_for(streams, 1));
  EXPECT_TRUE(streams[0]->event("2", "token", "a\nb\r\nc"));
  EXPECT_TRUE(streams[0]->raw("[DONE]"));
  EXPECT_FALSE(streams[0]->event("3\nid: 9", "x", "y"));
  streams[0]->close();
  EXPECT_FALSE(streams[0]->raw("late"));
  const std::string all = client.rest();
  EXPECT_NE(all.find("id: 2\nevent: token\ndata: a\ndata: b\ndata: c\n\n"), std::string::npos)
      << all;
  EXPECT_NE(all.find("data: [DONE]\n\n"), std::string::npos);
  EXPECT_TRUE(all.ends_with("\r\n0\r\n\r\n"));
}

TEST_F(ServerTest, ManyThreadsMayWriteOneStream) {
  RawClient client(start());
  client.send(kGetStream);
  ASSERT_TRUE(wait_for(streams, 1));
  std::vector<std::thread> writers;
  for (int t = 0; t < 4; ++t)
    writers.emplace_back([&, t] {
      for (int i = 0; i < 500; ++i)
        streams[0]->event("", "", "w" + std::to_string(t) + "-" + std::to_string(i) + ";");
    });
  for (auto& w : writers) w.join();
  streams[0]->close();
  const std::string all = client.rest();
  for (int t = 0; t < 4; ++t) {
    std::size_t at = 0;  // each writer's events arrive once and in its order
    for (int i = 0; i < 500; ++i) {
      const std::string text = "w" + std::to_string(t) + "-" + std::to_string(i) + ";";
      at = all.find(text, at);
      ASSERT_NE(at, std::string::npos) << text;
    }
  }
}

TEST_F(ServerTest, ADisconnectIsNoticedAndTold) {
  RawClient client(start());
  client.send(kGetStream);
  ASSERT_TRUE(client.wait_for("first"));
  ASSERT_TRUE(wait_for(streams, 1));
  std::atomic<int> told{0};
  streams[0]->on_disconnect([&] { ++told; });
  client.close();
  for (int i = 0; i < 5000 && told == 0; ++i) ::poll(nullptr, 0, 1);
  EXPECT_EQ(told, 1);
  EXPECT_FALSE(streams[0]->open());
  EXPECT_FALSE(streams[0]->raw("x"));
  streams[0]->on_disconnect([&] { ++told; });  // too late: at once
  EXPECT_EQ(told, 2);
}

TEST_F(ServerTest, ASlowClientIsCutAndMemoryStaysBounded) {
  RawClient client(start());
  client.send(kGetStream);
  ASSERT_TRUE(wait_for(streams, 1));
  std::atomic<int> told{0};
  streams[0]->on_disconnect([&] { ++told; });
  const std::string data(64 * 1024, 'x');
  std::size_t accepted = 0;
  for (int i = 0; i < 100000 && streams[0]->raw(data); ++i) {
    ++accepted;
    EXPECT_LE(streams[0]->buffered(), EventStream::kMaxBuffered);
  }
  EXPECT_FALSE(streams[0]->open());
  EXPECT_GT(accepted, 10u);
  // A write is stuck in the socket; the client's going away must free everything.
  client.close();
  for (int i = 0; i < 5000 && server->connections() > 0; ++i) ::poll(nullptr, 0, 1);
  EXPECT_EQ(server->connections(), 0u);
  EXPECT_EQ(told, 1);
}

TEST_F(ServerTest, WritableAgainAfterTheClientHasRead) {
  RawClient client(start());
  client.send(kGetStream);
  ASSERT_TRUE(wait_for(streams, 1));
  std::atomic<bool> writable{false};
  const std::string data(200 * 1024, 'x');
  while (streams[0]->buffered() < EventStream::kMaxBuffered * 6 / 10)
    ASSERT_TRUE(streams[0]->raw(data));
  streams[0]->on_writable([&] { writable = true; });
  while (!writable) ASSERT_TRUE(client.fill());
  EXPECT_LE(streams[0]->buffered(), EventStream::kMaxBuffered / 2);
}

TEST_F(ServerTest, BytesGoOutAsTheyAreAndAnAbortedStreamDoesNotLookWhole) {
  for (const bool whole : {true, false}) {
    const std::string path = whole ? "/whole" : "/broken";
    add("GET", path.c_str(), "public", [whole](std::shared_ptr<Request>, Responder responder) {
      auto out = responder.stream({.content_type = "application/x-ndjson"});
      EXPECT_TRUE(out->raw("{\"n\":1}\n"));
      EXPECT_FALSE(out->event("1", "hello", "no events here"));
      EXPECT_TRUE(out->comment("nor comments"));
      EXPECT_TRUE(out->raw("{\"n\":2}\n"));
      whole ? out->close() : out->abort();
      EXPECT_FALSE(out->raw("late"));
    });
  }
  const auto port = start();
  RawClient client(port), broken(port);
  client.send("GET /whole HTTP/1.1\r\nHost: x\r\n\r\n");
  const std::string all = client.rest();
  EXPECT_NE(all.find("Content-Type: application/x-ndjson\r\n"), all.npos) << all;
  EXPECT_TRUE(all.ends_with("\r\n{\"n\":1}\n{\"n\":2}\n\r\n0\r\n\r\n")) << all;
  broken.send("GET /broken HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_FALSE(broken.rest().ends_with("0\r\n\r\n"));
}

TEST_F(ServerTest, APacedWriterWaitsForItsClientAndNoticesThatItLeft) {
  RawClient client(start());
  client.send(kGetStream);
  ASSERT_TRUE(wait_for(streams, 1));
  const auto out = streams[0];
  const std::string line(64 * 1024, 'x');
  constexpr int kLines = 256;  // 16 MiB
  std::atomic<int> written{0};
  std::atomic<bool> refused{false};
  std::size_t most = 0;
  std::thread writer([&] {
    PacedWriter paced(out);
    while (!refused) {
      if (!paced.write(line)) refused = true;
      most = std::max(most, out->buffered());
      ++written;
    }
  });
  std::size_t read = 0;
  while (read < kLines * line.size()) {
    ASSERT_TRUE(client.fill());
    read += client.take().size();
  }
  EXPECT_GE(written, kLines - 32);
  EXPECT_FALSE(refused);
  client.close();
  writer.join();
  EXPECT_TRUE(refused);
  EXPECT_LE(most, EventStream::kMaxBuffered);
}

TEST_F(ServerTest, SilenceIsFilledWithComments) {
  options.stream_keepalive = std::chrono::milliseconds(20);
  RawClient client(start());
  client.send(kGetStream);
  EXPECT_TRUE(client.wait_for(": keep-alive\n\n"));
}

TEST_F(ServerTest, Http10StreamsWithoutChunks) {
  RawClient client(start());
  client.send("GET /stream HTTP/1.0\r\n\r\n");
  ASSERT_TRUE(wait_for(streams, 1));
  streams[0]->close();
  const std::string all = client.rest();
  EXPECT_EQ(all.find("chunked"), std::string::npos);
  EXPECT_TRUE(all.ends_with("data: first\n\n"));
}

TEST_F(ServerTest, StoppingCutsStreamsAndTellsTheirHandlers) {
  RawClient client(start());
  client.send(kGetStream);
  ASSERT_TRUE(client.wait_for("first"));
  ASSERT_TRUE(wait_for(streams, 1));
  std::atomic<int> told{0};
  streams[0]->on_disconnect([&] { ++told; });
  server->stop(0);
  EXPECT_EQ(told, 1);
  // No last chunk: a client can tell that the stream was cut.
  EXPECT_FALSE(client.rest().ends_with("0\r\n\r\n"));
}

}  // namespace
}  // namespace soma::runtime::http
