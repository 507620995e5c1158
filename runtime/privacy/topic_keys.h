// The data keys of a cluster's subjects: in a topic that all nodes follow, and brokers compact.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <shared_mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "events/kafka/keyed_topic.h"
#include "runtime/privacy/key_slot.h"
#include "runtime/privacy/subject_keys.h"

namespace soma::runtime::privacy {

// The fold of the topic, by which all nodes know the same keys. Records, by key:
//   key/ID       a slot: the key under the master key, or that it was destroyed
//   erasing/WHO/ERASURE  begins it: no key of this owner is used that lasts
//   erased/WHO/ERASURE   ends it, for good: one that begins it again later means nothing
//   master/PRINT the master key's fingerprint: of several, the first in the topic counts
//   note/NAME    what else must be known wherever the keys are, encrypted under the master key
// Two nodes may make a key of one subject at once: the first in the topic is used by both, and all
// are destroyed together. Thread-safe.
class TopicKeys final : public SubjectKeys {
 public:
  static constexpr std::size_t kMaxKeys = 4'000'000;  // 1.5 GB of memory
  using OpenTopic =
      std::function<Result<std::unique_ptr<events::KeyedTopic>>(events::KeyedTopic::Take)>;

  // Reads the topic to its end. `master` as of Vault::open; where the topic has keys, none is made.
  // kInvalidArgument: not the master key that the cluster's keys were made with. kNotFound, only
  // when `read_only`: there is no topic, or no master key here.
  static Result<std::unique_ptr<TopicKeys>> open(const OpenTopic& topic,
                                                 const std::string& data_dir,
                                                 const std::string& master, bool read_only);
  ~TopicKeys() override;

  Result<DataKeyPtr> of(const std::string& tenant, const std::string& subject) override;
  // One that is not known may be new: the topic is read to its end before kCorrupt.
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

  // Whether the erasure was ended, by whichever node: it never begins again.
  bool is_over(const std::string& tenant, const std::string& subject,
               const std::string& erasure) const;
  // While it stands: what it will destroy, that is what existed when it began, or came while it
  // stood and is used by nobody.
  std::vector<std::string> doomed(const std::string& tenant, const std::string& subject,
                                  const std::string& erasure) const;
  // Whose erasure is over, and whose data this node still seals under a key that nothing holds but
  // its memory, until it lets go of it: when states made from such data are being dropped.
  std::set<std::string> passed() const;
  void let_go(const std::set<std::string>& passed);

  // Kept with the keys, and known to all nodes; nothing: no longer. Durable when it returns.
  Status note(const std::string& name, const std::optional<std::string>& text);
  // Those whose names begin so, by what follows. kCorrupt: one does not open.
  Result<std::map<std::string, std::string>> notes(const std::string& prefix) const;
  // The same in the order in which they were written.
  Result<std::vector<std::pair<std::string, std::string>>> notes_in_order(
      const std::string& prefix) const;
  std::uint64_t notes_seen() const { return notes_seen_; }  // rises with each
  // A record that means nothing: what was written before may be compacted.
  Status nudge();
  Status catch_up() { return topic_->catch_up(); }

  // Until the topic's leader holds none of the keys' former values any more, and the file that held
  // them is gone; its other replicas do the same by themselves. kDeadlineExceeded tells what to
  // look at; kCancelled.
  Status wait_forgotten(const std::vector<std::string>& ids, const std::function<bool()>& stopping);

  std::vector<KeySlot> slots() const;
  // Of a folder's vault under the same master key; those that are known stay as they are.
  Status adopt(const std::vector<KeySlot>& slots);

 private:
  struct Slot {
    bool gone = false;
    std::string who, sealed;
  };
  explicit TopicKeys(std::string where) : where_(std::move(where)) {}
  void take(const events::KeyedRecord& record);
  void take_slot(const std::string& id, const events::KeyedRecord& record);  // under the lock
  void take_erasing(const std::string& what, bool begun);                    // under the lock
  struct Note {
    Offset offset;
    std::string stored;
  };
  Status agree_on_master(bool read_only);
  std::optional<DataKeyPtr> known(const std::string& name, const std::string& who, Status& problem);
  Status make(const std::string& who);
  Result<DataKeyPtr> unwrap(const std::string& id, const Slot& slot) const;

  const std::string where_;
  std::string master_;
  mutable std::shared_mutex mutex_;
  std::mutex making_;
  std::unordered_map<std::string, Slot> slots_;                      // by id
  std::unordered_map<std::string, std::vector<std::string>> owned_;  // by who, in the topic's order
  std::map<std::string, std::set<std::string>> erasing_;             // by who, the erasures
  std::map<std::string, std::vector<std::string>> doomed_;           // by who and erasure
  std::set<std::string> over_;                                       // by who and erasure
  std::map<Offset, std::string> prints_;
  std::map<std::string, Note> notes_;  // by name
  std::atomic<std::uint64_t> notes_seen_{0};
  std::unordered_map<std::string, DataKeyPtr> open_;   // by id; a cache
  std::unordered_map<std::string, DataKeyPtr> named_;  // by tenant and subject; a cache
  struct Passing {
    DataKeyPtr key;
    std::set<std::string> during;  // erasures
  };
  std::map<std::string, Passing> passing_;     // by who, until this node lets go
  std::unique_ptr<events::KeyedTopic> topic_;  // ends first
};

std::string keys_topic(const std::string& prefix);

}  // namespace soma::runtime::privacy
