// The rules of users, services and tokens: a change is recorded, the same again is none.
#include "actors/identity/identity.h"

#include <algorithm>

#include "actors/actor_type.h"
#include "schemas/base/sha256.h"

namespace soma::actors {

namespace {

using Decided = IdentityDecider::Decided;
constexpr int kMaxUsers = 10'000;
constexpr int kMaxServices = 1000;
constexpr int kMaxRevoked = 100'000;
constexpr int kMaxCapabilities = 256;
constexpr std::size_t kMaxName = 256;  // bytes
constexpr std::size_t kMaxDescription = 1000;
constexpr std::size_t kMaxServiceId = 63;
// Verifiers allow for clocks that differ; a token's end is later by as much.
constexpr std::int64_t kLeewayMs = 60'000;

template <typename Named>
std::string hash_of(Named one) {
  one.clear_version();
  one.clear_hash();
  one.clear_updated_ms();
  one.clear_updated_by();
  return sha256_hex(deterministic_bytes(one));
}

Status check(const v1::User& user) {
  if (user.user_id().empty() || user.user_id().size() > kMaxName)
    return fail(Code::kInvalidArgument, "user_id must have 1 to 256 bytes", "body.user_id");
  if (is_service(user.user_id()))
    return fail(
        Code::kInvalidArgument,
        "user_id must not begin with svc:, which services do; PUT /v1/services/{id} makes one",
        "body.user_id");
  if (user.name().size() > kMaxName)
    return fail(Code::kInvalidArgument, "name has at most 256 bytes", "body.name");
  const auto at = user.email().find('@');
  if (!user.email().empty() && (at == std::string::npos || at == 0 ||
                                at + 1 == user.email().size() || user.email().size() > kMaxName))
    return fail(Code::kInvalidArgument, "email must be NAME@HOST, of at most 256 bytes",
                "body.email");
  if (user.capabilities_size() > kMaxCapabilities)
    return fail(Code::kInvalidArgument, "capabilities has at most 256 entries",
                "body.capabilities");
  return {};
}

// What a PUT makes of what is kept under its id.
template <typename Kept>
struct Next {
  Kept kept;
  bool changed = false;  // false: the same again, and `kept` is the old one
};

// `what`: "user", in errors. `most`: how many a tenant may have.
template <typename Kept, typename Put>
Result<Next<Kept>> next_of(const google::protobuf::Map<std::string, Kept>& all,
                           const std::string& id, Kept wanted, const Put& c, const char* what,
                           int most, const v1::Context& context) {
  const auto it = all.find(id);
  const bool exists = it != all.end();
  const Kept old = exists ? it->second : Kept();
  const auto& tags = c.expected_tags();
  if (!tags.empty() &&
      (!exists || std::find(tags.begin(), tags.end(), version_tag(old)) == tags.end()))
    return fail(Code::kVersionMismatch,
                "the " + std::string(what) + " is at version " + std::to_string(old.version()) +
                    ", which If-Match does not name; read it again",
                "If-Match");
  if (!exists && static_cast<int>(all.size()) >= most)
    return fail(Code::kConflict,
                "the tenant has " + std::to_string(most) + " " + what + "s, the most there may be");
  wanted.set_hash(hash_of(wanted));
  if (exists && wanted.hash() == old.hash()) return Next<Kept>{old, false};
  wanted.set_version(old.version() + 1);
  wanted.set_updated_ms(context.now_ms());
  wanted.set_updated_by(context.principal().subject());
  return Next<Kept>{std::move(wanted), true};
}

Result<Decided> put(const v1::IdentityState& s, const v1::PutUser& c, const v1::Context& context) {
  if (auto ok = check(c.user()); !ok) return tl::unexpected(ok.error());
  auto next = next_of(s.users(), c.user().user_id(), c.user(), c, "user", kMaxUsers, context);
  if (!next) return tl::unexpected(next.error());
  Decided d;
  *d.reply.mutable_user() = next->kept;
  if (!next->changed) return d;
  *d.events.emplace_back().mutable_user_changed()->mutable_user() = next->kept;
  d.reply.set_changed(true);
  return d;
}

Status check(const v1::Service& service) {
  if (!is_service_id(service.service_id()))
    return fail(
        Code::kInvalidArgument,
        "service_id must have 1 to 63 of a-z, 0-9, '.', '_' and '-', and begin with a letter "
        "or digit",
        "body.service_id");
  if (service.description().size() > kMaxDescription)
    return fail(Code::kInvalidArgument, "description has at most 1000 bytes", "body.description");
  if (service.capabilities_size() > kMaxCapabilities)
    return fail(Code::kInvalidArgument, "capabilities has at most 256 entries",
                "body.capabilities");
  return {};
}

Result<Decided> put_service(const v1::IdentityState& s, const v1::PutService& c,
                            const v1::Context& context) {
  if (auto ok = check(c.service()); !ok) return tl::unexpected(ok.error());
  auto next = next_of(s.services(), c.service().service_id(), c.service(), c, "service",
                      kMaxServices, context);
  if (!next) return tl::unexpected(next.error());
  Decided d;
  *d.reply.mutable_service() = next->kept;
  if (!next->changed) return d;
  *d.events.emplace_back().mutable_service_changed()->mutable_service() = next->kept;
  d.reply.set_changed(true);
  return d;
}

// A token is a service's only while there is such a service.
Status check_service(const v1::IdentityState& s, const std::string& subject) {
  const auto it = s.services().find(subject.substr(kServicePrefix.size()));
  if (it == s.services().end())
    return fail(Code::kForbidden, "there is no service " + subject, "body.user_id");
  if (!it->second.active())
    return fail(Code::kForbidden, "service " + subject + " is deactivated", "body.user_id");
  return {};
}

Result<Decided> note(const v1::IdentityState& s, const v1::NoteToken& c,
                     const v1::Context& context) {
  if (const auto it = s.users().find(c.subject()); it != s.users().end() && !it->second.active())
    return fail(Code::kForbidden, "user " + c.subject() + " is deactivated", "body.user_id");
  if (is_service(c.subject()))
    if (auto ok = check_service(s, c.subject()); !ok) return tl::unexpected(ok.error());
  Decided d;
  auto* issued = d.events.emplace_back().mutable_token_issued();
  issued->set_token_id(c.token_id());
  issued->set_subject(c.subject());
  *issued->mutable_capabilities() = c.capabilities();
  issued->set_expires_ms(c.expires_ms());
  issued->set_issued_by(context.principal().subject());
  issued->set_at_ms(context.now_ms());
  d.reply.set_changed(true);
  if (c.has_terms()) *d.reply.mutable_terms() = c.terms();
  return d;
}

Result<Decided> revoke(const v1::IdentityState& s, const v1::RevokeToken& c,
                       const v1::Context& context) {
  if (c.token_id().empty() || c.token_id().size() > kMaxName)
    return fail(Code::kInvalidArgument, "jti must have 1 to 256 bytes", "body.jti");
  Decided d;
  const auto it = s.revoked().find(c.token_id());
  if (it != s.revoked().end()) {
    *d.reply.mutable_revoked() = it->second;
    return d;
  }
  if (s.revoked_size() >= kMaxRevoked)
    return fail(Code::kConflict,
                "the tenant has 100000 revoked tokens that have not expired, the most there may "
                "be; `soma auth rotate --at-once` ends every token");
  auto* token = d.events.emplace_back().mutable_token_revoked()->mutable_token();
  token->set_token_id(c.token_id());
  token->set_expires_ms(c.expires_ms());
  token->set_revoked_ms(context.now_ms());
  token->set_revoked_by(context.principal().subject());
  *d.reply.mutable_revoked() = *token;
  d.reply.set_changed(true);
  return d;
}

Decided rotated(const v1::NoteKeyRotation& c, const v1::Context& context) {
  Decided d;
  auto* e = d.events.emplace_back().mutable_key_rotated();
  e->set_key_id(c.key_id());
  e->set_retired_key_id(c.retired_key_id());
  e->set_at_once(c.at_once());
  e->set_rotated_by(context.principal().subject());
  e->set_at_ms(context.now_ms());
  d.reply.set_changed(true);
  return d;
}

// A repetition tells the same; the certificates are kept beside the log.
Decided erased(const v1::NoteErasure& c, const v1::Context& context) {
  Decided d;
  auto* e = d.events.emplace_back().mutable_subject_erased();
  e->set_erasure_id(c.erasure_id());
  e->set_subject_hash(c.subject_hash());
  e->set_reason(c.reason());
  e->set_erased_by(context.principal().subject());
  e->set_at_ms(context.now_ms());
  d.reply.set_changed(true);
  return d;
}

void drop_expired(v1::IdentityState& s, std::int64_t now_ms) {
  auto& revoked = *s.mutable_revoked();
  for (auto it = revoked.begin(); it != revoked.end();) {
    const std::int64_t expires = it->second.expires_ms();
    if (expires > 0 && expires + kLeewayMs < now_ms)
      it = revoked.erase(it);
    else
      ++it;
  }
}

}  // namespace

ActorKey identity_key(const std::string& tenant) {
  return {tenant, "identity", "identity", tenant};
}

bool is_service_id(std::string_view id) {
  const auto plain = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); };
  return !id.empty() && id.size() <= kMaxServiceId && plain(id.front()) &&
         std::all_of(id.begin(), id.end(),
                     [&](char c) { return plain(c) || c == '.' || c == '_' || c == '-'; });
}

Result<Decided> IdentityDecider::decide(const ActorKey&, const State& s, const Command& c,
                                        const v1::Context& context) {
  switch (c.kind_case()) {
    case Command::kPutUser:
      return put(s, c.put_user(), context);
    case Command::kNoteToken:
      return note(s, c.note_token(), context);
    case Command::kRevokeToken:
      return revoke(s, c.revoke_token(), context);
    case Command::kNoteKeyRotation:
      return rotated(c.note_key_rotation(), context);
    case Command::kNoteErasure:
      return erased(c.note_erasure(), context);
    case Command::kPutService:
      return put_service(s, c.put_service(), context);
    case Command::kEffectOutcome:
      return Decided{};  // it has no effects
    case Command::KIND_NOT_SET:
      break;
  }
  return fail(Code::kInvalidArgument, "command has no case", "command");
}

void IdentityDecider::evolve(State& s, const Event& e) {
  switch (e.kind_case()) {
    case Event::kUserChanged:
      (*s.mutable_users())[e.user_changed().user().user_id()] = e.user_changed().user();
      return;
    case Event::kServiceChanged:
      (*s.mutable_services())[e.service_changed().service().service_id()] =
          e.service_changed().service();
      return;
    case Event::kTokenRevoked:
      drop_expired(s, e.token_revoked().token().revoked_ms());
      (*s.mutable_revoked())[e.token_revoked().token().token_id()] = e.token_revoked().token();
      return;
    case Event::kTokenIssued:
    case Event::kKeyRotated:
    case Event::kSubjectErased:
      return;  // told to auditors; nothing depends on it
    case Event::KIND_NOT_SET:
      return;
  }
}

std::string IdentityDecider::event_type(const Event& e) {
  switch (e.kind_case()) {
    case Event::kUserChanged:
      return "user.changed";
    case Event::kTokenIssued:
      return "token.issued";
    case Event::kServiceChanged:
      return "service.changed";
    case Event::kTokenRevoked:
      return "token.revoked";
    case Event::kKeyRotated:
      return "token.key_rotated";
    case Event::kSubjectErased:
      return "subject.erased";
    case Event::KIND_NOT_SET:
      break;
  }
  return {};
}

}  // namespace soma::actors
