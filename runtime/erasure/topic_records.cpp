// JSON in notes.
#include "runtime/erasure/topic_records.h"

#include <boost/json.hpp>

#include "schemas/json/json_read.h"
#include "schemas/json/json_text.h"

namespace soma::runtime::erasure {

namespace json = boost::json;

namespace {

constexpr char kErasure[] = "erasure/", kFolder[] = "folder/", kDropped[] = "dropped/";

Result<json::object> parsed(const std::string& text) {
  auto o = read_json_object(text);
  if (!o) return fail(Code::kCorrupt, "a note of an erasure is " + o.error().message);
  return o;
}

bool certified(const json::object& o) { return o.contains("soma_erasure"); }
bool waits(const json::object& certificate) {
  const auto* nodes = certificate.if_contains("waits_for");
  return nodes && nodes->is_array() && !nodes->get_array().empty();
}

Result<std::map<std::string, json::object>> all(const privacy::TopicKeys& keys,
                                                const std::string& prefix) {
  auto notes = keys.notes(prefix);
  if (!notes) return tl::unexpected(notes.error());
  std::map<std::string, json::object> out;
  for (const auto& [name, note] : *notes) {
    auto o = parsed(note);
    if (!o) return tl::unexpected(o.error());
    out[name] = std::move(*o);
  }
  return out;
}

}  // namespace

Result<TopicRecords::Objects> TopicRecords::erasures() const {
  const auto seen = keys_.notes_seen();
  std::lock_guard lock(mutex_);
  if (read_ && seen_ == seen) return *read_;
  auto read = all(keys_, kErasure);
  if (!read) return read;
  seen_ = seen;
  read_ = *read;
  return read;
}

Status TopicRecords::begin(const Pending& p) {
  json::object o = to_json(p);
  o["begun"] = p.begun;
  o["approved_by"] = p.approved_by;
  o["key_ids"] = json::array(p.key_ids.begin(), p.key_ids.end());
  o["destroyed"] = p.destroyed;
  o["round"] = static_cast<std::int64_t>(p.round);
  o["released"] = p.released;
  return keys_.note(kErasure + p.id, json_text(o));
}

Status TopicRecords::drop(const Pending& p) { return keys_.note(kErasure + p.id, std::nullopt); }

Status TopicRecords::finish(const Pending& p, const json::object& certificate) {
  return keys_.note(kErasure + p.id, json_text(certificate));
}

Result<std::vector<Pending>> TopicRecords::pending() const {
  auto notes = erasures();
  if (!notes) return tl::unexpected(notes.error());
  std::vector<Pending> out;
  for (const auto& [id, o] : *notes) {
    if (certified(o)) continue;
    Pending p = pending_from(o);
    p.begun = truth(o, "begun");
    p.destroyed = truth(o, "destroyed");
    p.round = static_cast<std::uint64_t>(number(o, "round"));
    p.released = truth(o, "released");
    p.approved_by = text(o, "approved_by");
    p.key_ids = texts(o, "key_ids");
    out.push_back(std::move(p));
  }
  return out;
}

Result<std::vector<json::object>> TopicRecords::certificates() const {
  auto notes = erasures();
  if (!notes) return tl::unexpected(notes.error());
  std::vector<json::object> out;
  for (auto& [id, o] : *notes)
    if (certified(o)) out.push_back(std::move(o));
  newest_first(out);
  return out;
}

std::vector<json::object> TopicRecords::certificates(const std::string& tenant) const {
  auto out = certificates();
  if (!out) return {};
  std::erase_if(*out, [&](const json::object& o) { return text(o, "tenant") != tenant; });
  return std::move(*out);
}

Result<std::vector<TopicRecords::Due>> TopicRecords::due(bool unfinished) const {
  auto notes = erasures();
  if (!notes) return tl::unexpected(notes.error());
  std::vector<Due> out;
  for (const auto& [id, o] : *notes) {
    const Due due{id, static_cast<std::uint64_t>(number(o, "round")),
                  certified(o) || truth(o, "released")};
    if (certified(o) ? !unfinished || waits(o) : due.end || truth(o, "destroyed"))
      out.push_back(due);
  }
  return out;
}

Status TopicRecords::adopt(const std::vector<Pending>& pending,
                           const std::vector<json::object>& certificates) {
  if (auto ok = keys_.catch_up(); !ok) return ok;
  auto here = erasures();
  if (!here) return tl::unexpected(here.error());
  for (const auto& certificate : certificates) {
    Pending of;
    of.id = text(certificate, "erasure_id");
    const auto known = here->find(of.id);
    if (of.id.empty() || (known != here->end() && certified(known->second))) continue;
    if (auto ok = finish(of, certificate); !ok) return ok;
    (*here)[of.id] = certificate;
  }
  for (const auto& p : pending)
    if (!here->contains(p.id))
      if (auto ok = begin(p); !ok) return ok;
  return {};
}

Status TopicRecords::add(const Folder& folder) {
  return keys_.note(kFolder + folder.id, json_text(json::object{{"node_id", folder.node_id},
                                                                {"since_ms", folder.since_ms}}));
}

Result<std::vector<TopicRecords::Folder>> TopicRecords::folders() const {
  auto notes = keys_.notes_in_order(kFolder);
  if (!notes) return tl::unexpected(notes.error());
  std::vector<Folder> out;
  for (const auto& [id, note] : *notes) {
    auto o = parsed(note);
    if (!o) return tl::unexpected(o.error());
    out.push_back({id, text(*o, "node_id"), number(*o, "since_ms")});
  }
  return out;
}

Status TopicRecords::dropped(const std::string& due, const std::string& folder,
                             std::int64_t now_ms) {
  return keys_.note(kDropped + due + "/" + folder, json_text(json::object{{"at_ms", now_ms}}));
}

Result<std::map<std::string, std::int64_t>> TopicRecords::dropped(const std::string& due) const {
  auto notes = all(keys_, kDropped + due + "/");
  if (!notes) return tl::unexpected(notes.error());
  std::map<std::string, std::int64_t> out;
  for (const auto& [folder, o] : *notes) out[folder] = number(o, "at_ms");
  return out;
}

}  // namespace soma::runtime::erasure
