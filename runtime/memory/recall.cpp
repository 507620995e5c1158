// A recall from its request to its answer: wait, embed, search, each on a thread of its own.
#include "runtime/memory/memory_index.h"

namespace soma::runtime {

namespace {

void degrade(v1::RecallResult& result, const std::string& why) {
  result.set_degraded(true);
  result.set_degraded_reason(
      result.degraded_reason().empty() ? why : result.degraded_reason() + "; " + why);
}

}  // namespace

RecallFunction make_recall(MemoryIndex& index, SlmClient& client,
                           SlmClient::Resolve embedding_endpoint) {
  return [&index, &client, embedding_endpoint](const v1::RecallRequest& request, auto done) {
    MemoryIndex::Query query{request.tenant(), request.query(), {}, request.top_k()};
    const auto search = [&index, query, done](bool settled, std::vector<float> vector,
                                              const std::string& without_vector) {
      auto q = query;
      q.vector = std::move(vector);
      index.recall_apart(
          std::move(q), [settled, without_vector, done](Result<v1::RecallResult> result) {
            if (result && !settled)
              degrade(*result, "the memory index has not caught up with the log yet");
            if (result && !without_vector.empty()) degrade(*result, without_vector);
            done(std::move(result));
          });
    };
    const auto embed = [&index, &client, embedding_endpoint, query, search, done](bool settled) {
      if (index.stopped()) return done(fail(Code::kUnavailable, "the node is stopping", kStopping));
      if (index.size(query.tenant) == 0) return search(settled, {}, {});  // nothing to compare with
      const auto by_words = [settled, search](const Error& why) {
        search(settled, {}, "embeddings are unavailable: " + why.message);
      };
      auto endpoint = embedding_endpoint();
      if (!endpoint) return by_words(endpoint.error());
      client.embed(*endpoint, {query.text},
                   [settled, search, by_words, done](Result<v1::EmbedResult> r) {
                     if (!r && r.error().field == kStopping) return done(tl::unexpected(r.error()));
                     if (!r) return by_words(r.error());
                     const auto& values = r->embeddings(0).values();
                     search(settled, {values.begin(), values.end()}, {});
                   });
    };
    index.when_settled(parse_position(request.at_least()), embed);
  };
}

}  // namespace soma::runtime
