// Checked, versioned, recorded when something changed.
#include "actors/preferences/preferences.h"

#include <algorithm>
#include <set>

#include "actors/actor_type.h"
#include "schemas/base/sha256.h"

namespace soma::actors {

namespace {

using Decided = PreferencesDecider::Decided;
constexpr int kMaxProfiles = 100;
constexpr int kMaxUsers = 10'000;
constexpr int kMaxFallbacks = 8;
constexpr int kMaxChannels = 16;
constexpr std::size_t kMaxName = 200;  // bytes

Status bad(const std::string& field, const std::string& what) {
  return fail(Code::kInvalidArgument, field + " " + what, "body." + field);
}

template <typename List>
bool holds(const List& list, const std::string& text) {
  return std::any_of(std::begin(list), std::end(list), [&](const auto& e) { return text == e; });
}

template <typename Versioned>
std::string hash_of(Versioned v) {
  v.clear_version();
  v.clear_hash();
  return sha256_hex(deterministic_bytes(v));
}

// The next version, or `old` again when nothing changed. kVersionMismatch when no tag fits.
template <typename Versioned>
Result<Versioned> next_version(const Versioned& old, Versioned next,
                               const google::protobuf::RepeatedPtrField<std::string>& tags) {
  if (!tags.empty() && !holds(tags, version_tag(old)))
    return fail(Code::kVersionMismatch,
                "it is at version " + std::to_string(old.version()) +
                    ", which If-Match does not name; read it again",
                "If-Match");
  next.set_hash(hash_of(next));
  if (old.version() > 0 && next.hash() == old.hash()) return old;
  next.set_version(old.version() + 1);
  return next;
}

Status check(const v1::ModelProfile& p) {
  if (p.name().empty() || p.name().size() > kMaxName)
    return bad("name", "must have 1 to 200 bytes");
  for (const char* role : kModelRoles) {
    const auto it = p.roles().find(role);
    if (it == p.roles().end()) continue;
    if (it->second.primary().empty() || it->second.primary().size() > kMaxName)
      return bad(std::string(role) + ".primary", "must have 1 to 200 bytes");
    if (it->second.fallbacks_size() > kMaxFallbacks)
      return bad(std::string(role) + ".fallbacks", "has at most 8 entries");
    std::set<std::string> seen = {it->second.primary()};
    for (const auto& f : it->second.fallbacks())
      if (f.empty() || f.size() > kMaxName || !seen.insert(f).second)
        return bad(std::string(role) + ".fallbacks",
                   "must each have 1 to 200 bytes, and name no model twice");
  }
  for (const auto& [role, choice] : p.roles())
    if (!holds(kModelRoles, role)) return bad(role, "is no role");
  return {};
}

bool is_clock(const std::string& t) {
  const auto digit = [&](std::size_t i) { return t[i] >= '0' && t[i] <= '9'; };
  if (t.size() != 5 || t[2] != ':' || !digit(0) || !digit(1) || !digit(3) || !digit(4))
    return false;
  return (t[0] - '0') * 10 + (t[1] - '0') < 24 && t[3] < '6';
}

Status check(const v1::QuietHours& q) {
  if (q.timezone().empty()) return bad("quiet_hours.timezone", "must be an IANA time zone");
  if (!is_clock(q.start())) return bad("quiet_hours.start", "must be HH:MM, 00:00 to 23:59");
  if (!is_clock(q.end())) return bad("quiet_hours.end", "must be HH:MM, 00:00 to 23:59");
  if (q.start() == q.end()) return bad("quiet_hours.end", "must differ from start");
  std::set<std::uint32_t> days;
  for (const auto day : q.days())
    if (day < 1 || day > 7 || !days.insert(day).second)
      return bad("quiet_hours.days", "must be numbers from 1 (Monday) to 7, each once");
  return {};
}

Status check(const v1::NotificationChannel& c, int index) {
  const std::string at = "channels." + std::to_string(index) + ".";
  const auto in = [&](const std::string& text, std::initializer_list<const char*> allowed) {
    return holds(allowed, text);
  };
  if (!in(c.channel(), {"web", "email", "sms", "webhook"}))
    return bad(at + "channel", "must be web, email, sms or webhook");
  if (!in(c.severity_threshold(), {"info", "warning", "error", "critical"}))
    return bad(at + "severity_threshold", "must be info, warning, error or critical");
  if (c.channel() == "email" && c.address().find('@') == std::string::npos)
    return bad(at + "address", "must be an e-mail address");
  if (c.channel() == "sms" && c.number().empty()) return bad(at + "number", "must be given");
  if (c.channel() == "webhook" && !c.url().starts_with("https://") &&
      !c.url().starts_with("http://"))
    return bad(at + "url", "must begin with https:// or http://");
  return {};
}

Status check(const v1::NotificationPreferences& p) {
  if (p.user_id().size() > 256) return bad("user_id", "has at most 256 bytes");
  if (p.has_quiet_hours())
    if (auto ok = check(p.quiet_hours()); !ok) return ok;
  if (p.channels_size() > kMaxChannels) return bad("channels", "has at most 16 entries");
  for (int i = 0; i < p.channels_size(); ++i)
    if (auto ok = check(p.channels(i), i); !ok) return ok;
  return {};
}

Result<Decided> put(const v1::PreferencesState& s, const v1::PutModelProfile& c,
                    const v1::Context& context) {
  if (auto ok = check(c.profile()); !ok) return tl::unexpected(ok.error());
  const auto it = s.profiles().find(c.profile().name());
  if (it == s.profiles().end() && s.profiles_size() >= kMaxProfiles)
    return fail(Code::kConflict, "the tenant has 100 model profiles, the most there may be");
  const v1::ModelProfile old = it == s.profiles().end() ? v1::ModelProfile() : it->second;
  auto next = next_version(old, c.profile(), c.expected_tags());
  if (!next) return tl::unexpected(next.error());
  Decided d;
  *d.reply.mutable_profile() = *next;
  if (next->version() == old.version()) return d;
  auto* e = d.events.emplace_back().mutable_model_profile_updated();
  *e->mutable_profile() = std::move(*next);
  e->set_changed_by(context.principal().subject());
  e->set_at_ms(context.now_ms());
  d.reply.set_changed(true);
  return d;
}

Result<Decided> put(const v1::PreferencesState& s, const v1::PutNotificationPreferences& c,
                    const v1::Context& context) {
  const auto& wanted = c.preferences();
  if (auto ok = check(wanted); !ok) return tl::unexpected(ok.error());
  const auto it = s.notifications().find(wanted.user_id());
  if (it == s.notifications().end() && s.notifications_size() >= kMaxUsers)
    return fail(Code::kConflict, "10000 users have preferences, the most there may be");
  const v1::NotificationPreferences old =
      it == s.notifications().end() ? v1::NotificationPreferences() : it->second;
  auto next = next_version(old, wanted, c.expected_tags());
  if (!next) return tl::unexpected(next.error());
  Decided d;
  *d.reply.mutable_preferences() = *next;
  if (next->version() == old.version()) return d;
  auto* e = d.events.emplace_back().mutable_notification_preferences_changed();
  *e->mutable_preferences() = std::move(*next);
  e->set_changed_by(context.principal().subject());
  e->set_at_ms(context.now_ms());
  d.reply.set_changed(true);
  return d;
}

}  // namespace

ActorKey preferences_key(const std::string& tenant) {
  return {tenant, "preferences", "preferences", tenant};
}

Result<Decided> PreferencesDecider::decide(const ActorKey&, const State& s, const Command& c,
                                           const v1::Context& context) {
  switch (c.kind_case()) {
    case Command::kPutModelProfile:
      return put(s, c.put_model_profile(), context);
    case Command::kPutNotificationPreferences:
      return put(s, c.put_notification_preferences(), context);
    case Command::kEffectOutcome:
      return Decided{};  // it has no effects
    case Command::KIND_NOT_SET:
      break;
  }
  return fail(Code::kInvalidArgument, "command has no case", "command");
}

void PreferencesDecider::evolve(State& s, const Event& e) {
  switch (e.kind_case()) {
    case Event::kModelProfileUpdated: {
      const auto& profile = e.model_profile_updated().profile();
      (*s.mutable_profiles())[profile.name()] = profile;
      return;
    }
    case Event::kNotificationPreferencesChanged: {
      const auto& p = e.notification_preferences_changed().preferences();
      (*s.mutable_notifications())[p.user_id()] = p;
      return;
    }
    case Event::KIND_NOT_SET:
      return;
  }
}

std::string PreferencesDecider::event_type(const Event& e) {
  switch (e.kind_case()) {
    case Event::kModelProfileUpdated:
      return "model.profile.updated";
    case Event::kNotificationPreferencesChanged:
      return "notification_preferences.changed";
    case Event::KIND_NOT_SET:
      break;
  }
  return {};
}

}  // namespace soma::actors
