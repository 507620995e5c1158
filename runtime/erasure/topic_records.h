// What is kept of erasures on a cluster: notes beside its keys, which every node follows.
#pragma once

#include <map>

#include "runtime/erasure/records.h"
#include "runtime/privacy/topic_keys.h"

namespace soma::runtime::erasure {

// Requests name the subject, encrypted under the master key as all notes are, until the certificate
// takes their place and brokers compact the topic. Thread-safe.
class TopicRecords final : public Records {
 public:
  explicit TopicRecords(privacy::TopicKeys& keys) : keys_(keys) {}
  Status begin(const Pending& pending) override;  // also again, with more known of it
  Status drop(const Pending& pending) override;
  Status finish(const Pending& pending, const boost::json::object& certificate) override;
  Result<std::vector<Pending>> pending() const override;
  std::vector<boost::json::object> certificates(const std::string& tenant) const override;
  Result<std::vector<boost::json::object>> certificates() const;  // of all tenants

  // Erasures whose keys are destroyed, certified or not: every node has caches to drop for them.
  // `unfinished`: those that still wait for some node.
  Result<std::vector<std::string>> destroyed(bool unfinished) const;

  struct Folder {  // a node's data folder, which may hold caches
    std::string id, node_id;
    std::int64_t since_ms = 0;  // a node with several: the newest is in use
  };
  Status add(const Folder& folder);
  Result<std::vector<Folder>> folders() const;
  // Who has dropped caches for an erasure: ids of folders; kViews for the database of the views.
  static constexpr char kViews[] = "views";
  Status dropped(const std::string& erasure, const std::string& folder, std::int64_t now_ms);
  Result<std::map<std::string, std::int64_t>> dropped(const std::string& erasure) const;

 private:
  privacy::TopicKeys& keys_;
};

}  // namespace soma::runtime::erasure
