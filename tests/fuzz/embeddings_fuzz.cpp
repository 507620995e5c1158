// Fuzzes the answers of an embedding server: as many unit vectors as texts, or an error; and the
// cutting of texts that are too long, which loses nothing but spaces and no part of a character.
#include <cmath>
#include <cstdint>

#include "runtime/effects/embeddings.h"
#include "runtime/http/text.h"
#include "tests/fuzz/check.h"

using namespace soma;
using namespace soma::runtime;
using soma::fuzz::check;

namespace {

void unit(const v1::Embedding& vector) {
  double norm = 0;
  for (const float x : vector.values()) norm += static_cast<double>(x) * x;
  check(vector.values_size() > 0 && std::abs(norm - 1) < 1e-3);
}

std::string without_spaces(const std::string& text) {
  std::string out;
  for (const char c : text)
    if (c != ' ') out += c;
  return out;
}

void pieces(const std::string& text, std::size_t most) {
  const auto cut = cut_in_pieces(text, most);
  check(!cut.empty());
  std::string all;
  for (const auto& piece : cut) {
    check(most == 0 || piece.size() <= most);
    check(!piece.empty() || text.find_first_not_of(' ') == text.npos);
    if (most >= 4 && http::valid_utf8(text)) check(http::valid_utf8(piece));
    all += piece;
  }
  check(without_spaces(all) == without_spaces(text));
}

}  // namespace

// Input: how many texts, and how long a piece may be; then the answer, or the text.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string text(reinterpret_cast<const char*>(data + 1), size - 1);
  const std::size_t expected = data[0] % 4;
  if (const auto result = parse_embeddings(text, expected)) {
    check(static_cast<std::size_t>(result->embeddings_size()) == expected);
    for (const auto& vector : result->embeddings()) unit(vector);
    if (expected > 0) {
      const auto mean = mean_of({result->embeddings().begin(), result->embeddings().end()});
      if (mean && expected > 1) unit(*mean);
    }
  } else {
    check(result.error().code == Code::kModelUnavailable && !result.error().message.empty());
  }
  pieces(text, data[0] % 32);
  return 0;
}
