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

#include "runtime/privacy/key_slot.h"
#include "runtime/privacy/subject_keys.h"

namespace soma::runtime::privacy {

// One file of slots of 128 bytes, rewritten in place: a key is overwritten where it stands. Each
// key is encrypted under the master key; whose it is can be told with the master key alone.
// Thread-safe.
class Vault final : public SubjectKeys {
 public:
  static constexpr std::size_t kMaxKeys = 4'000'000;  // 512 MB of slots

  // `master`: 64 hex digits; empty: DATA_DIR/keys/vault/master.key, made at first. kCorrupt, kIo,
  // kInvalidArgument (another master key than the one that the keys were made with). A vault that
  // does not exist is made, unless `read_only`: then kNotFound.
  static Result<std::unique_ptr<Vault>> open(const std::string& data_dir, const std::string& master,
                                             bool read_only);
  ~Vault() override;

  Result<DataKeyPtr> of(const std::string& tenant, const std::string& subject) override;
  Result<DataKeyPtr> find(const std::string& id) override;
  std::optional<std::string> id_of(const std::string& tenant,
                                   const std::string& subject) const override;
  Status begin_erasure(const std::string& tenant, const std::string& subject,
                       const std::string& erasure) override;
  Result<std::vector<std::string>> destroy(const std::string& tenant, const std::string& subject,
                                           const std::string& erasure) override;
  Status end_erasure(const std::string& tenant, const std::string& subject,
                     const std::string& erasure) override;
  std::size_t keys() const override;

  // All that it holds, in its order: for moving it.
  Result<std::vector<KeySlot>> slots() const;
  // A slot of another place, under the same master key; of a key that is known, only that it was
  // destroyed.
  Status adopt(const KeySlot& slot);
  // Overwritten and removed: its keys are elsewhere now. Nothing else may be called after it.
  Status remove();
  const std::string& folder() const { return folder_; }

 private:
  struct Slot {
    std::uint64_t number = 0;
    bool erased = false;
    std::string sealed;  // the key under the master key
  };
  Vault(std::string folder, std::string master, bool read_only);
  Status load();
  Result<DataKeyPtr> make(const std::string& who, bool kept);  // under the lock
  Result<DataKeyPtr> unwrap(const std::string& id, const Slot& slot) const;
  Status write_slot(std::uint64_t number, const std::string& bytes);

  const std::string folder_, master_;
  const bool read_only_;
  int file_ = -1;
  mutable std::shared_mutex mutex_;
  std::uint64_t next_slot_ = 0;
  std::unordered_map<std::string, Slot> slots_;                    // by id
  std::unordered_map<std::string, std::vector<std::string>> ids_;  // by who; the newest last
  std::unordered_map<std::string, DataKeyPtr> open_;               // by id; a cache
  std::unordered_map<std::string, DataKeyPtr> named_;              // by tenant and subject; a cache
  std::map<std::string, DataKeyPtr> passing_;  // by who, while it is being erased
};

}  // namespace soma::runtime::privacy
