// COPY text and array literals.
#include "projections/postgres/batch.h"

#include <bit>
#include <span>

namespace soma::projections {

namespace {

// Array literals, one per column.
template <std::size_t N>
class Columns {
 public:
  void add(const Field (&fields)[N]) {
    for (std::size_t i = 0; i < N; ++i) {
      columns_[i].push_back(columns_[i].empty() ? '{' : ',');
      array_element(columns_[i], fields[i]);
    }
  }
  bool empty() const { return columns_[0].empty(); }
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

void copy_line(std::string& lines, std::span<const Field> fields) {
  for (std::size_t i = 0; i < fields.size(); ++i) {
    if (i) lines.push_back('\t');
    if (fields[i])
      copy_escape(lines, *fields[i]);
    else
      lines += "\\N";
  }
  lines.push_back('\n');
}

Status copy(Db& db, std::string_view table, std::string_view columns, const std::string& lines) {
  if (lines.empty()) return {};
  return db.copy_in("COPY " + std::string(table) + " (" + std::string(columns) + ") FROM STDIN",
                    lines);
}

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
  if (!last_ || last_->first != row.actor) {  // rows come by the actor
    last_ = &*taken_.try_emplace(row.actor).first;
    if (last_->second.rows == 0) last_->second.from_the_first = row.sequence == 1;
  }
  auto& taken = last_->second;
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
  last_ = nullptr;
  rows_ = 0;
}

// Whose first event is among the frames has no row yet: what is said of it can be copied, too.
bool Batch::is_new(const ActorName& actor) const {
  const auto it = taken_.find(actor);
  return it != taken_.end() && it->second.from_the_first;
}

Status Batch::write(Db& db) const {
  for (std::size_t i = 0; i < kTableCount; ++i)
    if (auto ok = copy(db, kTables[i].name, kTables[i].columns, lines_[i]); !ok) return ok;
  if (auto ok = write_sessions(db); !ok) return ok;
  return write_digests(db);
}

Status Batch::write_sessions(Db& db) const {
  Columns<12> changed;
  std::string added;
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
    if (is_new(name))
      copy_line(added, fields);
    else
      changed.add(fields);
  }
  if (auto ok = copy(db, "sessions", kSessionColumns, added); !ok || changed.empty()) return ok;
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
      changed.take()));
}

Status Batch::write_digests(Db& db) const {
  Columns<7> changed;
  std::string added;
  for (const auto& [name, t] : taken_) {
    const Field fields[] = {name.tenant,
                            name.type,
                            name.id,
                            std::to_string(t.rows),
                            std::to_string(t.last_sequence),
                            signed_text(t.digest.high),
                            signed_text(t.digest.low)};
    if (t.from_the_first)
      copy_line(added, fields);
    else
      changed.add(fields);
  }
  if (auto ok = copy(db, "actor_digests", kDigestColumns, added); !ok || changed.empty()) return ok;
  return done(db.query(
      "INSERT INTO actor_digests AS d SELECT * FROM unnest($1::text[],$2::text[],$3::text[],"
      "$4::bigint[],$5::bigint[],$6::bigint[],$7::bigint[]) ON CONFLICT (tenant_id, actor_type, "
      "actor_id) DO UPDATE SET rows = d.rows + excluded.rows, last_sequence = "
      "excluded.last_sequence, high = d.high # excluded.high, low = d.low # excluded.low",
      changed.take()));
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
