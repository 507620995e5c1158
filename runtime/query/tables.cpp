// The walk over the journal, and the tables whose rows are events.
#include "runtime/query/tables.h"

#include <boost/json.hpp>
#include <set>

#include "runtime/api/views.h"
#include "schemas/json/json_text.h"

namespace soma::runtime::query {

namespace json = boost::json;

namespace {

Cell text(std::string_view value) { return std::string(value); }

// What both tables of events know of one.
Cell common_cell(const Entries& at, const v1::RecordedEvent& event, std::string_view name) {
  const auto& entry = at.entry();
  const auto& context = entry.context();
  const Position position = at.frame().position;
  if (name == "partition") return std::int64_t{position.partition.value};
  if (name == "offset") return static_cast<std::int64_t>(position.offset.value);
  if (name == "position") return to_string(position);
  if (name == "sequence") return static_cast<std::int64_t>(event.sequence());
  if (name == "event_id") return text(event.event_id());
  if (name == "type") return text(event.type());
  if (name == "time") return views::iso_time(context.now_ms());
  if (name == "time_ms") return static_cast<std::int64_t>(context.now_ms());
  if (name == "tenant") return text(entry.actor().tenant());
  if (name == "actor_type") return text(entry.actor().type());
  if (name == "actor_id") return text(entry.actor().id());
  if (name == "actor") return to_string(actors::to_key(entry.actor()));
  if (name == "principal") return text(context.principal().subject());
  if (name == "command_id") return text(context.command_id());
  if (name == "causation_id") return text(context.causation_id());
  if (name == "correlation_id") return text(context.correlation_id());
  return {};
}

json::value data_of(const Reading& r, const Entries& at, const v1::RecordedEvent& event) {
  return views::event(r.catalog, {actors::to_key(at.entry().actor()), event, at.entry().context(),
                                  at.frame().position})
      .at("data");
}

constexpr const char* kEventColumns[] = {
    "partition", "offset",     "position",     "sequence",       "event_id",   "type",
    "time",      "time_ms",    "tenant",       "actor",          "actor_type", "actor_id",
    "principal", "command_id", "causation_id", "correlation_id", "data"};

class Events : public Cursor {
 public:
  Events(const Reading& r, std::optional<std::uint32_t> partition) : r_(r), at_(r, partition) {}

  Result<bool> next() override {
    while (++index_ >= count_) {
      auto more = at_.next();
      if (!more || !*more) return more;
      index_ = -1;
      count_ = at_.entry().events_size();
    }
    return true;
  }
  Cell cell(int column) const override {
    const std::string_view name = kEventColumns[column];
    if (name == "data") return json_text(data_of(r_, at_, event()));
    return common_cell(at_, event(), name);
  }

 protected:
  const v1::RecordedEvent& event() const { return at_.entry().events(index_); }

  const Reading& r_;
  Entries at_;
  int index_ = -1, count_ = 0;
};

constexpr const char* kDecisionColumns[] = {
    "partition",    "decision_id",       "allow",  "score",   "threshold",
    "reason_codes", "constitution_hash", "tenant", "actor",   "principal",
    "sequence",     "position",          "time",   "time_ms", "data"};

class Decisions final : public Events {
 public:
  using Events::Events;

  Result<bool> next() override {
    for (;;) {
      auto more = Events::next();
      if (!more || !*more) return more;
      if (event().payload().find("dec_") == std::string::npos) continue;
      const json::value data = data_of(r_, at_, event());
      const auto* object = data.if_object();
      const auto* found = object ? object->if_contains("decision") : nullptr;
      if (!found || !found->is_object()) continue;
      decision_ = found->get_object();
      const auto* id = decision_.if_contains("decision_id");
      // Later events may repeat a decision; the first one made it.
      if (id && id->is_string() && seen_.insert(std::string(id->get_string())).second) return true;
    }
  }
  Cell cell(int column) const override {
    const std::string_view name = kDecisionColumns[column];
    if (name == "data") return json_text(decision_);
    const auto* value = decision_.if_contains(name);
    if (name == "allow") return std::int64_t{value && value->is_bool() && value->get_bool()};
    if (!value) return common_cell(at_, event(), name);
    if (value->is_string()) return text(value->get_string());
    if (value->is_number()) return value->to_number<double>();
    return json_text(*value);
  }

 private:
  json::object decision_;
  std::set<std::string> seen_;
};

}  // namespace

Status Reading::in_time() const {
  if (stop && stop()) return fail(Code::kUnavailable, "the node is stopping");
  if (std::chrono::steady_clock::now() >= deadline)
    return fail(Code::kDeadlineExceeded, "the query took longer than it may");
  return {};
}

Entries::Entries(const Reading& reading, std::optional<std::uint32_t> only)
    : reading_(reading),
      partition_(only.value_or(0)),
      last_(only ? *only : reading.log.partition_count() - 1) {
  if (last_ >= reading.log.partition_count()) partition_ = last_ + 1;  // no such one: no rows
}

Result<bool> Entries::refill() {
  batch_.clear();
  at_frame_ = 0;
  while (batch_.empty() && partition_ <= last_) {
    if (auto ok = reading_.in_time(); !ok) return tl::unexpected(ok.error());
    const PartitionId p{partition_};
    if (!reader_) reader_ = std::make_unique<events::FrameReader>(reading_.log, p);
    const Offset end = reading_.ends[partition_];
    if (reader_->next_offset() < end) {
      const Offset before = reader_->next_offset();
      auto frames = reader_->next();
      if (!frames) return tl::unexpected(frames.error());
      for (auto& f : *frames)
        if (f.position.offset < end) batch_.push_back(std::move(f));
      if (reader_->next_offset() > before) continue;
    }
    reader_.reset();
    ++partition_;
  }
  return !batch_.empty();
}

Result<bool> Entries::next() {
  for (;;) {
    if (at_frame_ >= batch_.size()) {
      auto more = refill();
      if (!more || !*more) return more;
      at_entry_ = -1;
    }
    while (++at_entry_ < frame().frame->entries_size())
      if (!reading_.tenant || entry().actor().tenant() == *reading_.tenant) return true;
    ++at_frame_;
    at_entry_ = -1;
  }
}

const std::vector<Table>& tables() {
  static const std::vector<Table> kTables{
      {"events",
       "CREATE TABLE events(partition INTEGER, offset INTEGER, position TEXT, sequence INTEGER, "
       "event_id TEXT, type TEXT, time TEXT, time_ms INTEGER, tenant TEXT, actor TEXT, "
       "actor_type TEXT, actor_id TEXT, principal TEXT, command_id TEXT, causation_id TEXT, "
       "correlation_id TEXT, data TEXT)",
       detail::open_events},
      {"decisions",
       "CREATE TABLE decisions(partition INTEGER, decision_id TEXT, allow INTEGER, score REAL, "
       "threshold REAL, reason_codes TEXT, constitution_hash TEXT, tenant TEXT, actor TEXT, "
       "principal TEXT, sequence INTEGER, position TEXT, time TEXT, time_ms INTEGER, data TEXT)",
       detail::open_decisions},
      {"actors",
       "CREATE TABLE actors(partition INTEGER, tenant TEXT, type TEXT, id TEXT, actor TEXT, "
       "events INTEGER, first_time TEXT, last_time TEXT, last_position TEXT)",
       detail::open_actors},
      {"sessions",
       "CREATE TABLE sessions(partition INTEGER, session_id TEXT, tenant TEXT, user TEXT, "
       "status TEXT, created_at TEXT, updated_at TEXT, model TEXT, turns INTEGER, error_code TEXT, "
       "data TEXT)",
       detail::open_sessions},
      {"effects",
       "CREATE TABLE effects(partition INTEGER, effect_id TEXT, tenant TEXT, actor TEXT, "
       "kind TEXT, state TEXT, class TEXT, attempt INTEGER, not_before TEXT, deadline TEXT, "
       "request_bytes INTEGER)",
       detail::open_effects},
  };
  return kTables;
}

namespace detail {
std::unique_ptr<Cursor> open_events(const Reading& r, std::optional<std::uint32_t> p) {
  return std::make_unique<Events>(r, p);
}
std::unique_ptr<Cursor> open_decisions(const Reading& r, std::optional<std::uint32_t> p) {
  return std::make_unique<Decisions>(r, p);
}
}  // namespace detail

}  // namespace soma::runtime::query
