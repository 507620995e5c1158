// Texts to be embedded, of many callers: few requests under way per server, each with what waits.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "runtime/effects/http_loop.h"
#include "runtime/effects/slm_client.h"

namespace soma::runtime {

// A text goes out at once while fewer than kUnderWay requests of its server are; the others wait
// and share requests of at most the endpoint's embed_batch texts. A request that the server refuses
// is repeated text by text, so that one caller's text never fails another's. Thread-safe; made as
// shared: requests under way hold it. The loop must be stopped before it is destroyed.
class EmbedQueue : public std::enable_shared_from_this<EmbedQueue> {
 public:
  static constexpr std::size_t kUnderWay = 4;
  static constexpr std::size_t kMaxWaiting = 10'000;  // texts per server

  explicit EmbedQueue(HttpLoop& loop) : loop_(loop) {}
  // Each text in pieces; `done` gets one vector a text, in order. At least one text.
  void add(const SlmEndpoint& endpoint, const std::vector<std::string>& texts,
           SlmClient::OnEmbeddings done);

 private:
  struct Work;
  struct Piece {
    std::shared_ptr<Work> work;
    std::size_t place = 0;  // among the work's pieces
    std::string text;
    bool alone = false;
  };
  struct Lane {
    SlmEndpoint endpoint;
    std::deque<Piece> waiting;
    std::size_t under_way = 0;
  };
  using Batch = std::vector<Piece>;

  void launch(const std::string& lane);
  void send(const std::string& lane, const SlmEndpoint& endpoint, Batch batch);
  void ended(const std::string& lane, const SlmEndpoint& endpoint, Batch batch, const HttpEnd& end);
  static void deliver(const SlmEndpoint& endpoint, const Batch& batch, v1::EmbedResult result);

  HttpLoop& loop_;
  std::mutex mutex_;
  std::map<std::string, Lane> lanes_;  // by server, model and key; those with something to do
};

}  // namespace soma::runtime
