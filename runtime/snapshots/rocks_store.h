// The StateStore of the product: RocksDB, off the commit path, without WAL. A cache of the journal.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "runtime/host/ports.h"

namespace soma::runtime {

struct RocksStore {
  std::unique_ptr<StateStore> store;
  bool recreated =
      false;  // what was there could not be read and was set aside; the log rebuilds it
  // Expired rows leave the disk now, not some hours later. For tools and tests; the store must
  // live.
  std::function<void()> compact;
};

// One database for all partitions. kIo when not even an empty one can be made.
Result<RocksStore> open_rocks_store(const std::string& folder);

// For tools, beside a running node or on a stopped folder: takes no lock, writes nothing; what was
// not yet flushed is not seen. Writes are refused. kNotFound when there is none.
Result<std::unique_ptr<StateStore>> open_rocks_store_readonly(const std::string& folder);

}  // namespace soma::runtime
