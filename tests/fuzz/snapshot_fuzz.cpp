// Fuzzes the rows of the state store: rows without a right digest read as absent; behind one, what
// reads is the same when it is written and read again; no flipped bit reads.
#include <cstdint>

#include "runtime/snapshots/codec.h"
#include "schemas/base/sha256.h"
#include "tests/fuzz/check.h"

using namespace soma;
using namespace soma::runtime;
using soma::fuzz::check;

namespace {

template <typename Decode, typename Encode>
void row(const std::string& bytes, std::uint8_t flip, Decode decode, Encode encode) {
  const auto read = decode(bytes);
  if (!read) return;
  std::string again = encode(*read);
  const auto read_again = decode(again);
  check(read_again && encode(*read_again) == again);
  again[flip % again.size()] ^= static_cast<char>(1 << flip % 8);
  check(!decode(again));
}

}  // namespace

// Input: which bit turns, then a row or the body of one.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string body(reinterpret_cast<const char*>(data + 1), size - 1);
  const std::string sealed = sha256(body) + body;
  check(!decode_snapshot(body) && !decode_checkpoint(body));  // nobody guesses a digest
  row(sealed, data[0], decode_snapshot, encode_snapshot);
  row(sealed, data[0], decode_checkpoint, encode_checkpoint);
  if (const auto dedupe = decode_dedupe(body)) {
    const auto again = decode_dedupe(encode_dedupe(*dedupe));
    check(again && encode_dedupe(*again) == encode_dedupe(*dedupe));
  }
  return 0;
}
