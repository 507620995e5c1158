// An inverted index of words with BM25 scores, as shares of what the query asks for.
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
  static constexpr std::size_t kMaxWords = 128;  // of a query, that are looked up

  void add(std::uint64_t id, std::string_view text);
  void remove(std::uint64_t id);
  // Of all that share a telling word with the query: 0 to 1, 1 where each of its words is met as
  // often as in a document of mean length that has it once. A match on common words alone thus
  // stays small however few facts there are. In a large index a word of every fourth document or
  // more tells little and costs most: it counts only where the query has no rarer one. Of a query's
  // different words the rarest kMaxWords are looked up; the others count as not met.
  // `named`: a rare word with a digit in it is met, such as an order's number.
  struct Match {
    double score = 0;
    bool named = false;
    bool operator==(const Match&) const = default;
  };
  std::unordered_map<std::uint64_t, Match> search(std::string_view query) const;

 private:
  struct Document {
    std::map<std::string, std::uint32_t> counts;
    std::uint32_t length = 0;
  };
  struct Posting {
    std::uint64_t id = 0;
    std::uint32_t count = 0, length = 0;  // of the word in the document; of the document
  };
  using Postings = std::vector<Posting>;  // by id
  std::unordered_map<std::uint64_t, Document> documents_;
  std::unordered_map<std::string, Postings> postings_;
  std::uint64_t total_length_ = 0;
};

}  // namespace soma::runtime
