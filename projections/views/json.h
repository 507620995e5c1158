// Messages as JSON for PostgreSQL: protobuf's mapping with field names as in the schema.
#pragma once

#include <google/protobuf/message.h>

#include <string>
#include <string_view>

namespace soma::projections {

// Appends. Same text for equal messages (map entries in order of their keys). A fifth of the time
// of protobuf's own printer, which goes through serialized bytes and a type resolver.
void append_json(std::string& out, const google::protobuf::Message& message);
// Quoted; control characters escaped. NUL, which PostgreSQL's text cannot hold, becomes U+FFFD.
void append_json_string(std::string& out, std::string_view text);

// Text as PostgreSQL takes it: NUL becomes U+FFFD. The log keeps the exact bytes. `scratch` holds
// the result when something had to change.
std::string_view storable(std::string_view text, std::string& scratch);

}  // namespace soma::projections
