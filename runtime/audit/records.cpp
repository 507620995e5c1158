// Entries to records.
#include "runtime/audit/records.h"

#include "schemas/base/sha256.h"

namespace soma::runtime::audit {

bool concerns(const v1::Entry& entry, const std::string& tenant) {
  const auto& owner = entry.actor().tenant();
  return owner == tenant ||
         (owner.starts_with('$') && entry.context().principal().tenant() == tenant);
}

void each_record(const events::ValidFrame& frame, const std::string& tenant, std::uint64_t& index,
                 const std::function<void(const Record&)>& visit) {
  const auto& f = *frame.frame;
  for (int i = 0; i < f.entries_size(); ++i) {
    const auto& entry = f.entries(i);
    if (!concerns(entry, tenant)) continue;
    Record r;
    r.position = frame.position;
    r.index = index++;
    r.entry = static_cast<std::uint32_t>(i);
    if (entry.actor().tenant() == tenant) {
      r.bytes = entry.SerializeAsString();
    } else {
      v1::Entry seen = entry;
      seen.clear_sends();
      seen.clear_reply();
      r.bytes = seen.SerializeAsString();
    }
    for (const std::uint64_t n :
         {std::uint64_t{frame.position.partition.value}, r.index, frame.position.offset.value,
          std::uint64_t{r.entry}, f.epoch(), f.number(), static_cast<std::uint64_t>(f.time_ms())})
      r.at += std::to_string(n) + " ";
    r.at += hex(frame.hash);
    visit(r);
  }
}

}  // namespace soma::runtime::audit
