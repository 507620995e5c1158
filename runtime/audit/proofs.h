// A tenant's trees, an event's proof.
#pragma once

#include <boost/json/object.hpp>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "events/audit/merkle.h"
#include "events/log.h"
#include "runtime/audit/heads.h"
#include "runtime/audit/records.h"

namespace soma::runtime::audit {

// All of a tenant's trees at one place of the journal, about 64 bytes a record. Reads the whole
// journal.
struct Trees {
  std::vector<soma::audit::Tree> trees;  // by partition
  Head head;
};
inline constexpr std::uint64_t kMostRecords = 20'000'000;  // 1.3 GB of trees

// One reading of the journal up to its end as it stands: every record with its leaf. The head lacks
// its roots, which the visitor has. kNotFound: the tenant has none. kUnavailable: stopped.
Result<Head> read_records(const events::Log& log, const std::string& tenant, std::int64_t now_ms,
                          const std::function<Status(const Record&, soma::audit::Hash leaf)>& visit,
                          const Stop& stop = {});

// `visit` sees every record. kNotFound: the tenant has none. kTooLarge beyond kMostRecords.
Result<Trees> read_trees(const events::Log& log, const std::string& tenant, std::int64_t now_ms,
                         const std::function<void(const Record&)>& visit = {},
                         const Stop& stop = {});

// {soma_audit_proof, event_id, at, entry, path, head, key}. kNotFound when the tenant has no such
// event.
Result<boost::json::object> prove_event(const events::Log& log, const security::Key& key,
                                        const std::string& tenant, const std::string& event_id,
                                        std::int64_t now_ms, const Stop& stop = {});

}  // namespace soma::runtime::audit
