// BM25 (k1 = 1.2, b = 0.75), after Robertson and Zaragoza, 2009.
#include "runtime/memory/word_index.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <unordered_set>
#include <utility>

namespace soma::runtime {

namespace {

constexpr std::size_t kLargeIndex = 1000;  // documents
constexpr std::size_t kTellingShare = 4;   // a telling word is in at most one of so many
// Words that hold English sentences together say little about what is asked, and a memory of a few
// facts has no counts from which to learn that.
constexpr double kFunctionWordShare = 0.1;
constexpr double kUnknownWordShare = 0.5;  // of the weight of a word that no document has

bool is_function_word(std::string_view word) {
  static const std::unordered_set<std::string_view> kWords{
      "a",    "about", "an",    "and",   "any",   "are",  "as",   "at",   "be",     "been", "but",
      "by",   "can",   "could", "did",   "do",    "does", "for",  "from", "had",    "has",  "have",
      "he",   "her",   "his",   "how",   "i",     "if",   "in",   "is",   "it",     "its",  "me",
      "my",   "no",    "not",   "of",    "on",    "or",   "our",  "she",  "should", "so",   "some",
      "that", "the",   "their", "them",  "there", "they", "this", "to",   "was",    "we",   "were",
      "what", "when",  "where", "which", "who",   "why",  "will", "with", "would",  "you",  "your"};
  return kWords.contains(word);
}

template <typename Postings>
auto place_of(Postings& postings, std::uint64_t id) {
  return std::lower_bound(postings.begin(), postings.end(), id,
                          [](const auto& p, std::uint64_t wanted) { return p.id < wanted; });
}

// Such as an order's number: whoever writes it means exactly that.
bool names_one_thing(std::string_view word, std::size_t documents, std::size_t all) {
  return word.size() >= 4 && documents <= std::max<std::size_t>(3, all / 100) &&
         std::any_of(word.begin(), word.end(),
                     [](unsigned char c) { return std::isdigit(c) != 0; });
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

std::unordered_map<std::uint64_t, WordIndex::Match> WordIndex::search(
    std::string_view query) const {
  constexpr double k1 = 1.2, b = 0.75;
  std::unordered_map<std::uint64_t, Match> scores;
  const double n = static_cast<double>(documents_.size());
  const double mean = n > 0 ? static_cast<double>(total_length_) / n : 1;
  struct Asked {
    const Postings* postings;
    double weight;
    bool name;
  };
  std::vector<Asked> found;
  double all = 0;
  std::map<std::string, std::uint32_t> asked;
  for (auto& word : words_of(query)) ++asked[std::move(word)];
  for (const auto& [word, times] : asked) {
    const auto p = postings_.find(word);
    const double df = p == postings_.end() ? 0 : static_cast<double>(p->second.size());
    const double weight = times * std::log(1 + (n - df + 0.5) / (df + 0.5)) *
                          (is_function_word(word) ? kFunctionWordShare : 1);
    all += p == postings_.end() ? weight * kUnknownWordShare : weight;
    if (p != postings_.end())
      found.push_back(
          {&p->second, weight, names_one_thing(word, p->second.size(), documents_.size())});
  }
  std::stable_sort(found.begin(), found.end(), [](const Asked& x, const Asked& y) {
    return x.postings->size() < y.postings->size();
  });
  if (found.size() > kMaxWords) found.resize(kMaxWords);
  for (const auto& [postings, weight, name] : found) {
    if (documents_.size() >= kLargeIndex && !scores.empty() &&
        postings->size() > documents_.size() / kTellingShare)
      break;
    for (const auto& [id, count, length] : *postings) {
      auto& match = scores[id];
      match.score += weight * count * (k1 + 1) / (count + k1 * (1 - b + b * length / mean));
      match.named |= name;
    }
  }
  for (auto& [id, match] : scores) match.score = std::min(1.0, match.score / all);
  return scores;
}

}  // namespace soma::runtime
