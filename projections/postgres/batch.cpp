// COPY text and array literals.
#include "projections/postgres/batch.h"

#include <bit>

namespace soma::projections {

namespace {

// Array literals, one per column.
template <std::size_t N>
class Columns {
 public:
  void add(std::size_t column, const Field& field) {
    std::string& c = columns_[column];
    c.push_back(c.empty() ? '{' : ',');
    array_element(c, field);
  }
  Record take() {
    Record out;
    for (auto& c : columns_) {
      c.push_back('}');
      out.emplace_back(std::move(c));
    }
    return out;
  }

 private:
  std::array<std::string, N> columns_;
};

Field text(const std::optional<std::int64_t>& n) {
  return n ? Field(std::to_string(*n)) : std::nullopt;
}

Status done(const Result<std::vector<Record>>& r) {
  return r ? Status{} : tl::unexpected(r.error());
}

// PostgreSQL's bigint has a sign.
std::string signed_text(std::uint64_t n) { return std::to_string(std::bit_cast<std::int64_t>(n)); }

}  // namespace

void Batch::row(const RowRef& row) {
  std::string& lines = lines_[static_cast<std::size_t>(row.table)];
  for (std::size_t i = 0; i < row.fields.size(); ++i) {
    if (i) lines.push_back('\t');
    copy_escape(lines, row.fields[i]);
  }
  lines.push_back('\n');
  auto& taken = taken_[row.actor];
  ++taken.rows;
  taken.last_sequence = row.sequence;
  taken.digest ^= digest_of(row.table, row.fields);
  ++rows_;
}

void Batch::session(const ActorName& session, SessionChange change) {
  auto [it, fresh] = sessions_.try_emplace(session, std::move(change));
  if (!fresh) it->second.then(change);
}

std::size_t Batch::bytes() const {
  std::size_t n = 0;
  for (const auto& lines : lines_) n += lines.size();
  return n;
}

void Batch::clear() {
  for (auto& lines : lines_) lines.clear();
  sessions_.clear();
  taken_.clear();
  rows_ = 0;
}

Status Batch::write(Db& db) const {
  for (std::size_t i = 0; i < kTableCount; ++i) {
    if (lines_[i].empty()) continue;
    const std::string sql = "COPY " + std::string(kTables[i].name) + " (" +
                            std::string(kTables[i].columns) + ") FROM STDIN";
    if (auto ok = db.copy_in(sql, lines_[i]); !ok) return ok;
  }
  if (auto ok = write_sessions(db); !ok) return ok;
  return write_digests(db);
}

Status Batch::write_sessions(Db& db) const {
  if (sessions_.empty()) return {};
  Columns<12> columns;
  for (const auto& [name, c] : sessions_) {
    const Field fields[] = {name.tenant,
                            name.id,
                            c.user,
                            c.status,
                            c.model,
                            text(c.created_ms),
                            text(c.updated_ms),
                            text(c.turns),
                            c.error_code,
                            c.error_message,
                            text(c.prompt_tokens),
                            text(c.completion_tokens)};
    for (std::size_t i = 0; i < 12; ++i) columns.add(i, fields[i]);
  }
  return done(db.query(
      "INSERT INTO sessions AS s SELECT * FROM unnest($1::text[],$2::text[],$3::text[],$4::text[],"
      "$5::text[],$6::bigint[],$7::bigint[],$8::bigint[],$9::text[],$10::text[],$11::bigint[],"
      "$12::bigint[]) ON CONFLICT (tenant_id, session_id) DO UPDATE SET user_id = "
      "coalesce(excluded.user_id, s.user_id), status = coalesce(excluded.status, s.status), model "
      "= coalesce(excluded.model, s.model), created_ms = coalesce(excluded.created_ms, "
      "s.created_ms), updated_ms = excluded.updated_ms, turns = coalesce(excluded.turns, s.turns), "
      "error_code = coalesce(excluded.error_code, s.error_code), error_message = "
      "coalesce(excluded.error_message, s.error_message), prompt_tokens = s.prompt_tokens + "
      "excluded.prompt_tokens, completion_tokens = s.completion_tokens + "
      "excluded.completion_tokens",
      columns.take()));
}

Status Batch::write_digests(Db& db) const {
  if (taken_.empty()) return {};
  Columns<7> columns;
  for (const auto& [name, t] : taken_) {
    const Field fields[] = {name.tenant,
                            name.type,
                            name.id,
                            std::to_string(t.rows),
                            std::to_string(t.last_sequence),
                            signed_text(t.digest.high),
                            signed_text(t.digest.low)};
    for (std::size_t i = 0; i < 7; ++i) columns.add(i, fields[i]);
  }
  return done(db.query(
      "INSERT INTO actor_digests AS d SELECT * FROM unnest($1::text[],$2::text[],$3::text[],"
      "$4::bigint[],$5::bigint[],$6::bigint[],$7::bigint[]) ON CONFLICT (tenant_id, actor_type, "
      "actor_id) DO UPDATE SET rows = d.rows + excluded.rows, last_sequence = "
      "excluded.last_sequence, high = d.high # excluded.high, low = d.low # excluded.low",
      columns.take()));
}

void Rejecting::row(const RowRef& row) {
  if (row.actor == last_actor_ && row.sequence == last_sequence_) return;
  last_actor_ = row.actor;
  last_sequence_ = row.sequence;
  const std::string sequence = std::to_string(row.sequence), position = to_string(row.position);
  out_.row({TableId::kRejected,
            row.actor,
            row.sequence,
            row.position,
            row.event_id,
            {row.fields[0],
             row.fields[1],
             row.fields[2],
             sequence,
             row.event_id,
             {},
             position,
             reason_}});
}

}  // namespace soma::projections
