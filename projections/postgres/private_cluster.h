// A PostgreSQL cluster of our own: made at first start, on a Unix socket, stopped with this
// process.
#pragma once

#include <memory>
#include <string>

#include "schemas/base/errors.h"

namespace soma::projections {

// Owns the postmaster. Destroying it stops the server (fast shutdown).
class PrivateCluster {
 public:
  // Blocks until it accepts connections; 0.1 s warm, about 1 s at first. kIo says what failed and
  // where its log is.
  static Result<std::unique_ptr<PrivateCluster>> start(const std::string& data_dir);
  virtual ~PrivateCluster() = default;
  virtual std::string url() const = 0;  // libpq connection string
};

}  // namespace soma::projections
