// What a scripted model server does with each request.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "schemas/base/errors.h"

namespace soma::test {

// One way to answer. Counts are of content tokens; -1: never.
struct Behaviour {
  std::string model;       // of `next`: kept for the first request that asks for it; empty: any
  int status = 200;        // other: an error object with `text`, or nothing where it is empty
  int retry_after_s = 0;   // header, with any status
  int delay_ms = 0;        // before the first byte
  int token_delay_ms = 0;  // before each token
  bool echo = false;       // the last user message, word by word
  std::vector<std::string> tokens = {"Hello", " from", " the", " script", "."};
  std::string text;                    // of an error
  std::string finish_reason = "stop";  // empty: none is sent
  // "NAME ARGUMENTS" each: asked for, in fragments of 7 bytes of arguments, instead of the tokens
  // and with finish_reason "tool_calls", unless the last message is a tool's.
  std::vector<std::string> tool_calls;
  bool insists = false;  // asks again whatever the last message is
  bool usage = true;
  bool done = true;          // [DONE]
  bool streams = true;       // false: plain JSON, whatever was asked for
  int cut_after = -1;        // then the connection is closed
  int stall_after = -1;      // then nothing more comes
  int malformed_after = -1;  // then a frame that is not JSON
  int error_after = -1;      // then an error object in the stream
  int late_text = 0;         // tokens after the finish_reason
  int write_bytes = 0;       // sent in pieces of so many bytes; 0: whole
  int dimensions = 384;      // of embeddings
};

// A request takes the first of `next` that is for its model, or `otherwise` where there is none.
struct Script {
  std::deque<Behaviour> next;
  Behaviour otherwise;

  Behaviour take(std::string_view model);
};

// {"next": [{…}], "otherwise": {…}} with the fields above; or one behaviour alone. Unknown fields
// are errors.
Result<Script> parse_script(std::string_view json);

// A unit vector made of the hashes of the text's words: same text, same vector; shared words, near
// vectors.
std::vector<float> hash_embedding(std::string_view text, int dimensions);

}  // namespace soma::test
