// Rows of some frames, gathered for one transaction.
#pragma once

#include <array>
#include <map>
#include <string>

#include "projections/postgres/db.h"
#include "projections/views/rows.h"

namespace soma::projections {

// Not thread-safe. Reusable after clear().
class Batch final : public RowSink {
 public:
  void row(const RowRef& row) override;
  void session(const ActorName& session, SessionChange change) override;

  // Into the schema in use, in the transaction that is open. COPY for what is added, one statement
  // for all that is changed.
  Status write(Db& db) const;
  std::uint64_t rows() const { return rows_; }
  std::size_t bytes() const;
  bool empty() const { return rows_ == 0 && sessions_.empty(); }
  void clear();

 private:
  struct Taken {
    std::uint64_t rows = 0, last_sequence = 0;
    bool from_the_first = false;  // event of the actor
    Digest digest;
  };
  bool is_new(const ActorName& actor) const;
  Status write_sessions(Db& db) const;
  Status write_digests(Db& db) const;

  std::array<std::string, kTableCount> lines_;
  std::map<ActorName, SessionChange> sessions_;
  std::map<ActorName, Taken> taken_;
  std::map<ActorName, Taken>::value_type* last_ = nullptr;  // whose row came last
  std::uint64_t rows_ = 0;
};

// Rows that name one actor's event, when the event's own rows were refused by the database.
class Rejecting final : public RowSink {
 public:
  Rejecting(RowSink& out, std::string reason) : out_(out), reason_(std::move(reason)) {}
  void row(const RowRef& row) override;
  void session(const ActorName&, SessionChange) override {}

 private:
  RowSink& out_;
  const std::string reason_;
  ActorName last_actor_;
  std::uint64_t last_sequence_ = 0;
};

}  // namespace soma::projections
