// What one frame means for the tables. Pure: no database here.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "events/frames.h"
#include "projections/views/tables.h"
#include "schemas/base/ids.h"

namespace soma::projections {

// Who a row belongs to, without the affinity.
struct ActorName {
  std::string tenant, type, id;
  auto operator<=>(const ActorName&) const = default;
};

// A row of a table; views into the sink's caller, valid during the call.
struct RowRef {
  TableId table;
  const ActorName& actor;
  std::uint64_t sequence;
  Position position;
  std::string_view event_id;
  const std::vector<std::string_view>& fields;  // text, as PostgreSQL prints it
};

// A session's row, or what events change of one: absent members stay as they were.
struct SessionChange {
  std::optional<std::string> user, status, model, error_code, error_message;
  std::optional<std::int64_t> created_ms, turns;
  std::int64_t updated_ms = 0;
  std::int64_t prompt_tokens = 0, completion_tokens = 0;  // to be added

  void then(const SessionChange& later);
};
// The fields of kSessionColumns behind the key, once all of a session's changes are folded.
std::vector<std::string> session_fields(const SessionChange& all);

class RowSink {
 public:
  virtual ~RowSink() = default;
  virtual void row(const RowRef& row) = 0;
  virtual void session(const ActorName& session, SessionChange change) = 0;
};

// Every event of the frame that the tables show, in order. An event that this build cannot read
// gives a row of `rejected`: nothing is passed over in silence.
void rows_of(const events::ValidFrame& frame, RowSink& sink);
// How many events the frame holds, of all actors.
std::uint64_t events_in(const v1::Frame& frame);

// 128 bits that depend on every byte of a row, and that add up: a set's digest is the exclusive or
// of its rows'.
struct Digest {
  std::uint64_t high = 0, low = 0;
  Digest& operator^=(const Digest& o) {
    high ^= o.high;
    low ^= o.low;
    return *this;
  }
  bool operator==(const Digest&) const = default;
};
std::string to_hex(const Digest& digest);
// Of a session's own row, by what session_fields gives.
Digest digest_of_session(const std::vector<std::string>& fields);
// Reals are taken by value, so that their spelling does not matter.
Digest digest_of(TableId table, const std::vector<std::string_view>& fields);

}  // namespace soma::projections
