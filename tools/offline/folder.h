// A data folder, read as the node would answer: the same routes, without a node.
#pragma once

#include <boost/json/value.hpp>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "actors/actor_type.h"
#include "events/embedded/scan.h"
#include "events/log.h"
#include "runtime/api/journal_views.h"
#include "runtime/host/ports.h"
#include "runtime/verify/journal.h"
#include "tools/cli/commands.h"

namespace soma::cli::offline {

// Read-only, also beside a running node: takes no lock, writes nothing, and sees the journal as it
// stood at the opening. What looks damaged while a node writes is looked at again before it is
// called so. kNotFound, kCorrupt.
Result<std::unique_ptr<events::Log>> open_log(const std::string& folder);

// Why a folder without one has none.
Error no_journal(const std::string& folder);

// The journal of the context's Kafka cluster, read-only. What a folder's node had sealed before its
// journal was moved there is opened with that folder's vault (--data-dir); without it the data is
// shown as erased data is, and a note on stderr says so, once.
Result<std::unique_ptr<events::Log>> open_cluster(const Context& context);

// The journal that a command reads itself: the cluster's with --kafka, else the folder's.
// kInvalidArgument where a node is named: its journal is another one than the folder's.
Result<std::unique_ptr<events::Log>> open_source(const Context& context);

// Where a record stands: file and byte; nothing when the files do not hold it.
struct Place {
  std::string file;
  std::uint64_t byte = 0;
};
std::optional<Place> locate(const std::string& folder, Position position);

// Not thread-safe. Sees every tenant: who may read the files may read all of it.
class Folder {
 public:
  static Result<std::shared_ptr<Folder>> open(const std::string& folder);
  // Over the journal of a cluster: no files, no snapshots. `name`: for messages.
  static std::shared_ptr<Folder> over(std::string name, std::unique_ptr<events::Log> log);
  // GET of a route: actors, actor-types, sessions, log, snapshots. kUnavailable for others: they
  // need a node.
  Result<boost::json::value> get(const std::string& path_and_query);
  const events::Log& log() const { return *log_; }

 private:
  using Query = std::map<std::string, std::string>;
  explicit Folder(std::string folder) : folder_(std::move(folder)) {}

  Result<boost::json::value> actors(const Query& q);
  // An actor's fold up to a place ("": now).
  struct Then {
    ActorKey key;
    runtime::views::Fold fold;
    Position position;
    std::int64_t time_ms = 0;
  };
  Result<Then> folded(const std::string& tenant, const std::string& type, const std::string& id,
                      const std::string& place);
  Result<boost::json::value> actor(const std::string& type, const std::string& id, const Query& q);
  Result<boost::json::value> history(const std::string& type, const std::string& id,
                                     const Query& q);
  Result<boost::json::value> session(const std::string& id, const Query& q);
  Result<boost::json::value> sessions(const Query& q);
  Result<boost::json::value> frames(const Query& q);
  Result<boost::json::value> snapshots(const Query& q);
  // The one actor of this type and id; an empty tenant is found out.
  Result<ActorKey> find(const std::string& tenant, const std::string& type, const std::string& id);
  Status each_event(
      const ActorKey& key,
      const std::function<bool(const v1::RecordedEvent&, const v1::Context&, Position)>& visit);

  const std::string folder_;
  std::unique_ptr<runtime::StateStore> store_;  // null: none; opened first, so never ahead
  std::unique_ptr<events::Log> log_;
  std::unique_ptr<runtime::Journal> journal_;
  std::unique_ptr<actors::Catalog> catalog_ = actors::standard_catalog();
};

}  // namespace soma::cli::offline
