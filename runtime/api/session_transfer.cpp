// Exports written and read, strictly; and the two routes.
#include "runtime/api/session_transfer.h"

#include <google/protobuf/util/json_util.h>

#include <algorithm>
#include <boost/json.hpp>
#include <optional>

#include "actors/session/session.h"
#include "runtime/api/new_session.h"
#include "runtime/api/views.h"
#include "runtime/audit/heads.h"
#include "runtime/audit/keeper.h"
#include "runtime/erasure/erasures.h"
#include "schemas/base/sha256.h"
#include "schemas/json/json_read.h"
#include "schemas/json/json_text.h"
#include "schemas/json/json_view.h"

namespace soma::runtime::api {

namespace json = boost::json;
using http::Responder;

namespace {

constexpr char kType[] = "soma-session-export";
constexpr std::uint64_t kMostEvents = 200'000;
constexpr std::size_t kMostBytes = 64 << 20;    // of an export over HTTP
constexpr std::size_t kMostImport = 8UL << 20;  // of an import's body
constexpr std::size_t kPage = 1000;

tl::unexpected<Error> bad(std::size_t line, const std::string& why) {
  return fail(Code::kInvalidArgument,
              "the export does not verify: " +
                  (line > 0 ? "line " + std::to_string(line) + ": " : std::string()) + why,
              "body.export");
}

// The event whose public name this is, with this data; nothing when there is none, or when it says
// more or other than the data.
std::optional<v1::SessionEvent> event_of(const std::string& type, const json::object& data) {
  const auto* d = v1::SessionEvent::descriptor();
  for (int i = 0; i < d->field_count(); ++i) {
    v1::SessionEvent event;
    auto* inner = event.GetReflection()->MutableMessage(&event, d->field(i));
    if (actors::SessionDecider::event_type(event) != type) continue;
    if (!google::protobuf::util::JsonStringToMessage(json::serialize(data), inner).ok()) return {};
    if (event_data(event) != data) return {};
    return event;
  }
  return {};
}

std::string member_text(const json::object& o, std::string_view name) {
  const auto* v = o.if_contains(name);
  return v && v->is_string() ? std::string(v->get_string()) : std::string();
}

const json::object* member_object(const json::value& line, std::string_view name) {
  const auto* v = line.is_object() && line.get_object().size() == 1
                      ? line.get_object().if_contains(name)
                      : nullptr;
  return v && v->is_object() ? &v->get_object() : nullptr;
}

struct Lines {
  std::vector<json::value> all;
  std::string_view signed_bytes;  // all but the last line
};

Result<Lines> lines_of(std::string_view text) {
  Lines out;
  for (std::size_t at = 0; at < text.size();) {
    const auto end = text.find('\n', at);
    if (end == text.npos) return bad(out.all.size() + 1, "it has no end; the file was cut");
    out.signed_bytes = text.substr(0, at);
    auto line = read_json(text.substr(at, end - at));
    if (!line) return bad(out.all.size() + 1, "it is " + line.error().message);
    out.all.push_back(std::move(*line));
    at = end + 1;
  }
  if (out.all.size() < 3)
    return bad(0, "it must have a line with the session, lines with events, and a signature");
  return out;
}

Result<SessionExport> signed_by(const Lines& lines, const std::vector<security::Key>& trusted) {
  const std::size_t last = lines.all.size();
  const json::value& v = lines.all.back();
  const std::string jws = v.is_object() ? member_text(v.get_object(), "signature") : "";
  if (jws.empty() || v.get_object().size() != 1)
    return bad(last, "it is no signature; export the session with this build, where the key is");
  SessionExport out;
  const auto payload = audit::open_document(jws, kType, trusted, out.key_id);
  if (!payload) return bad(last, payload.error().message);
  out.tenant = member_text(*payload, "tenant");
  out.session_id = member_text(*payload, "session_id");
  if (member_text(*payload, "sha256") != sha256_hex(lines.signed_bytes))
    return bad(last, "the lines before it are not those that were signed");
  const auto* events = payload->if_contains("events");
  if (!events || !events->is_int64() ||
      events->get_int64() != static_cast<std::int64_t>(lines.all.size()) - 2)
    return bad(last, "it was made for another number of events");
  return out;
}

}  // namespace

Result<std::string> export_signature(const security::Key& key, const std::string& tenant,
                                     const std::string& session_id, std::uint64_t events,
                                     std::string_view lines) {
  auto jws = audit::sign_document(key, kType,
                                  {{"tenant", tenant},
                                   {"session_id", session_id},
                                   {"events", static_cast<std::int64_t>(events)},
                                   {"sha256", sha256_hex(lines)}});
  if (!jws) return jws;
  return json_text(json::object{{"signature", *jws}}) + "\n";
}

Result<SessionExport> read_export(std::string_view text,
                                  const std::vector<security::Key>& trusted) {
  auto lines = lines_of(text);
  if (!lines) return tl::unexpected(lines.error());
  auto out = signed_by(*lines, trusted);
  if (!out) return out;
  const auto* session = member_object(lines->all.front(), "session");
  if (!session) return bad(1, "it must hold the session");
  const ActorKey key{out->tenant, "session", out->session_id, {}};
  v1::SessionState state;
  for (std::size_t i = 1; i + 1 < lines->all.size(); ++i) {
    const auto* e = member_object(lines->all[i], "event");
    const auto* sequence = e ? e->if_contains("sequence") : nullptr;
    const auto* data = e ? e->if_contains("data") : nullptr;
    if (!sequence || !data || !data->is_object()) return bad(i + 1, "it must hold an event");
    if (*sequence != json::value(i)) return bad(i + 1, "its sequence is not " + std::to_string(i));
    if (member_text(*e, "actor") != to_string(key))
      return bad(i + 1, "it is of another actor than " + to_string(key));
    auto event = event_of(member_text(*e, "type"), data->get_object());
    if (!event) return bad(i + 1, "this build does not read it as it stands there");
    actors::SessionDecider::evolve(state, *event);
    out->events.push_back(std::move(*event));
  }
  if (views::session(state) != *session)
    return bad(1, "the session is not what its events make of it");
  return out;
}

namespace {

void export_session(const Node& node, const RequestPtr& r, const Responder& responder) {
  node.slow->post([&node, r, responder] {
    const ActorKey key{r->tenant(), "session", r->param("id"), {}};
    v1::SessionState state;
    std::string events;
    std::uint64_t count = 0;
    for (bool more = true; more;) {
      auto page = node.host->history(key, Sequence{count}, kPage);
      if (!page) return responder.send(problem_of(page.error()));
      for (const auto& e : *page) {
        v1::SessionEvent event;
        if (!event.ParseFromString(e.event.payload()))
          return responder.fail({Code::kCorrupt, "an event of the session does not parse", {}});
        actors::SessionDecider::evolve(state, event);
        events += json_text(json::object{{"event", views::event(*node.catalog, e)}}) + "\n";
      }
      count += page->size();
      more = page->size() == kPage;
      if (count > kMostEvents || events.size() > kMostBytes)
        return responder.send(
            problem_of({Code::kTooLarge,
                        "the export is over 64 MiB; run the command on the data folder",
                        {}}));
    }
    if (count == 0) return responder.send(problem_of({Code::kNotFound, "Session not found", {}}));
    auto signing = node.audit->key();
    if (!signing) return responder.send(problem_of(signing.error()));
    std::string body = json_text(json::object{{"session", views::session(state)}}) + "\n" + events;
    auto last = export_signature(*signing, key.tenant, key.id, count, body);
    if (!last) return responder.send(problem_of(last.error()));
    http::Response out;
    out.body = std::move(body) + *last;
    out.content_type = "application/x-ndjson";
    responder.send(std::move(out));
  });
}

// What was erased does not come back by a file that was made before.
Status not_erased(const Node& node, const std::string& tenant, const v1::ForkSession& fork) {
  v1::SessionStarted started;
  if (!fork.events().empty()) started = fork.events(0).session_started();
  v1::ActorRef session;
  session.set_tenant(tenant);
  session.set_type("session");
  v1::SessionCommand command;
  *command.mutable_fork_session() = fork;
  const auto erasure = node.erasures->undone_by(session, command.SerializeAsString(),
                                                started.user(), started.at_ms());
  if (!erasure) return tl::unexpected(erasure.error());
  if (erasure->empty()) return {};
  return fail(Code::kConflict,
              "the export holds personal data that was erased after the session began (erasure " +
                  *erasure + "); import an export that was made after the erasure",
              "body.export");
}

void import_session(const Node& node, const RequestPtr& r, const Responder& responder) {
  if (killed(node, responder)) return;
  node.worker->post([&node, r, responder] {
    auto keys = security::parse_jwks(node.jwks());
    if (!keys) return responder.send(problem_of(keys.error()));
    auto from = read_export(text_member(r->json, "export"), *keys);
    if (!from) return responder.send(problem_of(from.error()));
    if (from->tenant != r->tenant())
      return responder.send(http::field_error(
          {"body", "export"}, "is a session of another tenant; import it with a token of that one",
          "value_error"));
    v1::ForkSession c;
    c.set_origin_session_id(from->session_id);
    c.set_at_sequence(from->events.size());
    for (auto& e : from->events) *c.add_events() = std::move(e);
    if (auto ok = not_erased(node, r->tenant(), c); !ok)
      return responder.send(problem_of(ok.error()));
    submit_fork(node, r, responder, c, {{"signed_by", from->key_id}});
  });
}

}  // namespace

void register_session_transfer(http::Router& router, const Node& node) {
  router.add({.method = "GET",
              .pattern = "/v1/sessions/{id}/export",
              .capability = "session:read",
              .summary = "The session and its events as lines of JSON, signed",
              .tag = "sessions",
              .responses = {{.description = "For POST /v1/sessions/import",
                             .content_type = "application/x-ndjson"}}},
             [&node](auto r, auto responder) { export_session(node, r, responder); });
  const auto body = http::make_schema(
      "SessionImport", {{.name = "export",
                         .required = true,
                         .description = "What GET /v1/sessions/{id}/export answered, whole"}});
  router.add({.method = "POST",
              .pattern = "/v1/sessions/import",
              .capability = "session:import",
              .summary = "A new session with the history of a signed export",
              .tag = "sessions",
              .request = body,
              .responses = {{.status = 201}},
              .body_limit = kMostImport,
              .idempotent_write = true},
             [&node](auto r, auto responder) { import_session(node, r, responder); });
}

}  // namespace soma::runtime::api
