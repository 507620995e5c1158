// BM25 (k1 = 1.2, b = 0.75), after Robertson and Zaragoza, 2009.
#include "runtime/memory/word_index.h"

#include <cctype>
#include <cmath>
#include <utility>

namespace soma::runtime {

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
  for (const auto& [word, count] : d.counts) postings_[word][id] = count;
  total_length_ += d.length;
  documents_[id] = std::move(d);
}

void WordIndex::remove(std::uint64_t id) {
  auto it = documents_.find(id);
  if (it == documents_.end()) return;
  for (const auto& [word, count] : it->second.counts) {
    auto p = postings_.find(word);
    p->second.erase(id);
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
  for (const auto& word : words_of(query)) {
    auto p = postings_.find(word);
    if (p == postings_.end()) continue;
    const double df = static_cast<double>(p->second.size());
    const double idf = std::log(1 + (n - df + 0.5) / (df + 0.5));
    for (const auto& [id, count] : p->second) {
      const double length = documents_.at(id).length;
      scores[id] += idf * count * (k1 + 1) / (count + k1 * (1 - b + b * length / mean));
    }
  }
  return scores;
}

}  // namespace soma::runtime
