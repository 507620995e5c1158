// The data keys of a node's subjects, where they can be destroyed: DATA_DIR/keys/vault.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "schemas/base/errors.h"

namespace soma::runtime::privacy {

struct DataKey {
  std::string id;      // 32 hex digits
  std::string secret;  // kKeyBytes
  ~DataKey();
};
using DataKeyPtr = std::shared_ptr<const DataKey>;

// One file of slots of 128 bytes, rewritten in place: a key is overwritten where it stands. Each
// key is encrypted under the master key; whose it is can be told with the master key alone.
// Thread-safe.
class Vault {
 public:
  static constexpr std::size_t kMaxKeys = 4'000'000;  // 512 MB of slots

  // `master`: 64 hex digits; empty: DATA_DIR/keys/vault/master.key, made at first. kCorrupt, kIo,
  // kInvalidArgument (another master key than the one that the keys were made with). A vault that
  // does not exist is made, unless `read_only`: then kNotFound.
  static Result<std::unique_ptr<Vault>> open(const std::string& data_dir, const std::string& master,
                                             bool read_only);
  ~Vault();

  // The subject's key; made and durable when this returns. While the subject is being erased it is
  // one that no file ever held.
  Result<DataKeyPtr> of(const std::string& tenant, const std::string& subject);
  // Null: destroyed. kCorrupt: the vault never had it.
  Result<DataKeyPtr> find(const std::string& id);
  // The id of the subject's key, if it has one.
  std::optional<std::string> id_of(const std::string& tenant, const std::string& subject) const;

  // From now on nothing of the subject is kept under its old key, nor under one that lasts.
  void begin_erasure(const std::string& tenant, const std::string& subject);
  // Overwritten and synced when it returns; whatever else holds the key has let go of it. The ids.
  Result<std::vector<std::string>> destroy(const std::string& tenant, const std::string& subject);
  void end_erasure(const std::string& tenant, const std::string& subject);

  std::size_t keys() const;  // that exist
  const std::string& folder() const { return folder_; }

 private:
  struct Slot {
    std::uint64_t number = 0;
    bool erased = false;
    std::string sealed;  // the key under the master key
  };
  Vault(std::string folder, std::string master, bool read_only);
  Status load();
  std::string who(const std::string& tenant, const std::string& subject) const;
  Result<DataKeyPtr> make(const std::string& who, bool kept);  // under the lock
  Result<DataKeyPtr> unwrap(const std::string& id, const Slot& slot) const;
  Status write_slot(std::uint64_t number, const std::string& bytes);

  const std::string folder_, master_;
  const bool read_only_;
  int file_ = -1;
  mutable std::shared_mutex mutex_;
  std::uint64_t next_slot_ = 0;
  std::unordered_map<std::string, Slot> slots_;        // by id
  std::unordered_map<std::string, std::string> ids_;   // by who: its newest key
  std::unordered_map<std::string, DataKeyPtr> open_;   // by id; a cache
  std::unordered_map<std::string, DataKeyPtr> named_;  // by tenant and subject; a cache
  std::map<std::string, DataKeyPtr> passing_;          // by who, while it is being erased
};

}  // namespace soma::runtime::privacy
