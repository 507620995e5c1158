// Everything of a tenant as lines of JSON that prove themselves.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "actors/actor_type.h"
#include "runtime/audit/proofs.h"

namespace soma::runtime::audit {

struct BundleResult {
  std::uint64_t records = 0, bytes = 0, lines = 0;
  std::string key_id;
};

// Lines, in order: what it is; the public key; the schemas as a FileDescriptorSet; older heads; the
// head; every record with its spine, partition by partition; an end over all bytes before it.
// Reads the journal three times; memory: the largest entry, and 64 bytes for each 1024 records.
// `write` may refuse with an error, which ends it.
Result<BundleResult> write_bundle(
    const events::Log& log, const actors::Catalog& catalog, const security::Key& key,
    const std::string& tenant, const std::vector<std::string>& older_heads, std::int64_t now_ms,
    const std::function<Status(std::string_view)>& write,
    const std::function<void(std::uint64_t, std::uint64_t)>& on_progress = {},
    const Stop& stop = {});

}  // namespace soma::runtime::audit
