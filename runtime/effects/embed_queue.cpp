// Batches made of what waits when a request ends: none at low load, full ones at high.
#include "runtime/effects/embed_queue.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "runtime/effects/embeddings.h"
#include "runtime/effects/model_call.h"

namespace soma::runtime {

namespace {

constexpr std::size_t kMaxBody = 16 << 20;

// The server found fault with the request itself, perhaps with one of its texts.
bool refused(const HttpEnd& end) {
  return end.kind == HttpEnd::Kind::kComplete &&
         (end.status == 400 || end.status == 413 || end.status == 422);
}

}  // namespace

// One call of `add`.
struct EmbedQueue::Work {
  std::mutex mutex;
  std::vector<std::size_t> pieces_of;  // per text: how many pieces
  std::vector<v1::Embedding> pieces;
  std::size_t open = 0;  // pieces without a vector
  std::uint64_t prompt_tokens = 0;
  SlmClient::OnEmbeddings done;  // empty once called

  void fail_with(const Error& error) {
    SlmClient::OnEmbeddings tell;
    {
      std::lock_guard lock(mutex);
      tell = std::exchange(done, nullptr);
    }
    if (tell) tell(tl::unexpected(error));
  }

  bool over() {
    std::lock_guard lock(mutex);
    return !done;
  }

  void take(std::size_t place, v1::Embedding embedding, std::uint64_t tokens) {
    std::unique_lock lock(mutex);
    pieces[place] = std::move(embedding);
    prompt_tokens += tokens;
    if (--open > 0 || !done) return;
    const auto tell = std::exchange(done, nullptr);
    lock.unlock();
    v1::EmbedResult out;
    out.set_prompt_tokens(prompt_tokens);
    std::size_t at = 0;
    for (const std::size_t count : pieces_of) {
      auto mean = mean_of({pieces.begin() + static_cast<std::ptrdiff_t>(at),
                           pieces.begin() + static_cast<std::ptrdiff_t>(at + count)});
      if (!mean) return tell(tl::unexpected(mean.error()));
      *out.add_embeddings() = std::move(*mean);
      at += count;
    }
    tell(std::move(out));
  }
};

void EmbedQueue::add(const SlmEndpoint& e, const std::vector<std::string>& texts,
                     SlmClient::OnEmbeddings done) {
  auto work = std::make_shared<Work>();
  work->done = std::move(done);
  Batch pieces;
  for (const auto& text : texts) {
    auto cut = cut_in_pieces(text, e.embed_piece_bytes);
    work->pieces_of.push_back(cut.size());
    for (auto& piece : cut) pieces.push_back({work, pieces.size(), std::move(piece), false});
  }
  work->pieces.resize(pieces.size());
  work->open = pieces.size();
  const std::string key = e.base_url + "\n" + e.model + "\n" + e.api_key;
  bool full = false;
  {
    std::lock_guard lock(mutex_);
    Lane& lane = lanes_[key];
    lane.endpoint = e;
    full = lane.waiting.size() + pieces.size() > kMaxWaiting;
    if (!full) std::move(pieces.begin(), pieces.end(), std::back_inserter(lane.waiting));
  }
  if (!full) return launch(key);
  const auto refuse = [work](bool) {
    work->fail_with({Code::kOverloaded, "too many texts wait for the embedding server", {}});
  };
  if (!loop_.after(0, refuse)) refuse(true);
}

// Sends what may go now.
void EmbedQueue::launch(const std::string& key) {
  for (;;) {
    Batch batch;
    SlmEndpoint endpoint;
    {
      std::lock_guard lock(mutex_);
      auto it = lanes_.find(key);
      if (it == lanes_.end()) return;
      Lane& lane = it->second;
      if (lane.waiting.empty() && lane.under_way == 0) {
        lanes_.erase(it);
        return;
      }
      if (lane.waiting.empty() || lane.under_way >= kUnderWay) return;
      const std::size_t most = std::max<std::size_t>(1, lane.endpoint.embed_batch);
      while (!lane.waiting.empty() && batch.size() < most) {
        if (!batch.empty() && (batch.back().alone || lane.waiting.front().alone)) break;
        if (!lane.waiting.front().work->over()) batch.push_back(std::move(lane.waiting.front()));
        lane.waiting.pop_front();
      }
      if (batch.empty()) continue;
      ++lane.under_way;
      endpoint = lane.endpoint;
    }
    send(key, endpoint, std::move(batch));
  }
}

void EmbedQueue::send(const std::string& key, const SlmEndpoint& endpoint, Batch batch) {
  std::vector<std::string> texts;
  for (const auto& piece : batch) texts.push_back(piece.text);
  auto call = new_call(endpoint, "/embeddings");
  call->body = embeddings_body(texts, endpoint.model);
  call->max_body = kMaxBody;
  auto shared = std::make_shared<Batch>(std::move(batch));
  call->on_end = [self = shared_from_this(), key, endpoint, shared](const HttpEnd& end) {
    self->ended(key, endpoint, std::move(*shared), end);
  };
  loop_.start(std::move(call));
}

void EmbedQueue::ended(const std::string& key, const SlmEndpoint& endpoint, Batch batch,
                       const HttpEnd& end) {
  auto parsed = answered(end) ? parse_embeddings(end.body, batch.size())
                              : Result<v1::EmbedResult>(tl::unexpected(failure(end)));
  if (!parsed) parsed = tl::unexpected(without_key(std::move(parsed.error()), endpoint.api_key));
  bool shared = false;
  for (const auto& piece : batch) shared |= piece.work != batch.front().work;
  const bool again = !parsed && shared && (refused(end) || answered(end));
  Batch dropped;
  {
    std::lock_guard lock(mutex_);
    Lane& lane = lanes_[key];
    --lane.under_way;
    if (again)
      for (auto& piece : batch) {
        piece.alone = true;
        lane.waiting.push_back(std::move(piece));
      }
    if (end.kind == HttpEnd::Kind::kStopping) {  // nothing more can be sent
      dropped.assign(std::move_iterator(lane.waiting.begin()),
                     std::move_iterator(lane.waiting.end()));
      lane.waiting.clear();
    }
  }
  launch(key);
  for (const auto& piece : dropped) piece.work->fail_with(failure(end));
  if (again) return;
  if (parsed) return deliver(endpoint, batch, std::move(*parsed));
  for (const auto& piece : batch) piece.work->fail_with(parsed.error());
}

// The server counts a request's tokens as a whole: callers that shared it get theirs by length.
void EmbedQueue::deliver(const SlmEndpoint& endpoint, const Batch& batch, v1::EmbedResult result) {
  std::uint64_t bytes = 0, bytes_before = 0, told = 0;
  for (const auto& piece : batch) bytes += piece.text.size();
  for (std::size_t i = 0; i < batch.size(); ++i) {
    auto& embedding = *result.mutable_embeddings(static_cast<int>(i));
    // Vectors of one model are compared by its name.
    if (embedding.model().empty()) embedding.set_model(endpoint.model);
    bytes_before += batch[i].text.size();
    const std::uint64_t due = i + 1 == batch.size() ? result.prompt_tokens()
                                                    : result.prompt_tokens() * bytes_before /
                                                          std::max<std::uint64_t>(1, bytes);
    batch[i].work->take(batch[i].place, std::move(embedding), due - told);
    told = due;
  }
}

}  // namespace soma::runtime
