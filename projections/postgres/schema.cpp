// Schemas, versions, cursors.
#include "projections/postgres/schema.h"

#include "projections/sql/statements.h"
#include "projections/views/tables.h"
#include "schemas/base/sha256.h"
#include "schemas/base/unhex.h"

namespace soma::projections {

namespace {

// Raise when rows_of() makes other rows of the same events.
constexpr int kRowsVersion = 2;

const std::string& version() {
  static const std::string v =
      sha256_hex(std::string(kViewsSql) + kIndexesSql + std::to_string(kRowsVersion));
  return v;
}

std::uint64_t number(const Field& f) { return std::stoull(*f); }

}  // namespace

Result<Shown> shown_schema(Db& db) {
  auto rows = db.query(
      "SELECT obj_description(oid, 'pg_namespace') FROM pg_namespace WHERE nspname = $1", {kShown});
  if (!rows) return tl::unexpected(rows.error());
  if (rows->empty()) return Shown::kAbsent;
  return rows->front()[0] == version() ? Shown::kCurrent : Shown::kOfAnotherBuild;
}

Status create_schema(Db& db, const std::string& name) {
  return db.run("DROP SCHEMA IF EXISTS " + name + " CASCADE; CREATE SCHEMA " + name +
                "; COMMENT ON SCHEMA " + name + " IS '" + version() +
                "'; SET LOCAL search_path = " + name + "; " + kViewsSql);
}

Status create_indexes(Db& db, const std::string& name) {
  return db.run("SET LOCAL search_path = " + name + "; " + kIndexesSql);
}

Status analyze(Db& db, const std::string& name) {
  // Lookups by key and pages by time need no finer statistics than of some thousand rows.
  std::string all = "SET default_statistics_target = 20; ANALYZE " + name + ".sessions, " + name +
                    ".actor_digests";
  for (const auto& table : kTables) all += ", " + name + "." + std::string(table.name);
  return db.run(all);
}

Status switch_schemas(Db& db) {
  return db.run(std::string("BEGIN; DROP SCHEMA IF EXISTS ") + kShown + " CASCADE; ALTER SCHEMA " +
                kFilling + " RENAME TO " + kShown + "; COMMIT");
}

Status use_schema(Db& db, const std::string& name) {
  return db.run("SET search_path = " + name + ", pg_catalog");
}

Result<Cursors> load_cursors(Db& db, bool lock) {
  auto rows =
      db.query(std::string("SELECT partition, next_offset, epoch, number, encode(head, 'hex'), "
                           "last_offset, encode(last_hash, 'hex') FROM cursor ORDER BY partition") +
                   (lock ? " FOR UPDATE" : ""),
               {});
  if (!rows) return tl::unexpected(rows.error());
  Cursors out;
  for (const auto& r : *rows)
    out[static_cast<std::uint32_t>(number(r[0]))] = {
        Offset{number(r[1])},
        events::Fence(Epoch{number(r[2])}, FrameNumber{number(r[3])}, unhex(*r[4]).value()),
        Offset{number(r[5])}, unhex(*r[6]).value()};
  return out;
}

Status store_cursor(Db& db, std::uint32_t partition, const events::Bookmark& b) {
  auto done = db.query(
      "INSERT INTO cursor VALUES ($1,$2,$3,$4,decode($5,'hex'),$6,decode($7,'hex')) ON CONFLICT "
      "(partition) DO UPDATE SET next_offset=$2, epoch=$3, number=$4, head=decode($5,'hex'), "
      "last_offset=$6, last_hash=decode($7,'hex')",
      {std::to_string(partition), std::to_string(b.next.value),
       std::to_string(b.fence.epoch().value), std::to_string(b.fence.last_number().value),
       hex(b.fence.head()), std::to_string(b.last.value), hex(b.last_hash)});
  return done ? Status{} : tl::unexpected(done.error());
}

}  // namespace soma::projections
