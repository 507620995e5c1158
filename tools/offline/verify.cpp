// Verification: bytes, then frames, then meaning.
#include "tools/offline/verify.h"

#include <boost/json.hpp>
#include <iostream>
#include <map>
#include <memory>

#include "actors/actor_type.h"
#include "events/embedded/embedded_log.h"
#include "events/frames.h"
#include "schemas/base/sha256.h"

namespace soma::cli {

namespace json = boost::json;

namespace {

struct Folded {
  std::unique_ptr<actors::Message> state;
  std::uint64_t sequence = 0;
};

class Verification {
 public:
  Verification(const events::Log& log, bool deep)
      : log_(log), deep_(deep), catalog_(actors::standard_catalog()) {}

  void run() {
    for (std::uint32_t p = 0; p < log_.partition_count() && bad_.is_null(); ++p) {
      events::FrameReader reader(log_, PartitionId{p});
      for (bool more = true; more && bad_.is_null();) {
        auto batch = reader.next();
        if (!batch) return complain({PartitionId{p}, reader.next_offset()}, batch.error().message);
        more = !batch->empty();
        for (const auto& frame : *batch) check(frame);
      }
      heads_.push_back({{"partition", p},
                        {"epoch", reader.fence().epoch().value},
                        {"offset", reader.next_offset().value},
                        {"head", hex(reader.fence().head())}});
      voided_ += reader.voided();
    }
  }

  json::object report() const {
    return {{"ok", bad_.is_null()},     {"deep", deep_},
            {"frames", frames_},        {"events", events_},
            {"commands", commands_},    {"partitions", log_.partition_count()},
            {"actors", folded_.size()}, {"voided", voided_},
            {"heads", heads_},          {"first_bad", bad_}};
  }
  bool ok() const { return bad_.is_null(); }

 private:
  void complain(Position at, std::string reason) {
    if (bad_.is_null())
      bad_ = json::object{{"partition", at.partition.value},
                          {"offset", at.offset.value},
                          {"reason", std::move(reason)}};
  }

  void check(const events::ValidFrame& valid) {
    ++frames_;
    for (const auto& entry : valid.frame->entries()) {
      ++commands_;
      const ActorKey key = actors::to_key(entry.actor());
      const auto* type = catalog_->find(key.type);
      if (!type) return complain(valid.position, "unknown actor type " + key.type);
      if (partition_of(key, log_.partition_count()) != valid.position.partition)
        return complain(valid.position, to_string(key) + " does not belong to this partition");
      auto& folded = folded_[key];
      if (!folded.state) folded.state = type->new_state();
      if (deep_ && entry.parked().empty()) again(valid, entry, *type, key, *folded.state);
      for (const auto& event : entry.events()) {
        ++events_;
        if (event.sequence() != ++folded.sequence)
          return complain(valid.position, to_string(key) + ": event " +
                                              std::to_string(event.sequence()) + " where " +
                                              std::to_string(folded.sequence) + " was due");
        auto parsed = type->new_event();
        if (!parsed->ParseFromString(event.payload()))
          return complain(valid.position, to_string(key) + ": an event does not parse");
        type->evolve(*folded.state, *parsed);
      }
    }
  }

  // I14: the recorded inputs decide as they did.
  void again(const events::ValidFrame& valid, const v1::Entry& entry, const actors::ActorType& type,
             const ActorKey& key, const actors::Message& state) {
    auto command = type.new_command();
    command->ParseFromString(entry.command());
    auto decision = type.decide(key, state, *command, entry.context());
    if (!decision) {
      if (entry.rejected().empty())
        complain(valid.position,
                 to_string(key) + ": decide now refuses: " + decision.error().message);
      return;
    }
    if (!entry.rejected().empty())
      return complain(valid.position, to_string(key) + ": decide now accepts what it refused");
    bool same = static_cast<int>(decision->events.size()) == entry.events_size() &&
                decision->reply == entry.reply() &&
                static_cast<int>(decision->sends.size()) == entry.sends_size();
    for (int i = 0; same && i < entry.events_size(); ++i)
      same = actors::deterministic_bytes(*decision->events[static_cast<std::size_t>(i)]) ==
             entry.events(i).payload();
    for (int i = 0; same && i < entry.sends_size(); ++i)
      same = decision->sends[static_cast<std::size_t>(i)].command == entry.sends(i).command();
    if (!same)
      complain(valid.position, to_string(key) + ": decide gives another result than recorded for " +
                                   entry.context().command_id());
  }

  const events::Log& log_;
  const bool deep_;
  std::unique_ptr<actors::Catalog> catalog_;
  std::map<ActorKey, Folded> folded_;
  json::array heads_;
  json::value bad_;
  std::uint64_t frames_ = 0, events_ = 0, commands_ = 0, voided_ = 0;
};

}  // namespace

int verify_folder(const Context& context, const std::string& folder, bool deep) {
  const std::string segments = folder + "/log";
  auto scanned = events::verify_segments(segments);
  if (!scanned) return context.fail(scanned.error());
  if (scanned->damage) {
    const auto& d = *scanned->damage;
    context.print(
        json::object{{"ok", false},
                     {"first_bad", {{"file", d.file}, {"offset", d.byte}, {"reason", d.reason}}}});
    return context.fail({Code::kCorrupt, events::to_string(d), {}});
  }
  auto log = events::open_embedded_log_readonly(segments);
  if (!log) return context.fail(log.error());
  return verify_log(context, **log, deep);
}

int verify_log(const Context& context, const events::Log& log, bool deep) {
  Verification v(log, deep);
  v.run();
  if (context.table())
    std::cout << json::serialize(v.report()) << "\n";
  else
    context.print(v.report());
  return v.ok() ? 0 : 9;
}

}  // namespace soma::cli
