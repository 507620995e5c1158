// A tenant's records: entries of valid frames, without those of other tenants.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "events/frames.h"

namespace soma::runtime::audit {

struct Record {
  Position position;
  std::uint64_t index = 0;  // among the tenant's records of this partition, from 0
  std::uint32_t entry = 0;  // within the frame
  std::string bytes;        // soma.v1.Entry
  std::string at;           // "PARTITION INDEX OFFSET ENTRY EPOCH NUMBER TIME_MS FRAME_HASH"

  std::string hashed() const { return "soma-audit-1 " + at + "\n" + bytes; }
};

// Asked between batches of a long reading: true ends it with stopped(). Null: never.
using Stop = std::function<bool()>;
inline tl::unexpected<Error> stopped() { return fail(Code::kUnavailable, "the node stops"); }

// Is an entry part of what the tenant may see? Of an actor that tenants share, what the tenant's
// own principals asked of it.
bool concerns(const v1::Entry& entry, const std::string& tenant);

// The tenant's entries of a frame; `index` is the first one's and is moved on. Of shared actors
// replies and sends are left out: they may tell of others.
void each_record(const events::ValidFrame& frame, const std::string& tenant, std::uint64_t& index,
                 const std::function<void(const Record&)>& visit);

}  // namespace soma::runtime::audit
