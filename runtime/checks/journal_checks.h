// All checks over a journal, and every actor's state as its events make it.
#pragma once

#include <functional>
#include <map>
#include <memory>

#include "runtime/checks/delivery_check.h"
#include "runtime/checks/park_check.h"

namespace soma::checks {

struct JournalOptions {
  std::uint32_t partition_count = 1;
  bool live = false;         // frames come as they are written; see DeliveryCheck
  bool decide_again = true;  // I14; the costly one
  // Hears of every actor's state after each entry that changed it.
  std::function<void(const ActorKey&, const actors::ActorType&, const actors::Message&, Sequence)>
      on_state;
};

// Not thread-safe. Frames of a partition come in order.
class JournalChecks {
 public:
  JournalChecks(const actors::Catalog& catalog, JournalOptions options);

  void take(const events::ValidFrame& frame, Findings& findings);

  struct Folded {
    std::unique_ptr<actors::Message> state;
    Sequence sequence;
    const actors::ActorType* type = nullptr;
    bool erased = false;  // personal data is gone from some of its entries
  };
  const std::map<ActorKey, Folded>& actors() const { return actors_; }
  const Folded* find(const ActorKey& actor) const;
  const DeliveryCheck& delivery() const { return *delivery_; }
  const ParkCheck& park() const { return *park_; }
  std::uint64_t events() const { return events_; }
  std::uint64_t commands() const { return commands_; }
  std::uint64_t erased() const { return erased_; }  // entries that lack personal data
  std::uint64_t parked() const { return parked_; }
  std::uint64_t decided() const { return decided_; }  // again, and compared (I14)

 private:
  void fold(const events::ValidFrame& frame, const v1::Entry& entry, const ActorKey& key,
            Folded& actor, Findings& findings);

  const actors::Catalog& catalog_;
  const JournalOptions options_;
  std::vector<std::unique_ptr<EntryCheck>> checks_;
  DeliveryCheck* delivery_ = nullptr;
  ParkCheck* park_ = nullptr;
  std::map<ActorKey, Folded> actors_;
  std::uint64_t events_ = 0, commands_ = 0, erased_ = 0, parked_ = 0, decided_ = 0;
};

}  // namespace soma::checks
