// Signed heads: what a tenant's records were at a time.
#pragma once

#include <boost/json/object.hpp>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/security/keys.h"
#include "schemas/base/ids.h"

namespace soma::runtime::audit {

struct PartitionHead {
  PartitionId partition;
  std::uint64_t records = 0;
  std::string root;  // raw, of the tree over them
  // Where the journal of all tenants stood.
  Offset next;
  Epoch epoch;
  FrameNumber number;
  std::string journal_hash;  // raw, of the last valid frame
};

struct Head {
  std::string tenant;
  std::int64_t time_ms = 0;
  std::vector<PartitionHead> partitions;  // every one, in order
  std::uint64_t records() const;
};

struct SignedHead {
  Head head;
  std::string jws;
  std::string key_id;
};

boost::json::object to_json(const Head& head);
// A compact JWS with header {"alg":"EdDSA","kid":…,"typ":TYPE}; never a valid token, whose typ
// differs. Needs an Ed25519 key.
Result<std::string> sign_document(const security::Key& key, const std::string& type,
                                  const boost::json::object& payload);
Result<std::string> sign_head(const security::Key& key, const Head& head);
// The payload of such a document, signed by one of these keys, and which one. kInvalidArgument says
// why not.
Result<boost::json::object> open_document(std::string_view jws, const std::string& type,
                                          const std::vector<security::Key>& keys,
                                          std::string& key_id);
inline constexpr char kHeadType[] = "soma-audit-head";
inline constexpr char kEndType[] = "soma-audit-end";

// The data folder's key; kNotFound where the folder has none yet. Never makes one.
Result<security::Key> folder_key(const std::string& data_dir);

// DATA_DIR/audit/heads.ndjson, a line a head: {tenant, time, records, head}. Appended and synced;
// a last line cut by a crash is left out, and ended before the next. Only lines as this class
// writes them are read.
class HeadFile {
 public:
  explicit HeadFile(std::string data_dir) : data_dir_(std::move(data_dir)) {}
  Status append(std::span<const SignedHead> heads) const;  // one sync
  // The tenant's, the oldest first, at most the last kMost.
  std::vector<boost::json::object> of(const std::string& tenant) const;
  static constexpr std::size_t kMost = 1000;

 private:
  const std::string data_dir_;
};

}  // namespace soma::runtime::audit
