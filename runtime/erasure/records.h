// What is kept of erasures: in DATA_DIR/keys/vault/erasures, a file each, or beside a cluster's
// keys.
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
  bool begun = false;                // of a cluster's: with two keys, it was approved
  std::uint64_t round = 0;           // of a cluster's: how often keys were destroyed for it
  bool destroyed = false;            // in this round: every node has caches to drop
  bool released = false;             // it will destroy no key any more
  std::vector<std::string> key_ids;  // then: of what was destroyed
  std::string subject_hash() const;  // hex SHA-256 of salt, tenant and subject, each on a line
};

// Not thread-safe.
class Records {
 public:
  virtual ~Records() = default;
  virtual Status begin(const Pending& pending) = 0;
  // One that was not approved: nothing is left that names the subject.
  virtual Status drop(const Pending& pending) = 0;
  // The certificate takes the place of what was pending.
  virtual Status finish(const Pending& pending, const boost::json::object& certificate) = 0;
  virtual Result<std::vector<Pending>> pending() const = 0;
  // Of a tenant, the newest first.
  virtual std::vector<boost::json::object> certificates(const std::string& tenant) const = 0;
};

// Files are whole or absent even after a crash.
class FolderRecords final : public Records {
 public:
  explicit FolderRecords(const std::string& data_dir)
      : folder_(data_dir + "/keys/vault/erasures") {}
  Status begin(const Pending& pending) override;
  Status drop(const Pending& pending) override;
  Status finish(const Pending& pending, const boost::json::object& certificate) override;
  Result<std::vector<Pending>> pending() const override;
  std::vector<boost::json::object> certificates(const std::string& tenant) const override;
  std::vector<boost::json::object> certificates() const;  // of all tenants
  void remove_all();

 private:
  const std::string folder_;
};

boost::json::object to_json(const Pending& pending);
Pending pending_from(const boost::json::object& json);
// Members of an object; empty where there is none of the kind.
std::string text(const boost::json::object& o, const char* name);
std::int64_t number(const boost::json::object& o, const char* name);
bool truth(const boost::json::object& o, const char* name);
std::vector<std::string> texts(const boost::json::object& o, const char* name);
void newest_first(std::vector<boost::json::object>& certificates);

}  // namespace soma::runtime::erasure
