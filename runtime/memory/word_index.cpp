// BM25 (k1 = 1.2, b = 0.75), after Robertson and Zaragoza, 2009.
#include "runtime/memory/word_index.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <utility>

namespace soma::runtime {

namespace {

constexpr std::size_t kLargeIndex = 1000;  // documents
constexpr std::size_t kTellingShare = 4;   // a telling word is in at most one of so many

template <typename Postings>
auto place_of(Postings& postings, std::uint64_t id) {
  return std::lower_bound(postings.begin(), postings.end(), id,
                          [](const auto& p, std::uint64_t wanted) { return p.id < wanted; });
}

}  // namespace

std::vector<std::string> words_of(std::string_view text) {
  std::vector<std::string> out;
  std::string word;
  for (unsigned char c : text) {
    if (std::isalnum(c) || c >= 128 || c == '_')
      word.push_back(static_cast<char>(c < 128 ? std::tolower(c) : c));
    else if (!word.empty())
      out.push_back(std::exchange(word, {}));
  }
  if (!word.empty()) out.push_back(std::move(word));
  return out;
}

void WordIndex::add(std::uint64_t id, std::string_view text) {
  remove(id);
  Document d;
  for (auto& word : words_of(text)) {
    ++d.counts[word];
    ++d.length;
  }
  for (const auto& [word, count] : d.counts) {
    auto& postings = postings_[word];
    const Posting posting{id, count, d.length};
    if (postings.empty() || postings.back().id < id)  // the usual case: ids rise
      postings.push_back(posting);
    else
      postings.insert(place_of(postings, id), posting);
  }
  total_length_ += d.length;
  documents_[id] = std::move(d);
}

void WordIndex::remove(std::uint64_t id) {
  auto it = documents_.find(id);
  if (it == documents_.end()) return;
  for (const auto& [word, count] : it->second.counts) {
    auto p = postings_.find(word);
    p->second.erase(place_of(p->second, id));
    if (p->second.empty()) postings_.erase(p);
  }
  total_length_ -= it->second.length;
  documents_.erase(it);
}

std::unordered_map<std::uint64_t, double> WordIndex::search(std::string_view query) const {
  constexpr double k1 = 1.2, b = 0.75;
  std::unordered_map<std::uint64_t, double> scores;
  const double n = static_cast<double>(documents_.size());
  const double mean = n > 0 ? static_cast<double>(total_length_) / n : 1;
  std::vector<const Postings*> found;
  for (const auto& word : words_of(query))
    if (auto p = postings_.find(word); p != postings_.end()) found.push_back(&p->second);
  std::sort(found.begin(), found.end(),
            [](const auto* x, const auto* y) { return x->size() < y->size(); });
  for (const auto* postings : found) {
    if (documents_.size() >= kLargeIndex && !scores.empty() &&
        postings->size() > documents_.size() / kTellingShare)
      break;
    const double df = static_cast<double>(postings->size());
    const double idf = std::log(1 + (n - df + 0.5) / (df + 0.5));
    for (const auto& [id, count, length] : *postings)
      scores[id] += idf * count * (k1 + 1) / (count + k1 * (1 - b + b * length / mean));
  }
  return scores;
}

}  // namespace soma::runtime
