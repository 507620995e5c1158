// Files for RocksDB whose space is taken before anything is written to them.
#pragma once

#include <rocksdb/env.h>

#include <memory>

namespace soma::runtime {

// RocksDB as Debian builds it aborts when it goes on with a file in which a write failed, so a full
// disk in the middle of a file would take the node with it. Here the disk is found full when the
// file is made, which RocksDB reports and recovers from.
std::unique_ptr<rocksdb::Env> make_reserving_env();

}  // namespace soma::runtime
