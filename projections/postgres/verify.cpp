// First digests per actor, from the log and from the tables; then, for the actors that differ, row
// by row.
#include "projections/postgres/verify.h"

#include <charconv>
#include <chrono>
#include <set>
#include <unordered_map>
#include <unordered_set>

#include "events/frames.h"
#include "projections/postgres/schema.h"
#include "projections/views/rows.h"
#include "schemas/base/cut_text.h"
#include "schemas/base/sha256.h"

namespace soma::projections {

namespace {

constexpr std::uint64_t kActorsPerSlice = 200'000;
constexpr std::size_t kMaxWrongActors = 50;  // told row by row
constexpr std::size_t kToldBytes = 200;      // of a value that differs

std::string_view text_of(const Field& f) { return f ? std::string_view(*f) : std::string_view(); }

// Rows and session of one actor as one number; what was counted, to tell lost pairs apart.
struct Sum {
  Digest digest;
  std::uint64_t rows = 0;
  bool operator==(const Sum&) const = default;
};

std::uint64_t slice_of(const ActorName& a, std::uint64_t slices) {
  const std::hash<std::string> h;
  return (h(a.tenant) * 31 + h(a.id)) % slices;
}

struct NameHash {
  std::size_t operator()(const ActorName& a) const {
    const std::hash<std::string> h;
    return (h(a.tenant) * 31 + h(a.type)) * 31 + h(a.id);
  }
};
using Sums = std::unordered_map<ActorName, Sum, NameHash>;

// The log's side, or the tables', of one slice.
class Summing final : public RowSink {
 public:
  Summing(std::uint64_t slice, std::uint64_t slices) : slice_(slice), slices_(slices) {}
  bool wanted(const ActorName& a) const { return slice_of(a, slices_) == slice_; }
  void row(const RowRef& row) override {
    if (wanted(row.actor)) add(row.actor, digest_of(row.table, row.fields));
  }
  void session(const ActorName& name, SessionChange change) override {
    if (!wanted(name)) return;
    auto [it, fresh] = sessions_.try_emplace(name, std::move(change));
    if (!fresh) it->second.then(change);
  }
  void add(const ActorName& actor, const Digest& d) {
    auto& sum = sums_[actor];
    sum.digest ^= d;
    ++sum.rows;
  }
  const Sum* find(const ActorName& actor) const {
    auto it = sums_.find(actor);
    return it == sums_.end() ? nullptr : &it->second;
  }
  Sums end() {
    for (const auto& [name, change] : sessions_)
      add(name, digest_of_session(session_fields(change)));
    sessions_.clear();
    return std::move(sums_);
  }

 private:
  const std::uint64_t slice_, slices_;
  Sums sums_;
  std::unordered_map<ActorName, SessionChange, NameHash> sessions_;
};

// All rows of a few actors, in full.
struct Kept {
  std::vector<std::string> fields;
  std::string event_id, position;
};
using RowKey = std::pair<std::uint64_t, std::string>;  // sequence, table
class Keeping final : public RowSink {
 public:
  explicit Keeping(std::set<ActorName> actors) : actors_(std::move(actors)) {}
  void row(const RowRef& row) override {
    if (!actors_.contains(row.actor)) return;
    auto& kept = rows_[row.actor][{row.sequence, std::string(table_of(row.table).name)}];
    kept.fields.assign(row.fields.begin(), row.fields.end());
    kept.position = to_string(row.position);
    kept.event_id = row.event_id;
  }
  void session(const ActorName& name, SessionChange change) override {
    if (!actors_.contains(name)) return;
    auto [it, fresh] = sessions_.try_emplace(name, change);
    if (!fresh) it->second.then(change);
  }
  void end() {
    for (const auto& [name, change] : sessions_) {
      auto& kept = rows_[name][{0, "sessions"}];
      kept.fields = {name.tenant, name.id};
      for (auto& f : session_fields(change)) kept.fields.push_back(std::move(f));
    }
  }
  std::map<ActorName, std::map<RowKey, Kept>>& rows() { return rows_; }
  const std::set<ActorName>& actors() const { return actors_; }

 private:
  const std::set<ActorName> actors_;
  std::map<ActorName, std::map<RowKey, Kept>> rows_;
  std::map<ActorName, SessionChange> sessions_;
};

const char* session_default(std::size_t column) {
  switch (column) {
    case 3:
      return "accepted";
    case 5:
    case 7:
      return "0";
    default:
      return "";
  }
}

std::vector<std::string> session_of(const Record& r) {
  std::vector<std::string> out;
  for (std::size_t i = 0; i < r.size(); ++i) out.push_back(r[i].value_or(session_default(i)));
  return out;
}

std::string select(const Table& t, const std::string& where = {}) {
  return "SELECT " + std::string(t.columns) + " FROM " + std::string(t.name) + where;
}

bool same(const Table* table, std::size_t column, const std::string& a, const std::string& b) {
  if (a == b) return true;
  if (!table || !(table->real_columns >> column & 1)) return false;
  double x = 0, y = 0;
  std::from_chars(a.data(), a.data() + a.size(), x);
  std::from_chars(b.data(), b.data() + b.size(), y);
  return x == y;
}

std::string column_name(std::string_view columns, std::size_t n) {
  for (; n > 0; --n) columns.remove_prefix(columns.find(',') + 1);
  return std::string(columns.substr(0, columns.find(',')));
}

const Table* find_table(const std::string& name) {
  for (const auto& t : kTables)
    if (t.name == name) return &t;
  return nullptr;
}

class Verifier {
 public:
  Verifier(const events::Log& log, Db& db, const std::optional<std::string>& tenant,
           const std::function<bool()>& stop)
      : log_(log), db_(db), tenant_(tenant), stop_(stop) {}

  Result<Verification> run() {
    auto cursors = load_cursors(db_, false);
    if (!cursors) return tl::unexpected(cursors.error());
    cursors_ = *cursors;
    for (const auto& [p, at] : cursors_) {
      auto ours = events::holds(log_, PartitionId{p}, at);
      if (!ours) return tl::unexpected(ours.error());
      if (!*ours)
        return fail(Code::kCorrupt, "the rows of partition " + std::to_string(p) +
                                        " stem from another log; rebuild the views");
      out_.cursors.push_back(std::to_string(p) + "/" + std::to_string(at.next.value));
    }
    auto count = db_.query("SELECT count(*) FROM actor_digests", {});
    if (!count) return tl::unexpected(count.error());
    const std::uint64_t slices = std::stoull(*(*count)[0][0]) / kActorsPerSlice + 1;
    for (std::uint64_t slice = 0; slice < slices; ++slice)
      if (auto ok = compare(slice, slices); !ok) return tl::unexpected(ok.error());
    if (!wrong_.empty())
      if (auto ok = explain(); !ok) return tl::unexpected(ok.error());
    out_.ok = out_.wrong_actors == 0;
    return std::move(out_);
  }

 private:
  // Every frame below the cursors.
  Status fold(RowSink& sink, bool count) {
    for (const auto& [p, at] : cursors_) {
      events::FrameReader reader(log_, PartitionId{p});
      while (reader.next_offset() < at.next) {
        if (stop_()) return fail(Code::kCancelled, "the verification was stopped");
        auto frames = reader.next();
        if (!frames) return tl::unexpected(frames.error());
        if (frames->empty()) break;
        for (const auto& frame : *frames) {
          if (frame.position.offset >= at.next) break;
          rows_of(frame, sink);
          if (count) out_.events += events_in(*frame.frame);
        }
      }
    }
    return {};
  }

  Status sum_tables(Summing& sums) {
    ActorName actor;
    const auto name = [&actor](const Record& r) -> const ActorName& {
      actor.tenant = text_of(r[0]);
      actor.type = text_of(r[1]);
      actor.id = text_of(r[2]);
      return actor;
    };
    std::vector<std::string_view> fields;
    for (std::size_t i = 0; i < kTableCount; ++i) {
      auto ok = db_.copy_out("COPY (" + select(kTables[i]) + ") TO STDOUT", [&](const Record& r) {
        if (!sums.wanted(name(r))) return;
        fields.assign(r.size(), {});
        for (std::size_t k = 0; k < r.size(); ++k) fields[k] = text_of(r[k]);
        sums.add(actor, digest_of(static_cast<TableId>(i), fields));
        ++out_.rows;
        if (static_cast<TableId>(i) == TableId::kRejected) ++out_.rejected;
      });
      if (!ok) return ok;
    }
    if (auto ok = check_stored(sums); !ok) return ok;
    return db_.copy_out(
        "COPY (SELECT " + std::string(kSessionColumns) + " FROM sessions) TO STDOUT",
        [&](const Record& r) {
          actor = {std::string(text_of(r[0])), "session", std::string(text_of(r[1]))};
          if (!sums.wanted(actor)) return;
          auto values = session_of(r);
          values.erase(values.begin(), values.begin() + 2);
          sums.add(actor, digest_of_session(values));
          ++out_.rows;
        });
  }

  // What is kept beside the rows must be what the rows say.
  Status check_stored(const Summing& sums) {
    return db_.copy_out(
        "COPY (SELECT tenant_id, actor_type, actor_id, rows, high, low FROM actor_digests) TO "
        "STDOUT",
        [&](const Record& r) {
          const ActorName actor{*r[0], *r[1], *r[2]};
          if (!sums.wanted(actor)) return;
          const Sum* sum = sums.find(actor);
          if (sum && std::to_string(sum->rows) == *r[3] &&
              std::to_string(static_cast<std::int64_t>(sum->digest.high)) == *r[4] &&
              std::to_string(static_cast<std::int64_t>(sum->digest.low)) == *r[5])
            return;
          wrong_stored_.insert(actor);
          wrong(actor);
        });
  }

  Status compare(std::uint64_t slice, std::uint64_t slices) {
    Summing log_side(slice, slices), table_side(slice, slices);
    if (auto ok = fold(log_side, slice == 0); !ok) return ok;
    if (auto ok = sum_tables(table_side); !ok) return ok;
    Sums expected = log_side.end(), found = table_side.end();
    out_.actors += expected.size();
    for (const auto& [name, sum] : expected) {
      auto it = found.find(name);
      if (it == found.end() || !(it->second == sum)) wrong(name);
      if (it != found.end()) found.erase(it);
    }
    for (const auto& [name, sum] : found) wrong(name);
    counted_.clear();
    return {};
  }

  void wrong(const ActorName& name) {
    if (!counted_.insert(name).second) return;
    ++out_.wrong_actors;
    if (tenant_ && name.tenant != *tenant_)
      ++out_.wrong_of_others;
    else if (wrong_.size() < kMaxWrongActors)
      wrong_.insert(name);
  }

  Status explain() {
    Keeping expected(wrong_), found(wrong_);
    if (auto ok = fold(expected, false); !ok) return ok;
    expected.end();
    for (const auto& name : wrong_) {
      auto& rows = found.rows()[name];
      for (const auto& table : kTables) {
        const std::string id =
            table.columns.find("session_id") != std::string_view::npos ? "session_id" : "actor_id";
        auto got = db_.query(
            select(table, " WHERE tenant_id=$1 AND actor_type=$2 AND " + id + "=$3 LIMIT 100000"),
            {name.tenant, name.type, name.id});
        if (!got) return tl::unexpected(got.error());
        for (const auto& r : *got) {
          auto& kept = rows[{std::stoull(*r[3]), std::string(table.name)}];
          for (const auto& f : r) kept.fields.emplace_back(text_of(f));
        }
      }
      auto got = db_.query("SELECT " + std::string(kSessionColumns) +
                               " FROM sessions WHERE tenant_id=$1 AND session_id=$2",
                           {name.tenant, name.id});
      if (!got) return tl::unexpected(got.error());
      if (name.type == "session")
        for (const auto& r : *got) rows[{0, "sessions"}].fields = session_of(r);
      const auto before = out_.differences.size();
      differ(name, expected.rows()[name], rows);
      if (out_.differences.size() == before && wrong_stored_.contains(name))
        tell("changed", name, {0, "actor_digests"}, nullptr, "high,low", {}, {});
    }
    return {};
  }

  void differ(const ActorName& name, const std::map<RowKey, Kept>& expected,
              const std::map<RowKey, Kept>& found) {
    for (const auto& [key, row] : expected) {
      auto it = found.find(key);
      if (it == found.end()) {
        tell("missing", name, key, &row, {}, {}, {});
        continue;
      }
      const Table* table = find_table(key.second);
      for (std::size_t i = 0; i < row.fields.size() && i < it->second.fields.size(); ++i)
        if (!same(table, i, row.fields[i], it->second.fields[i])) {
          tell("changed", name, key, &row, column_name(table ? table->columns : kSessionColumns, i),
               row.fields[i], it->second.fields[i]);
          break;
        }
    }
    for (const auto& [key, row] : found)
      if (!expected.contains(key)) tell("extra", name, key, nullptr, {}, {}, {});
  }

  void tell(const char* kind, const ActorName& name, const RowKey& key, const Kept* row,
            std::string column, const std::string& expected, const std::string& found) {
    if (out_.differences.size() >= kMaxDifferences) return;
    Difference d;
    d.kind = kind;
    d.table = key.second;
    d.tenant = name.tenant;
    d.actor_type = name.type;
    d.actor_id = name.id;
    d.sequence = key.first;
    if (row) {
      d.position = row->position;
      d.event_id = row->event_id;
    }
    d.column = std::move(column);
    d.expected = cut_text(expected, kToldBytes);
    d.found = cut_text(found, kToldBytes);
    out_.differences.push_back(std::move(d));
  }

  const events::Log& log_;
  Db& db_;
  const std::optional<std::string>& tenant_;
  const std::function<bool()>& stop_;
  Cursors cursors_;
  Verification out_;
  std::unordered_set<ActorName, NameHash> counted_;  // wrong ones of the slice
  std::set<ActorName> wrong_, wrong_stored_;         // to be told
};

}  // namespace

Result<Verification> verify_rows(const events::Log& log, Db& db,
                                 const std::optional<std::string>& tenant,
                                 const std::function<bool()>& stop) {
  const auto began = std::chrono::steady_clock::now();
  if (auto ok = db.run("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"); !ok)
    return tl::unexpected(ok.error());
  auto out = Verifier(log, db, tenant, stop).run();
  if (auto ok = db.run("ROLLBACK"); !ok && out) return tl::unexpected(ok.error());
  if (out)
    out->seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
  return out;
}

Result<std::string> digest_rows(Db& db) {
  if (auto ok = db.run("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"); !ok)
    return tl::unexpected(ok.error());
  std::string all;
  Status ok;
  std::vector<std::string_view> fields;
  for (std::size_t i = 0; i < kTableCount && ok; ++i) {
    Sum sum;
    ok = db.copy_out("COPY (" + select(kTables[i]) + ") TO STDOUT", [&](const Record& r) {
      fields.clear();
      for (const auto& f : r) fields.push_back(text_of(f));
      sum.digest ^= digest_of(static_cast<TableId>(i), fields);
      ++sum.rows;
    });
    all += std::to_string(sum.rows) + ":" + to_hex(sum.digest) + "\n";
  }
  Sum sessions;
  if (ok)
    ok = db.copy_out("COPY (SELECT " + std::string(kSessionColumns) + " FROM sessions) TO STDOUT",
                     [&](const Record& r) {
                       sessions.digest ^= digest_of_session(session_of(r));
                       ++sessions.rows;
                     });
  auto ended = db.run("ROLLBACK");
  if (!ok) return tl::unexpected(ok.error());
  if (!ended) return tl::unexpected(ended.error());
  return sha256_hex(all + std::to_string(sessions.rows) + ":" + to_hex(sessions.digest));
}

}  // namespace soma::projections
