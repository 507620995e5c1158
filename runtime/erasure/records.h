// What is kept of erasures: DATA_DIR/keys/vault/erasures, a file each.
#pragma once

#include <boost/json/object.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "schemas/base/errors.h"

namespace soma::runtime::erasure {

// One that is asked for and not yet certified. Names the subject, as nothing else does afterwards:
// overwritten before it goes.
struct Pending {
  std::string id, tenant, subject, reason, requested_by;
  std::string key_id;  // of the subject, when it was asked for; empty: there was none
  std::string salt;    // 32 hex digits, of the hash by which the log knows the subject
  std::int64_t requested_ms = 0;
  bool two_keys = false;             // begins when its request is approved
  std::string approved_by;           // then; not in the file
  std::string subject_hash() const;  // hex SHA-256 of salt, tenant and subject, each on a line
};

// Not thread-safe. Files are whole or absent even after a crash.
class Records {
 public:
  explicit Records(std::string vault_folder) : folder_(std::move(vault_folder) + "/erasures") {}
  Status begin(const Pending& pending) const;
  // One that was not approved: nothing is left that names the subject.
  Status drop(const Pending& pending) const;
  // The certificate takes the place of what was pending.
  Status finish(const Pending& pending, const boost::json::object& certificate) const;
  Result<std::vector<Pending>> pending() const;
  // Of a tenant, the newest first.
  std::vector<boost::json::object> certificates(const std::string& tenant) const;

 private:
  const std::string folder_;
};

}  // namespace soma::runtime::erasure
