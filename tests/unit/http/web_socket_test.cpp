// The upgrade to a WebSocket, what then goes over it, and every way it is refused or ends.
#include "fixture.h"

namespace soma::runtime::http {
namespace {

const std::string kKey = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";  // RFC 6455, 1.3
const std::string kHead =
    "GET /socket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n";
const std::string kVersion = "Sec-WebSocket-Version: 13\r\n";
const std::string kUpgrade = kHead + kVersion + kKey + "\r\n";

struct WebSocketTest : ServerTest {
  WebSocketTest() {
    Route r;
    r.method = "GET";
    r.pattern = "/socket";
    r.capability = "public";
    r.websocket = true;
    router.add(std::move(r), [this](std::shared_ptr<Request>, Responder responder) {
      auto stream = responder.stream();
      const std::lock_guard lock(mutex);
      streams.push_back(std::move(stream));
    });
  }
  // A masked frame of a client; the mask is zero.
  static std::string frame(char opcode, const std::string& payload) {
    return std::string({static_cast<char>(0x80 | opcode), static_cast<char>(0x80 | payload.size()),
                        0, 0, 0, 0}) +
           payload;
  }
  static constexpr std::size_t kTooMuch = 64 * 1024 + 1;
  // The close code of the server's last frame; 0: none came.
  static int close_code(const std::string& bytes) {
    const auto at = bytes.rfind('\x88');
    if (at == bytes.npos || at + 4 > bytes.size()) return 0;
    return static_cast<unsigned char>(bytes[at + 2]) << 8 |
           static_cast<unsigned char>(bytes[at + 3]);
  }
};

TEST_F(WebSocketTest, UpgradesSendsMessagesAndCloses) {
  RawClient client(start());
  ASSERT_TRUE(client.send(kUpgrade));
  const auto answer = client.response();
  EXPECT_EQ(answer.status, 101);
  EXPECT_EQ(answer.headers.at("sec-websocket-accept"), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
  ASSERT_TRUE(wait_for(streams, 1));
  EXPECT_TRUE(streams[0]->event("7", "token", "{\"a\":1}"));
  const std::string message = R"({"event":"token","id":"7","data":{"a":1}})";
  ASSERT_TRUE(client.wait_for(message));
  EXPECT_EQ(client.buffer().substr(0, 2), (std::string{'\x81', static_cast<char>(message.size())}))
      << "one text frame, unmasked";
  streams[0]->close();
  EXPECT_TRUE(client.wait_for("\x88"));
  client.send(frame(8, std::string("\x03\xe8", 2)));
  EXPECT_EQ(close_code(client.rest()), 1000);
}

TEST_F(WebSocketTest, APingIsAnswered) {
  RawClient client(start());
  client.send(kUpgrade);
  ASSERT_EQ(client.response().status, 101);
  client.send(frame(9, "still there?"));
  EXPECT_TRUE(client.wait_for("\x8a\x0cstill there?"));
}

TEST_F(WebSocketTest, WhatIsNoUpgradeIsRefusedByName) {
  const auto port = start();
  const auto asked = [&](const std::string& text) { return RawClient(port).ask(text); };
  const auto plain = asked("GET /socket HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_EQ(plain.status, 426);
  EXPECT_EQ(plain.headers.at("upgrade"), "websocket");
  EXPECT_EQ(asked(kHead + "Sec-WebSocket-Version: 12\r\n" + kKey + "\r\n").status, 426);
  EXPECT_EQ(asked(kHead + kKey + "\r\n").status, 426) << "no version";
  EXPECT_EQ(asked(kHead + kVersion + "\r\n").status, 400) << "no key";
  EXPECT_EQ(asked(kHead + kVersion + "Sec-WebSocket-Key: short\r\n\r\n").status, 400);
  EXPECT_EQ(asked(kHead + kVersion + kKey + "Origin: http://evil.example\r\n\r\n").status, 403)
      << "any page may open a socket to any host";
  EXPECT_TRUE(streams.empty()) << "no handler ran";
  // A route that is none does not upgrade.
  const auto echo =
      asked("GET /echo HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
            kVersion + kKey + "\r\n");
  EXPECT_EQ(echo.status, 200);
  EXPECT_EQ(asked(kHead + kVersion + kKey + "Origin: http://x\r\n\r\n").status, 101)
      << "its own page may";
}

TEST_F(WebSocketTest, AClientsMessageThatIsTooBigEndsIt) {
  RawClient client(start());
  client.send(kUpgrade);
  ASSERT_EQ(client.response().status, 101);
  const std::size_t size = kTooMuch;
  std::string head{'\x81', static_cast<char>(0x80 | 127)};
  for (int shift = 56; shift >= 0; shift -= 8) head += static_cast<char>(size >> shift);
  client.send(head + std::string(4, '\0') + std::string(1024, 'x'));
  ASSERT_TRUE(client.wait_for("\x88"));
  EXPECT_EQ(close_code(client.rest()), 1009);
}

TEST_F(WebSocketTest, AServerThatStopsSaysSo) {
  RawClient client(start());
  client.send(kUpgrade);
  ASSERT_EQ(client.response().status, 101);
  ASSERT_TRUE(wait_for(streams, 1));
  streams[0]->event("1", "hello", "1");
  ASSERT_TRUE(client.wait_for("hello")) << "the handshake is over";
  server->stop(1000);
  EXPECT_EQ(close_code(client.rest()), 1001);
}

TEST_F(WebSocketTest, AClientThatGoesIsTold) {
  RawClient client(start());
  client.send(kUpgrade);
  ASSERT_EQ(client.response().status, 101);
  ASSERT_TRUE(wait_for(streams, 1));
  std::vector<int> told;
  streams[0]->on_disconnect([&] {
    const std::lock_guard lock(mutex);
    told.push_back(1);
  });
  client.close();
  EXPECT_TRUE(wait_for(told, 1));
  EXPECT_FALSE(streams[0]->event("1", "late", "x"));
}

}  // namespace
}  // namespace soma::runtime::http
