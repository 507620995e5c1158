// What the views can be asked: pages and rows as plain values. Tenant is a parameter of every query.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "projections/views/rows.h"
#include "schemas/base/errors.h"
#include "schemas/base/ids.h"

namespace soma::projections {

inline constexpr std::size_t kMaxPageItems = 200;   // limit of every list: 1..200

struct SessionRow {
  std::string session_id, user, status, model;
  std::int64_t created_ms = 0, updated_ms = 0;
  std::int64_t turns = 0;
  std::string last_position;             // "PARTITION/OFFSET" of the frame that changed it last
  std::uint64_t last_sequence = 0;
  std::string error_code, error_message;   // empty: none
};
struct SessionPage {
  std::vector<SessionRow> items;
  std::string next_cursor;      // empty: no more
};

struct SessionEventPage {
  std::vector<SessionEventRow> items;
  bool more = false;            // ask again after items.back().sequence
};

struct ModelUsage {
  std::string model;
  std::int64_t calls = 0, prompt_tokens = 0, completion_tokens = 0;
};
struct UsageSummary {
  std::int64_t calls = 0, prompt_tokens = 0, completion_tokens = 0;
  std::vector<ModelUsage> by_model;      // in order of the models' names
};

// Thread-safe; each call takes a connection of a small pool, bounded in time. kUnavailable while Postgres is
// away or the views are not made yet; kInvalidArgument names the field; another tenant's rows are kNotFound.
class Queries {
 public:
  virtual ~Queries() = default;

  // Newest first. `status` (accepted, running, …) and `cursor` may be empty; a cursor belongs to one tenant
  // and status filter.
  virtual Result<SessionPage> list_sessions(const std::string& tenant, const std::string& status,
                                            std::size_t limit, const std::string& cursor) = 0;
  // In order of sequence, those above `after`. kNotFound when the tenant has no such session.
  virtual Result<SessionEventPage> session_events(const std::string& tenant,
                                                  const std::string& session_id, Sequence after,
                                                  std::size_t limit) = 0;
  virtual Result<DecisionRow> decision(const std::string& tenant,
                                       const std::string& decision_id) = 0;
  // Model calls that began at `from_ms` or later and before `to_ms` (Unix time).
  virtual Result<UsageSummary> usage(const std::string& tenant, std::int64_t from_ms,
                                     std::int64_t to_ms) = 0;
  // As last set, and what was spent; kNotFound while neither ever happened.
  virtual Result<TenantRow> tenant_settings(const std::string& tenant) = 0;
};

}  // namespace soma::projections
