// What is kept of erasures on a cluster: notes beside its keys, which every node follows.
#pragma once

#include <map>
#include <mutex>

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

  // What every node has caches to drop for: keys that an erasure destroyed, round by round, and at
  // last its end, certified or not. `unfinished`: those that still wait for some node.
  struct Due {
    std::string erasure;
    std::uint64_t round = 0;  // the last
    bool end = false;         // what was done under passing keys goes, too
    std::string in_round() const { return erasure + "/" + std::to_string(round); }
    std::string name() const { return end ? erasure + "/end" : in_round(); }
  };
  Result<std::vector<Due>> due(bool unfinished) const;

  // Of a folder that came with a moved journal; what stands here already is further on, and stays.
  Status adopt(const std::vector<Pending>& pending,
               const std::vector<boost::json::object>& certificates);

  struct Folder {  // a node's data folder, which may hold caches
    std::string id, node_id;
    std::int64_t since_ms = 0;
  };
  Status add(const Folder& folder);
  Result<std::vector<Folder>> folders() const;  // of a node with several the last is in use
  // Who has dropped caches for what is due, by its name: ids of folders; kViews, at an erasure's
  // end, for the database of the views.
  static constexpr char kViews[] = "views";
  Status dropped(const std::string& due, const std::string& folder, std::int64_t now_ms);
  Result<std::map<std::string, std::int64_t>> dropped(const std::string& due) const;

 private:
  using Objects = std::map<std::string, boost::json::object>;  // by erasure
  Result<Objects> erasures() const;

  privacy::TopicKeys& keys_;
  mutable std::mutex mutex_;  // of what was read when so many notes were seen
  mutable std::uint64_t seen_ = 0;
  mutable std::optional<Objects> read_;
};

}  // namespace soma::runtime::erasure
