// A PostgreSQL cluster of our own: made at first start, on a Unix socket, stopped with this
// process.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "schemas/base/errors.h"

namespace soma::projections {

// Owns the postmaster, and a lock on its home, so that no second process starts it. Destroying it
// stops the server (fast shutdown). Used by one thread, but for url().
class PrivateCluster {
 public:
  // Only notes where things are; nothing runs yet. Once `stopping` says so, starts are given up.
  static std::unique_ptr<PrivateCluster> at(
      const std::string& data_dir, std::function<bool()> stopping = [] { return false; });
  virtual ~PrivateCluster() = default;
  // Starts what is not running, and blocks until it accepts connections: 0.1 s warm, about 1 s at
  // first. Call again when connections fail: a server that died is started anew. kUnavailable:
  // PostgreSQL is not installed; kLocked: another process runs this cluster; kCancelled: it was
  // given up within moments, and nothing of it runs; kIo says what failed and where its log is.
  virtual Status ensure() = 0;
  // Stops it and removes all its files, and what was logged; ensure() makes another.
  virtual void discard() = 0;
  virtual bool running() const = 0;
  virtual int pid() const = 0;           // of the postmaster; 0: not running
  virtual std::string url() const = 0;   // libpq connection string; empty before ensure()
  virtual std::string home() const = 0;  // where the cluster's files are
};

}  // namespace soma::projections
