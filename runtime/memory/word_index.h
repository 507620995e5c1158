// An inverted index of words with BM25 scores.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace soma::runtime {

// Lower-case runs of letters and digits; bytes above 127 count as letters.
std::vector<std::string> words_of(std::string_view text);

// Not thread-safe.
class WordIndex {
 public:
  void add(std::uint64_t id, std::string_view text);
  void remove(std::uint64_t id);
  // Scores of all that share a word with the query.
  std::unordered_map<std::uint64_t, double> search(std::string_view query) const;

 private:
  struct Document {
    std::map<std::string, std::uint32_t> counts;
    std::uint32_t length = 0;
  };
  std::unordered_map<std::uint64_t, Document> documents_;
  std::unordered_map<std::string, std::map<std::uint64_t, std::uint32_t>> postings_;
  std::uint64_t total_length_ = 0;
};

}  // namespace soma::runtime
