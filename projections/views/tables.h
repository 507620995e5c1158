// The tables of the views, column by column. The statements are in projections/sql.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace soma::projections {

// Tables whose rows each stem from one event and never change. (`sessions`, one row per actor, is
// folded; `actor_digests` says what was taken from each actor.)
enum class TableId : std::uint8_t { kSessionEvents, kDecisions, kUsage, kRejected };
inline constexpr std::size_t kTableCount = 4;

struct Table {
  std::string_view name;
  std::string_view columns;    // in the order of fields, comma-separated
  std::uint32_t real_columns;  // bit set: double precision; compared as numbers
};

// The first four columns of each are tenant_id, actor_type, actor_id, sequence: the primary key,
// and the event that the row stems from.
inline constexpr std::array<Table, kTableCount> kTables{{
    {"session_events",
     "tenant_id,actor_type,session_id,sequence,event_id,type,time_ms,position,principal,"
     "correlation_id,data",
     0},
    {"decisions",
     "tenant_id,actor_type,actor_id,sequence,decision_id,action_id,allow,score,threshold,reasons,"
     "time_ms",
     1U << 7 | 1U << 8},
    {"usage",
     "tenant_id,actor_type,actor_id,sequence,call_id,model,prompt_tokens,completion_tokens,time_ms",
     0},
    {"rejected", "tenant_id,actor_type,actor_id,sequence,event_id,type,position,reason", 0},
}};
inline constexpr const Table& table_of(TableId id) { return kTables[static_cast<std::size_t>(id)]; }

inline constexpr std::string_view kSessionColumns =
    "tenant_id,session_id,user_id,status,model,created_ms,updated_ms,turns,error_code,"
    "error_message,prompt_tokens,completion_tokens";
inline constexpr std::string_view kDigestColumns =
    "tenant_id,actor_type,actor_id,rows,last_sequence,high,low";

}  // namespace soma::projections
